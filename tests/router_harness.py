"""A router on a bus in memory with fake engines, and what a promoter and a clock do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Literal

import releasing

from driftgate.artifacts import Artifacts
from driftgate.bus import Consumer
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.engines import Prediction
from driftgate.errors import BadConfig
from driftgate.health import Health, log_for
from driftgate.runtime import Runtime
from driftgate.runtime.loop import Shift
from services.router.answer_log import AnswerLog
from services.router.delivery import Delivery
from services.router.follower import Follower
from services.router.front import Front
from services.router.last_good import LastGood
from services.router.predictor import Predictor
from services.router.record import Record
from services.router.serving_counts import Counter
from services.router.spool import Spool
from services.router.versions import Versions
from services.router.writing import Writing

CODEC = Codec.load(Settings().schemas)
MODEL = "routed-model"
BASE = "base-a"


@dataclass(eq=False)
class FakeEngine:
    """Answers with the name of the version. `asked` is every call that it answered.

    Attributes:
        fail: error of every call.
        poison: versions and texts that make a call fail.
    """

    loaded: set[str] = field(default_factory=set)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    fail: Exception | None = None
    poison: set[str] = field(default_factory=set)

    def load(self, name: str, folder: Path) -> None:
        if (folder / "labels.json").read_text() == "bad":
            raise BadConfig("labels.json: got 'bad'")
        self.loaded.add(name)

    def unload(self, name: str) -> None:
        self.loaded.discard(name)

    def resident(self) -> frozenset[str]:
        return frozenset(self.loaded)

    def predict_many(self, asked: Mapping[str, Sequence[str]]) -> dict[str, list[Prediction]]:
        if self.fail:
            raise self.fail
        assert set(asked) <= self.loaded
        if self.poison & {*asked, *(text for texts in asked.values() for text in texts)}:
            raise RuntimeError("index out of range in self")
        self.asked.append({name: list(texts) for name, texts in asked.items()})
        return {
            name: [Prediction(f"{name[:4]}:{text}", 0.75, {"similarity": 0.5}, 3) for text in texts]
            for name, texts in asked.items()
        }


@dataclass
class World:
    """One router.

    Attributes:
        engines: by name and digest of their base.
        lacking: bases that this router does not have.
        slow: bases that come only once their event is set.
        when_full: what becomes of requests when the spool is full.
    """

    home: Path
    name: str = "0"
    bus: MemoryBus = field(default_factory=MemoryBus)
    codec: Codec = CODEC
    engines: dict[tuple[str, str], FakeEngine] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    slow: dict[str, Event] = field(default_factory=dict)
    when_full: Literal["refuse", "shed"] = "refuse"
    spool: Spool = field(init=False)
    delivery: Delivery = field(init=False)

    def __post_init__(self) -> None:
        self.bus.ensure(CODEC.topics.by_name.values())
        self.artifacts = Artifacts(f"file://{self.home / 'artifacts'}")
        self.repo = releasing.publish_repo(self.home / "repo", self.artifacts, MODEL)
        self.topics = releasing.Topics(self.bus, CODEC)
        self.start()

    @property
    def state(self) -> Path:
        return self.home / f"state-{self.name}"

    @property
    def kept(self) -> Path:
        return self.state / "routing.json"

    @property
    def engine(self) -> FakeEngine:
        """That of the usual base."""
        return self.engines[BASE, ""]

    def start(self) -> None:
        """As a new process does: nothing of the one before but its folder."""
        self.engines.clear()
        self.log, self.health = log_for("router"), Health("router")
        self.start_log()
        self.versions = Versions(
            self.artifacts,
            self.state,
            LastGood(self.kept, self.log),
            self.engine_of,
            ThreadPoolExecutor(1),
        )
        self.follower = Follower(
            f"router-{self.name}", self.versions, self.log, self.health, patience=20
        )
        self.runtime = Runtime(
            self.follower.service(), self.bus, self.codec, self.name, self.log, self.health
        )
        self.counter = Counter(f"router-{self.name}", "started")
        self.answer_log = AnswerLog(self.spool, self.delivery, self.codec, self.when_full)
        self.record_of_answers = Record(self.answer_log, self.counter, self.log)
        self.predictor = Predictor(self.versions, self.record_of_answers)
        self.writing = Writing(self.versions, self.record_of_answers)
        self.front = Front(self.versions, self.predictor, self.writing, self.runtime.clock)
        self.leave()

    def start_log(self) -> None:
        """The spool of the process before, and who delivers it."""
        if hasattr(self, "spool"):
            self.delivery.stop(10)
            self.spool.close()
        self.spool = Spool(self.state / "spool", 1, self.log)
        self.delivery = Delivery(self.spool, self.bus.producer, self.log)
        self.delivery.start()

    def leave(self) -> None:
        """The runtime begins anew, as after an outage."""
        self.shift = Shift(self.runtime)
        self.consumer: Consumer | None = None

    def look(self) -> None:
        """All that is on the bus is followed."""
        service = self.runtime.service
        if self.consumer is None:
            topics, group = service.topics(), service.group(self.name)
            self.consumer = self.bus.consumer(topics, group, f"router-{self.name}", self.shift)
        self.shift.step(self.consumer)

    def engine_of(self, task: str, base: str, digest: str) -> FakeEngine:
        if base in self.slow:
            assert self.slow[base].wait(20)
        if base in self.lacking:
            raise BadConfig(f"base: {base!r} is no folder")
        self.engines[base, digest] = FakeEngine()
        return self.engines[base, digest]

    def adapter(self, content: str) -> str:
        folder = self.home / f"adapter-{content}"
        folder.mkdir(exist_ok=True)
        (folder / "labels.json").write_text(content)
        return self.artifacts.put_folder(folder)

    def arm(self, version: int, weight: int = 0, content: str = "", **more: Any) -> dict[str, Any]:
        return releasing.arm(version, self.adapter(content or str(version)), weight) | more

    def record(
        self, epoch: int, arms: Sequence[Any], shadows: Sequence[Any] = (), **more: Any
    ) -> dict[str, Any]:
        named = {"model": MODEL, "base": BASE} | more
        return releasing.routing(named.pop("model"), self.repo, epoch, [*arms], [*shadows], **named)

    def route(
        self, epoch: int, arms: Sequence[Any], shadows: Sequence[Any] = (), **more: Any
    ) -> None:
        self.topics.send("routing", self.record(epoch, arms, shadows, **more))
        self.look()

    def goes_on(self, patience: float) -> None:
        """From now on time goes on between ticks, and a record is waited for so long, s."""
        self.tick(releasing.NOW, 1.0)
        self.follower.patience = patience

    def tick(self, time: int, pace: float = 1.0) -> None:
        self.topics.send("clock", {"world": "w", "time": time, "positions": {}, "pace": pace})
        self.look()

    def read(self, topic: str) -> list[dict[str, Any]]:
        return self.topics.read(topic, MODEL)

    def acks(self) -> list[tuple[int, str]]:
        return [(ack["epoch"], ack["status"]) for ack in self.read("routing.acks")]

    def epoch(self, model: str = MODEL) -> int:
        """What is served."""
        return self.versions.snapshot[model].routing.epoch
