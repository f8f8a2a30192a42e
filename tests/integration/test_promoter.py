"""The promoter process on real Kafka and the store over HTTP, killed between any two events."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import releasing
from releasing import NOW, Topics, until

from driftgate import topology
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import DAY_MS
from driftgate.store import Store, migrate

pytestmark = pytest.mark.stack

SCHEMAS = Path(__file__).parents[2] / "schemas"
DATABASE = "promoter_integration"
M = "promoted-in-earnest"


@dataclass
class Promotion:
    """The promoter process and what happens around it."""

    environment: dict[str, str]
    topics: Topics
    store: Store
    repo: str
    artifacts: Artifacts
    log: Path
    rows: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.promoter.main"],
                env=os.environ | self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def tell(self, topic: str, event: dict[str, Any]) -> None:
        """Sends an event; returns once the promoter has done all that it leads to."""
        self.topics.send(topic, event)
        until(self.caught_up)

    def caught_up(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        bus, declared = self.topics.bus, self.topics.codec.topics
        committed = bus.committed(topology.PROMOTER)
        ends = bus.ends(declared.names())
        return not topology.lag(topology.PROMOTER, declared, ends, committed)

    def passes(self, version: int) -> None:
        uri = self.artifacts.put_json({M: version})
        self.tell("verdicts", releasing.verdict(M, self.repo, version, uri, NOW))

    def acknowledged(self) -> None:
        epoch = self.topics.read("routing", M)[-1]["epoch"]
        self.tell("routing.acks", releasing.ack(M, epoch))

    def day(self, day: int, right: str) -> None:
        """A day of forty labelled requests, and its tick."""
        time, answers, outcomes = NOW + day * DAY_MS, [], []
        for _ in range(40):
            self.rows += 10
            request, outputs = f"r{self.rows}", {1: right[0], 2: right[1]}
            answers += releasing.answer_rows(M, request, outputs, time, self.rows)
            outcomes.append(releasing.outcome_row(M, request, "b", time, self.rows))
        self.store.append("inferences", answers)
        self.store.append("outcomes", outcomes)
        self.tell("clock", {"world": M, "time": time, "positions": {}})


@pytest.fixture
def promotion(kafka: KafkaBus, codec: Codec, stack: Any, tmp_path: Path) -> Iterator[Promotion]:
    environment = dict(stack.environment) | {
        "DRIFTGATE_DATABASE": DATABASE,
        "DRIFTGATE_CLOCK": "world",
        "DRIFTGATE_STATE_DIR": str(tmp_path),
    }
    store = Store.connect(stack.store, DATABASE)
    migrate(store, SCHEMAS / "store")
    artifacts = Artifacts(environment["DRIFTGATE_ARTIFACTS"])
    repo = releasing.publish_repo(tmp_path / "repo", artifacts, M)
    topics = Topics(kafka, codec)
    made = Promotion(environment, topics, store, repo, artifacts, tmp_path / "promoter.log")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
    store.command(f"DROP DATABASE {DATABASE}")
    store.close()


def test_a_version_is_released_promoted_and_taken_back_over_kills(promotion: Promotion) -> None:
    promotion.start()
    promotion.passes(1)
    promotion.acknowledged()
    promotion.passes(2)
    promotion.kill()
    promotion.start()
    promotion.acknowledged()
    promotion.day(1, "ab")
    promotion.acknowledged()
    promotion.kill()
    promotion.topics.send("clock", {"world": M, "time": NOW + 2 * DAY_MS, "positions": {}})
    promotion.start()
    until(promotion.caught_up)
    promotion.acknowledged()
    promotion.day(3, "ba")
    assert releasing.decisions(promotion.topics.read("audit", M)) == [
        ("start", 1),
        ("start", 2),
        ("advance", 2),
        ("advance", 2),
        ("advance", 2),
        ("rollback", 2),
    ]
    states = promotion.topics.read("rollouts", M)
    assert [state["stage"] for state in states] == [
        "idle",
        "loading",
        "shadow",
        "half",
        "full",
        "idle",
    ]
    routing = promotion.topics.read("routing", M)
    assert [record["epoch"] for record in routing] == [state["epoch"] for state in states]
    assert [arm["version"] for arm in routing[-1]["arms"]] == [1]
