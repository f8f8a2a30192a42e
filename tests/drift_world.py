"""Events of a small world for tests of the drift-detector, each made from its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from driftgate.artifacts import Artifacts
from driftgate.events import DAY_MS, Event
from driftgate.model_repo import ModelYaml, parse, publish

MODEL = "post"
LABELS = ("delivery", "refund", "billing")
START = 1_767_225_600_000
YAML = """
model: post
task: {kind: text-classification, labels: [delivery, refund, billing]}
base: {name: all-MiniLM-L6-v2}
monitors:
  - {name: errors, signal: quality, value: error, slices: [all, language=es],
     tolerance: 0.03, false_alarms_per_million: 100, severity: critical}
  - {name: shares, signal: output, value: share, tolerance: 0.06,
     false_alarms_per_million: 100, severity: warning}
  - {name: confidence, signal: output, value: low_confidence, tolerance: 0.08,
     false_alarms_per_million: 100, severity: critical}
triggers:
  drift: {batch_days: 1, cooldown_days: 14}
gate: {min_accuracy: 0.8, waived: [regression, probes]}
rollout:
  stages: [{name: full, percent: 100}]
"""
CONFIG: ModelYaml = parse(YAML)


def reference(error: float = 0.1, cases: int = 400) -> dict[str, float]:
    """What an evaluation may have measured; answers are spread evenly over the labels."""
    means = {"error": error, "low_confidence": 0.2}
    means |= {f"share:{label}": 1 / len(LABELS) for label in LABELS}
    found = {"cut|low_confidence": 0.6}
    for slice_name in ("all", "language=es"):
        for signal, mean in means.items():
            found |= {f"{signal}|{slice_name}": mean, f"n|{signal}|{slice_name}": float(cases)}
    return found


def day(number: float) -> int:
    """Time of a day's beginning, ms."""
    return START + round(number * DAY_MS)


def inference(number: int, time: int, version: int = 1, **over: Any) -> Event:
    """A sure answer; the labels take turns, and every fourth text is Spanish."""
    return {
        "request_id": f"r-{number}",
        "model": MODEL,
        "version": version,
        "digest": "",
        "role": "live",
        "input": None,
        "input_hash": "0" * 64,
        "features": {"similarity": 0.8, "words": 9.0},
        "slices": {"language": "es" if number % 4 == 0 else "en"},
        "output": LABELS[number % len(LABELS)],
        "confidence": 0.5 if number % 5 == 0 else 0.9,
        "latency_ms": 5.0,
        "tokens": 12,
        "cost": 0.0,
        "subject": None,
        "epoch": 1,
        "propensity": 1.0,
        "time": time,
        **over,
    }


def outcome(number: int, time: int, correct: bool | None, version: int = 1, **over: Any) -> Event:
    """The outcome of an inference of the same number."""
    return {
        "outcome_id": f"f-{number}",
        "request_id": f"r-{number}",
        "model": MODEL,
        "version": version,
        "slices": {"language": "es" if number % 4 == 0 else "en"},
        "output": LABELS[number % len(LABELS)],
        "confidence": 0.9,
        "kind": "correction",
        "label": None,
        "rating": None,
        "edited": None,
        "was_correct": correct,
        "inference_time": time,
        "feedback_time": time,
        "time": time,
        **over,
    }


def verdict(version: int, time: int, **measured: Any) -> Event:
    """A pass, with the reference of that version."""
    return {
        "verdict_id": f"{MODEL}@{version}",
        "model": MODEL,
        "version": version,
        "retrain_id": f"{MODEL}:{version}",
        "adapter_digest": "0" * 64,
        "adapter_uri": "sha256:" + "0" * 64,
        "champion": None,
        "result": "pass",
        "axes": [],
        "reference": reference(**measured),
        "repo_hash": "0" * 64,
        "report_uri": "sha256:" + "0" * 64,
        "words": "passes",
        "time": time,
    }


def retrain(command_id: str, time: int, **args: str) -> Event:
    """A command that asks for a new version."""
    return {
        "command_id": command_id,
        "model": MODEL,
        "kind": "retrain",
        "version": None,
        "args": args,
        "actor": "ana",
        "reason": "",
        "time": time,
    }


def tick(time: int, **positions: int) -> Event:
    """The time goes on; positions as `inferences_0=12`."""
    at = {name.replace("_", "-"): offset for name, offset in positions.items()}
    return {"world": "test", "time": time, "positions": at}


def declare(artifacts: Artifacts, folder: Path, text: str = YAML) -> Event:
    """The model repo, stored, and the event that puts it in force."""
    (folder / "evals").mkdir(parents=True)
    (folder / "model.yaml").write_text(text)
    (folder / "evals" / "regression.jsonl").write_text("")
    (folder / "evals" / "probes.yaml").write_text("")
    repo, uri = publish(folder, artifacts)
    return {
        "model": MODEL,
        "repo_hash": repo.hash,
        "repo_uri": uri,
        "actor": "ana",
        "time": START,
    }
