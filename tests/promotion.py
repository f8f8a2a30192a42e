"""The promoter as a process of its own, and what happens around it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import releasing
from releasing import NOW, Topics, until

from deploy.local.stack import StackConfig
from driftgate import topology
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import DAY_MS
from driftgate.store import Store, migrate

SCHEMAS = Path(__file__).parents[1] / "schemas"


@dataclass
class Promotion:
    """The promoter process, and one model that it promotes."""

    model: str
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

    def verdict(self, version: int) -> dict[str, Any]:
        uri = self.artifacts.put_json({self.model: version})
        return releasing.verdict(self.model, self.repo, version, uri, NOW)

    def passes(self, version: int) -> None:
        self.tell("verdicts", self.verdict(version))

    def acknowledged(self) -> None:
        epoch = self.topics.read("routing", self.model)[-1]["epoch"]
        self.tell("routing.acks", releasing.ack(self.model, epoch))

    def day(self, day: int, right: str) -> None:
        """A day of forty labelled requests, and its tick."""
        time, answers, outcomes = NOW + day * DAY_MS, [], []
        for _ in range(40):
            self.rows += 10
            request, outputs = f"r{self.rows}", {1: right[0], 2: right[1]}
            answers += releasing.answer_rows(self.model, request, outputs, time, self.rows)
            outcomes.append(releasing.outcome_row(self.model, request, "b", time, self.rows))
        self.store.append("inferences", answers)
        self.store.append("outcomes", outcomes)
        self.tell("clock", {"world": self.model, "time": time, "positions": {}})


@contextmanager
def promoting(
    model: str, stack: StackConfig, kafka: KafkaBus, codec: Codec, folder: Path
) -> Iterator[Promotion]:
    """A promoter that is not started yet, with a database of its own; gone when this returns."""
    database = model.replace("-", "_")
    environment = dict(stack.environment) | {
        "DRIFTGATE_DATABASE": database,
        "DRIFTGATE_CLOCK": "world",
        "DRIFTGATE_STATE_DIR": str(folder),
    }
    store = Store.connect(stack.store, database)
    migrate(store, SCHEMAS / "store")
    artifacts = Artifacts(environment["DRIFTGATE_ARTIFACTS"])
    repo = releasing.publish_repo(folder / "repo", artifacts, model)
    topics = Topics(kafka, codec)
    made = Promotion(model, environment, topics, store, repo, artifacts, folder / "promoter.log")
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.kill()
        store.command(f"DROP DATABASE {database}")
        store.close()
