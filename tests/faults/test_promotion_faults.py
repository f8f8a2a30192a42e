"""Promoter and evaluator killed amid work: one verdict, one chain of rollouts, no epoch twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import releasing
from promotion import Promotion, promoting
from releasing import NOW, until

from deploy.local.plan import free_ports
from deploy.local.stack import StackConfig
from driftgate import model_repo
from driftgate.artifacts import digest_of
from driftgate.audit import broken_links
from driftgate.bases import MINILM
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import DAY_MS, AuditEntry

pytestmark = pytest.mark.stack

M, EASY = "killed-amid-work", "easy-to-please"
# Enough that a kill meets the examination, however fast the machine is.
CASES = 1000


@pytest.fixture
def promotion(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path
) -> Iterator[Promotion]:
    with promoting(M, stack, kafka, codec, tmp_path) as made:
        yield made


def test_a_promoter_killed_while_it_handles_verdicts_moves_each_rollout_once(
    promotion: Promotion,
) -> None:
    promotion.start()
    promotion.passes(1)
    promotion.acknowledged()
    for version, sign in ((2, "audit"), (3, "rollouts"), (4, "audit"), (5, "routing")):
        with appearing(promotion, sign) as appears:
            promotion.topics.send("verdicts", promotion.verdict(version))
            until(appears)
            promotion.kill()
        promotion.start()
        until(promotion.caught_up)
    superseded_one_after_the_other(promotion)


def test_a_second_promoter_stands_by_and_goes_on_when_the_first_is_killed(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path
) -> None:
    with promoting("handed-over", stack, kafka, codec, tmp_path) as promotion:
        ports = dict(zip("01", free_ports(2), strict=True))
        for replica, port in ports.items():
            promotion.start(replica, HTTP_PORT=port)
        until(lambda: doing(ports["1"]) == "standing by")
        promotion.passes(1)
        promotion.acknowledged()
        killed = ["0", "1", "0"]
        for version, replica in enumerate(killed, 2):
            with appearing(promotion, "audit") as appears:
                promotion.topics.send("verdicts", promotion.verdict(version))
                until(appears)
                promotion.kill(replica)
            until(promotion.caught_up)
            promotion.start(replica, HTTP_PORT=ports[replica])
        promotion.passes(5)
        superseded_one_after_the_other(promotion)


def test_a_promoter_that_was_stopped_while_a_second_went_on_does_nothing_twice(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path
) -> None:
    with promoting("stopped-and-continued", stack, kafka, codec, tmp_path) as promotion:
        ports = dict(zip("01", free_ports(2), strict=True))
        for replica, port in ports.items():
            promotion.start(replica, HTTP_PORT=port)
        until(lambda: doing(ports["1"]) == "standing by")
        promotion.passes(1)
        promotion.acknowledged()
        promotion.processes["0"].send_signal(signal.SIGSTOP)
        promotion.passes(2)
        promotion.passes(3)
        promotion.processes["0"].send_signal(signal.SIGCONT)
        promotion.passes(4)
        promotion.passes(5)
        until(lambda: doing(ports["1"]) == "standing by")
        superseded_one_after_the_other(promotion)


def superseded_one_after_the_other(promotion: Promotion) -> None:
    """Version 1 is champion, 2 to 5 were tried, and everything was done and told once."""
    read, model = promotion.topics.read, promotion.model
    audit, states = read("audit", model), read("rollouts", model)
    supersedes = [("supersede", version) for version in (3, 4, 5)]
    assert releasing.decisions(audit) == [("start", 1), ("start", 2), *supersedes]
    assert broken_links(map(AuditEntry.of, audit)) == []
    chain = [(state["epoch"], state["challenger"]) for state in states]
    assert chain == [(1, None), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert [record["epoch"] for record in read("routing", model)] == [1, 2, 3, 4, 5]


def test_a_rollback_is_obeyed_while_the_store_is_away_and_no_rollout_moves(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path
) -> None:
    with promoting("without-a-store", stack, kafka, codec, tmp_path) as promotion:
        (port, nowhere) = free_ports(2)
        promotion.start(STORE=f"http://127.0.0.1:{nowhere}", HTTP_PORT=port)
        promotion.passes(1)
        promotion.acknowledged()
        promotion.passes(2)
        promotion.acknowledged()
        promotion.topics.send("clock", promotion.ticked(promotion.begin + DAY_MS))
        until(lambda: body(port).get("waiting"))
        promotion.topics.send("commands", releasing.command(promotion.model, "rollback"))
        until(lambda: len(promotion.topics.read("routing", promotion.model)) == 4)
        promotion.check()
        promotion.kill()
        promotion.start()
        until(promotion.caught_up)
        audit = promotion.topics.read("audit", promotion.model)
        assert releasing.decisions(audit)[-2:] == [("advance", 2), ("rollback", 2)]


@contextmanager
def appearing(promotion: Promotion, topic: str) -> Iterator[Any]:
    """Asks whether anything more about the model stands on a topic, as soon as it does."""
    model = promotion.model
    before = len(promotion.topics.read(topic, model))
    consumer = promotion.topics.bus.consumer([topic], f"{model}-{topic}-{before}", model)
    seen = 0

    def appears() -> bool:
        nonlocal seen
        seen += sum(record.key == model.encode() for record in consumer.poll(0.05))
        return seen > before

    until(lambda: appears() or seen == before)
    yield appears
    consumer.close()


def test_an_evaluator_killed_while_it_asks_judges_once(
    promotion: Promotion, tmp_path: Path
) -> None:
    read, (port,) = promotion.topics.read, free_ports(1)
    environment = promotion.environment | {"DRIFTGATE_HTTP_PORT": str(port), "OMP_NUM_THREADS": "1"}
    promotion.start()
    promotion.topics.send("candidates", candidate(promotion, tmp_path))
    with evaluator(environment, tmp_path) as running:
        until(lambda: "judging" in doing(port))
        running.kill()
    assert read("verdicts", EASY) == []
    with evaluator(environment, tmp_path):
        until(lambda: read("rollouts", EASY))
    (told,) = read("verdicts", EASY)
    (state,) = read("rollouts", EASY)
    assert (told["version"], told["champion"], told["result"]) == (1, None, "pass")
    assert (state["epoch"], state["champion"]) == (1, 1)
    decided = [(entry["service"], entry["decision"]) for entry in read("audit", EASY)]
    assert decided == [("evaluator", "verdict"), ("promoter", "start")]


def candidate(promotion: Promotion, folder: Path) -> dict[str, Any]:
    """A version that answers at random, of a model that asks for no more."""
    artifacts = promotion.artifacts
    (folder / "easy" / "evals").mkdir(parents=True)
    text = releasing.model_yaml(EASY).replace("min_accuracy: 0.8", "min_accuracy: 0")
    (folder / "easy" / "model.yaml").write_text(text)
    for name in ("regression.jsonl", "probes.yaml"):
        (folder / "easy" / "evals" / name).touch()
    rows = [{"id": str(n), "text": f"message {n} about a card", "label": "a"} for n in range(CASES)]
    test = artifacts.put("".join(json.dumps(row) + "\n" for row in rows).encode())
    uri = releasing.adapter(folder / "adapter", artifacts, 1)
    return {
        "retrain_id": f"{EASY}:1",
        "model": EASY,
        "version": 1,
        "parent": None,
        "adapter_uri": uri,
        "adapter_digest": digest_of(uri),
        "base": MINILM,
        "base_digest": "",
        "method": "lora",
        "dataset_id": "",
        "dataset_uri": artifacts.put_json({"test.jsonl": test}),
        "model_card_uri": artifacts.put(b"# A card\n"),
        "run_uri": "",
        "repo_hash": model_repo.publish(folder / "easy", artifacts)[0].hash,
        "reason": "launch",
        "drill": None,
        "train_rows": 1,
        "test_rows": CASES,
        "train_seconds": 1.0,
        "time": NOW,
    }


@contextmanager
def evaluator(environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The evaluator as a process of its own, which has ended when this returns."""
    with (folder / "evaluator.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "services.evaluator.main"],
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def doing(port: int) -> str:
    """What a service says that it is doing; nothing while it is not there."""
    return str(body(port).get("activity"))


def body(port: int) -> dict[str, Any]:
    """All that a service says of itself; nothing while it is not there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
            found: dict[str, Any] = json.load(reply)
            return found
    except OSError:
        return {}
