"""Events of a small world for tests of the drift-detector, each made from its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from driftgate.artifacts import Artifacts
from driftgate.events import (
    DAY_MS,
    Arm,
    Command,
    Inference,
    Model,
    Outcome,
    Routing,
    Verdict,
)
from driftgate.model_repo import ModelYaml, parse, publish

MODEL = "post"
LABELS = ("delivery", "refund", "billing")
START = 1_767_225_600_000
YAML = """
model: post
task: {kind: text-classification, labels: [delivery, refund, billing]}
base: {name: all-MiniLM-L6-v2}
feedback: {profile: [labels]}
monitors:
  - {name: errors, signal: quality, value: error, slices: [all, language=es],
     tolerance: 0.03, false_alarms_per_million: 100, severity: critical}
  - {name: shares, signal: output, value: share, tolerance: 0.06,
     false_alarms_per_million: 100, severity: warning}
  - {name: confidence, signal: output, value: low_confidence, tolerance: 0.08,
     false_alarms_per_million: 100, severity: critical}
triggers:
  drift: {batch_days: 1, cooldown_days: 14}
gate: {min_accuracy: 0.05, waived: [regression, probes]}
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


def inference(number: int, time: int, version: int = 1, **over: Any) -> Inference:
    """A sure answer; the labels take turns, and every fourth text is Spanish."""
    fields: dict[str, Any] = {
        "request_id": f"r-{number}",
        "model": MODEL,
        "version": version,
        "input_hash": "0" * 64,
        "features": {"similarity": 0.8, "words": 9.0},
        "slices": {"language": "es" if number % 4 == 0 else "en"},
        "output": LABELS[number % len(LABELS)],
        "confidence": 0.5 if number % 5 == 0 else 0.9,
        "epoch": 1,
        "time": time,
    }
    return Inference(**fields | over)


def outcome(number: int, time: int, correct: bool | None, version: int = 1, **over: Any) -> Outcome:
    """The outcome of an inference of the same number."""
    fields: dict[str, Any] = {
        "outcome_id": f"f-{number}",
        "request_id": f"r-{number}",
        "model": MODEL,
        "version": version,
        "slices": {"language": "es" if number % 4 == 0 else "en"},
        "output": LABELS[number % len(LABELS)],
        "confidence": 0.9,
        "kind": "correction",
        "was_correct": correct,
        "inference_time": time,
        "feedback_time": time,
        "time": time,
    }
    return Outcome(**fields | over)


def verdict(version: int, time: int, retrain_id: str = "", **measured: Any) -> Verdict:
    """A pass, with the reference of that version."""
    return Verdict(
        verdict_id=f"{MODEL}@{version}",
        model=MODEL,
        version=version,
        retrain_id=retrain_id or f"{MODEL}:{version}",
        adapter_digest="0" * 64,
        adapter_uri="sha256:" + "0" * 64,
        result="pass",
        axes=(),
        reference=reference(**measured),
        repo_hash="0" * 64,
        report_uri="sha256:" + "0" * 64,
        words="passes",
        time=time,
    )


def retrain(command_id: str, time: int, **args: str) -> Command:
    """A command that asks for a new version."""
    return Command(
        command_id=command_id, model=MODEL, kind="retrain", args=args, actor="ana", time=time
    )


def routing(champion: int, time: int, epoch: int = 1, challenger: int | None = None) -> Routing:
    """A tenth of the traffic for the challenger, if there is one."""
    weights = {challenger: 1000, champion: 9000} if challenger else {champion: 10000}
    return Routing(
        model=MODEL,
        epoch=epoch,
        base="all-MiniLM-L6-v2",
        base_digest="b" * 64,
        arms=tuple(
            Arm(version=v, digest=f"{v}" * 64, adapter_uri=f"sha256:{v}", weight=weight)
            for v, weight in weights.items()
        ),
        shadows=(),
        salt=MODEL,
        sticky_by="subject",
        repo_hash="0" * 64,
        time=time,
    )


def declare(artifacts: Artifacts, folder: Path, text: str = YAML, model: str = MODEL) -> Model:
    """The model repo, stored, and the event that puts it in force."""
    (folder / "evals").mkdir(parents=True)
    (folder / "model.yaml").write_text(text)
    (folder / "evals" / "regression.jsonl").write_text("")
    (folder / "evals" / "probes.yaml").write_text("")
    repo, uri = publish(folder, artifacts)
    return Model(model=model, repo_hash=repo.hash, repo_uri=uri, actor="ana", time=START)
