"""The evaluator with real versions: in one process, from the command line, and on Kafka."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import StackConfig
from driftgate import model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.bases import resolve
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import Candidate, Champion, Verdict
from services.evaluator import offline
from services.trainer.finetune import finetune
from services.trainer.head import fit_head
from services.trainer.method import Example, Method

MODEL = "evaluated"
MODEL_YAML = """
model: evaluated
task: {kind: text-classification, labels: [delivery, refund]}
base: {name: all-MiniLM-L6-v2}
monitors: [{name: errors, signal: quality, value: error, slices: [all, language=es]}]
gate:
  min_accuracy: 0.8
  protected: {language=es: {min_accuracy: 0.6}}
  regression: {min_accuracy: 0.7}
  probes: {min_pass: 0.5}
rollout: {stages: [{name: full, percent: 100}]}
"""
PROBES = """
minimum: [{text: where is my parcel, label: delivery}, {text: I want my money back, label: refund}]
invariance: {perturbations: [uppercase, typo], texts: [The courier never came with my box.]}
"""
WORDS = {
    ("en", "delivery"): ("the parcel", "my box", "the courier", "our shipment", "the package"),
    ("en", "refund"): ("my money", "the refund", "the amount", "our payment", "the credit"),
    ("es", "delivery"): ("el paquete", "mi caja", "el repartidor", "nuestro envío", "el bulto"),
    ("es", "refund"): ("mi dinero", "el reembolso", "el importe", "nuestro pago", "el abono"),
}
FRAMES = {
    "en": ("Where is {} today?", "I still wait for {}.", "Nobody told me about {}, please help.",
           "It is a week now and {} is not here.", "Can you check {} once more?"),
    "es": ("¿Dónde está {} hoy?", "Sigo esperando {}.", "Nadie me dijo nada de {}, ayuda.",
           "Ya hace una semana y {} no llega.", "¿Podéis mirar {} otra vez?"),
}  # fmt: skip
ROWS = [
    {"id": f"{language}-{label}-{n}-{m}", "text": frame.format(word), "label": label,
     "slices": {"language": language}}
    for (language, label), words in WORDS.items()
    for n, word in enumerate(words)
    for m, frame in enumerate(FRAMES[language])
]  # fmt: skip
OTHER = {"delivery": "refund", "refund": "delivery"}


def wrong_in_spanish() -> list[dict[str, Any]]:
    return [
        row | {"label": OTHER[row["label"]]} if row["slices"]["language"] == "es" else row
        for row in ROWS
    ]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good version, and one whose Spanish labels were wrong."""
    folder = tmp_path_factory.mktemp("versions")
    for name, rows in (("good", ROWS), ("spoilt", wrong_in_spanish())):
        finetune(
            [Example(row["text"], row["label"]) for row in rows],
            Method(layers=1, epochs=3, r=4, alpha=8, batch_size=16),
            resolve("all-MiniLM-L6-v2"),
            folder / name,
            seed=1,
            progress=lambda share, doing: None,
        )
    return {name: folder / name for name in ("good", "spoilt")}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / "evals").mkdir(parents=True)
    (folder / "model.yaml").write_text(MODEL_YAML)
    (folder / "evals" / "probes.yaml").write_text(PROBES)
    (folder / "evals" / "regression.jsonl").write_text(lines(ROWS[::5]))
    return folder


@pytest.fixture
def test_rows(tmp_path: Path) -> Path:
    path = tmp_path / "test.jsonl"
    path.write_text(lines(ROWS))
    return path


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_ci_is_told_by_the_exit_status(
    versions: dict[str, Path],
    repo: Path,
    test_rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, spoilt, junit = versions["good"], versions["spoilt"], tmp_path / "j" / "u.xml"
    assert offline.run(repo, good, None, test_rows, None, Settings()) == 0
    assert "without a champion" in capsys.readouterr().out
    assert offline.run(repo, spoilt, good, test_rows, junit, Settings()) == 1
    assert "task accuracy in language=es" in " ".join(capsys.readouterr().out.split())
    assert int(ET.parse(junit).getroot().get("failures", "0")) >= 1
    assert offline.run(repo, good, None, None, None, Settings()) == 2
    assert "--test" in capsys.readouterr().out


def test_linear_heads_are_judged_against_adapters(
    versions: dict[str, Path], repo: Path, test_rows: Path, tmp_path: Path
) -> None:
    """And the other way round."""
    for name, rows in (("good", ROWS), ("spoilt", wrong_in_spanish())):
        fit_head(
            [Example(row["text"], row["label"]) for row in rows],
            resolve("all-MiniLM-L6-v2"),
            tmp_path / name,
            seed=1,
            progress=lambda share, doing: None,
        )
    good, spoilt = tmp_path / "good", tmp_path / "spoilt"
    assert offline.run(repo, good, versions["good"], test_rows, None, Settings()) == 0
    assert offline.run(repo, spoilt, versions["good"], test_rows, None, Settings()) == 1
    assert offline.run(repo, versions["good"], good, test_rows, None, Settings()) == 0


def test_rows_beside_the_adapter_are_the_held_out_ones(
    versions: dict[str, Path], repo: Path, test_rows: Path, tmp_path: Path
) -> None:
    exported = Path(shutil.copytree(versions["good"], tmp_path / "exported"))
    shutil.copy(test_rows, exported / "test.jsonl")
    assert offline.run(repo, exported, None, None, None, Settings()) == 0
    few = tmp_path / "few.jsonl"
    few.write_text(lines(ROWS[:5]))
    assert (
        offline.run(repo, exported, None, few, None, Settings()) == 2
    )  # those that are named count


def test_what_cannot_be_used_is_said_in_one_line(
    versions: dict[str, Path],
    repo: Path,
    test_rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert offline.run(repo, tmp_path, None, None, None, Settings()) == 2
    assert "labels.json" in capsys.readouterr().err
    assert offline.run(tmp_path / "gone", tmp_path, None, None, None, Settings()) == 2
    assert "model.yaml is missing" in capsys.readouterr().err
    assert offline.run(repo, versions["good"], None, test_rows, tmp_path, Settings()) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.stack
def test_a_killed_evaluator_tells_each_verdict_once_in_effect(
    stack: StackConfig,
    settings: Settings,
    kafka: KafkaBus,
    codec: Codec,
    versions: dict[str, Path],
    repo: Path,
) -> None:
    artifacts = Artifacts(settings.artifacts)
    declared, _ = model_repo.publish(repo, artifacts)
    first, second = (
        candidate(artifacts, declared.hash, number, versions[name])
        for number, name in ((1, "good"), (2, "spoilt"))
    )
    environment = dict(stack.environment) | {
        "DRIFTGATE_STATE_DIR": str(settings.state_dir),
        "DRIFTGATE_HTTP_PORT": "0",
        "OMP_NUM_THREADS": "1",
    }
    send(kafka, codec, first)
    with service(environment) as running:
        until(lambda: len(verdicts(kafka, codec)) == 1, running)
        send(kafka, codec, replace(second, champion=champion_of(first)))
        until(lambda: len(verdicts(kafka, codec)) == 2, running)
        running.send_signal(signal.SIGKILL)
    with service(environment) as running:
        until(lambda: not behind(kafka), running)
    told = {verdict.verdict_id: verdict for verdict in verdicts(kafka, codec)}
    assert [(v.version, v.result, v.champion) for v in told.values()] == [
        (1, "pass", None),
        (2, "fail", 1),
    ]
    audit = [codec.decode("audit", record.value) for record in kafka.read_all(["audit"])]
    mine = [e["version"] for e in audit if (e["model"], e["service"]) == (MODEL, "evaluator")]
    assert mine == [1, 2]


def candidate(artifacts: Artifacts, repo_hash: str, number: int, adapter: Path) -> Candidate:
    uri = artifacts.put_folder(adapter)
    return Candidate(
        retrain_id=f"{MODEL}:{number}",
        model=MODEL,
        version=number,
        adapter_uri=uri,
        adapter_digest=digest_of(uri),
        base="all-MiniLM-L6-v2",
        base_digest="",
        method="lora",
        dataset_id="",
        dataset_uri=artifacts.put_json({"test.jsonl": artifacts.put(lines(ROWS).encode())}),
        model_card_uri=artifacts.put(b"# A card\n"),
        run_uri="",
        repo_hash=repo_hash,
        reason="launch",
        time=1_800_000_000_000 + number,
    )


def champion_of(released: Candidate) -> Champion:
    """A version at full traffic, as a request pins it."""
    return Champion(
        version=released.version,
        digest=released.adapter_digest,
        adapter_uri=released.adapter_uri,
        base=released.base,
        base_digest="",
    )


def send(bus: KafkaBus, codec: Codec, event: Candidate) -> None:
    producer = bus.producer()
    producer.send(*codec.record(event))
    producer.flush()
    producer.close()


def verdicts(bus: KafkaBus, codec: Codec) -> list[Verdict]:
    found = [codec.event("verdicts", record.value) for record in bus.read_all(["verdicts"])]
    return [event for event in found if isinstance(event, Verdict) and event.model == MODEL]


def behind(bus: KafkaBus) -> bool:
    """Whether the service has candidates that it has not finished."""
    committed = bus.committed("evaluator")
    return any(committed.get(p, 0) < end for p, end in bus.ends(["candidates"]).items())


@contextmanager
def service(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a process of its own; stopped in the end."""
    running = subprocess.Popen(
        [sys.executable, "-m", "services.evaluator.main"], env={**os.environ, **environment}
    )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(timeout=30)


def until(condition: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    """Waits for a condition while the service lives."""
    deadline = time.monotonic() + 240
    while not condition():
        assert running.poll() is None, "the service ended"
        assert time.monotonic() < deadline
        time.sleep(0.1)
