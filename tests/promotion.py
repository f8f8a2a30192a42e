"""The promoter as a process of its own, and what happens around it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    """Promoter processes, and one model that they promote.

    Attributes:
        begin: when its story begins, ms; time passes from there on.
        now: time of the last tick.
    """

    model: str
    environment: dict[str, str]
    topics: Topics
    store: Store
    repo: str
    artifacts: Artifacts
    log: Path
    begin: int
    now: int
    rows: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, replica: str = "0", **changes: object) -> None:
        """`changes` are `DRIFTGATE_*` variables."""
        ours = {"REPLICA": replica, "STATE_DIR": self.log.parent / f"promoter-{replica}"} | changes
        variables = {f"DRIFTGATE_{name}": str(value) for name, value in ours.items()}
        with self.log.open("ab") as file:
            self.processes[replica] = subprocess.Popen(
                [sys.executable, "-m", "services.promoter.main"],
                env=os.environ | self.environment | variables,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def kill(self, replica: str = "0") -> None:
        """SIGKILL: nothing is put in order."""
        process = self.processes.pop(replica)
        process.kill()
        process.wait()

    def tell(self, topic: str, *events: dict[str, Any]) -> None:
        """Sends events; returns once a promoter has done all that they lead to."""
        self.topics.send(topic, *events)
        until(self.caught_up)

    def caught_up(self) -> bool:
        self.check()
        bus, declared = self.topics.bus, self.topics.codec.topics
        committed = bus.committed(topology.PROMOTER)
        ends = bus.ends(declared.names())
        return not topology.lag(topology.PROMOTER, declared, ends, committed)

    def check(self) -> None:
        """All processes run."""
        ended = [p for p in self.processes.values() if p.poll() is not None]
        assert not ended, self.log.read_text()

    def verdict(self, version: int) -> dict[str, Any]:
        uri = self.artifacts.put_json({self.model: version})
        return releasing.verdict(self.model, self.repo, version, uri, self.now)

    def passes(self, version: int) -> None:
        self.tell("verdicts", self.verdict(version))

    def acknowledged(self) -> None:
        epoch = self.topics.read("routing", self.model)[-1]["epoch"]
        self.tell("routing.acks", releasing.ack(self.model, epoch, time=self.now))

    def ticked(self, time: int) -> dict[str, Any]:
        self.now = time
        self.store.append("clock", [releasing.clock_row(time, time)])
        return {"world": self.model, "time": time, "positions": {}}

    def labelled(self, day: int, right: str) -> int:
        """A day of 120 labelled requests; returns when it ends, ms."""
        time, answers, outcomes = self.begin + day * DAY_MS, [], []
        for _ in range(120):
            self.rows += 10
            request, outputs = f"r{self.rows}", {1: right[0], 2: right[1]}
            answers += releasing.answer_rows(self.model, request, outputs, time, self.rows)
            outcomes.append(releasing.outcome_row(self.model, request, "b", time, self.rows))
        self.store.append("inferences", answers)
        self.store.append("outcomes", outcomes)
        return time

    def day(self, day: int, right: str) -> None:
        """A labelled day, and its tick."""
        self.tell("clock", self.ticked(self.labelled(day, right)))


@contextmanager
def promoting(
    model: str, stack: StackConfig, kafka: KafkaBus, codec: Codec, folder: Path
) -> Iterator[Promotion]:
    """A promoter that is not started yet, with a database of its own; gone when this returns."""
    database = model.replace("-", "_")
    environment = dict(stack.environment) | {"DRIFTGATE_DATABASE": database}
    store = Store.connect(stack.store, database)
    migrate(store, SCHEMAS / "store")
    artifacts = Artifacts(environment["DRIFTGATE_ARTIFACTS"])
    repo = releasing.publish_repo(folder / "repo", artifacts, model)
    begin = after_all_ticks(kafka, codec)
    topics, log = Topics(kafka, codec), folder / "promoter.log"
    made = Promotion(model, environment, topics, store, repo, artifacts, log, begin, begin)
    try:
        yield made
    finally:
        for replica in list(made.processes):
            made.kill(replica)
        store.command(f"DROP DATABASE {database}")
        store.close()


def after_all_ticks(kafka: KafkaBus, codec: Codec) -> int:
    """A day after the last tick that another test wrote, ms: time does not go back."""
    ticks = [codec.decode("clock", record.value) for record in kafka.read_all(["clock"])]
    return max([NOW, *(tick["time"] + DAY_MS for tick in ticks)])
