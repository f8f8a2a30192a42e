"""Ingestion under faults: whatever is killed, every record is a row or a dead letter, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from ingesting import (
    DEADLINE_S,
    behind,
    declaration,
    feedback,
    inference,
    model_yaml,
    start_here,
)

from deploy.local import stack as local
from deploy.local.plan import StackConfig
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.errors import Retriable
from driftgate.store import Store, migrate

pytestmark = pytest.mark.stack
SCHEMAS = Path(__file__).parents[2] / "schemas"
ASKED, TOLD, POISON = 3000, 600, 30
CHUNK = 25


@dataclass
class World:
    """Traffic of one model, and ingestion as processes into a database of its own."""

    stack: StackConfig
    bus: KafkaBus
    codec: Codec
    folder: Path
    model: str = field(default_factory=lambda: f"m-{uuid4().hex[:8]}")
    chance: random.Random = field(default_factory=lambda: random.Random(11))

    def __post_init__(self) -> None:
        self.database = f"faults_{self.model[2:]}"
        self.store = Store.connect(self.stack.store, self.database)
        migrate(self.store, SCHEMAS / "store")
        start_here(self.store, self.bus, self.codec)
        declared = declaration(
            self.folder / "repo",
            Artifacts(self.stack.environment["DRIFTGATE_ARTIFACTS"]),
            model_yaml(self.model),
        )
        self.send([("models", b"", declared)])

    def send(self, events: list[tuple[str, bytes, dict[str, object]]]) -> None:
        producer = self.bus.producer()
        for start in range(0, len(events), CHUNK):
            for topic, raw, event in events[start : start + CHUNK]:
                key = self.codec.topics.key(topic, event) if event else uuid4().bytes
                producer.send(topic, key, self.codec.encode(topic, event) if event else raw)
            producer.flush()
        producer.close()

    def traffic(self) -> list[tuple[str, bytes, dict[str, object]]]:
        """Answers, feedback on some and poison, in an order of chance."""
        now = time.time_ns() // 1_000_000
        ids = [f"{self.model}-{n}" for n in range(ASKED)]
        asked = [("inferences", b"", inference(i, model=self.model, time=now)) for i in ids]
        told = [("feedback", b"", feedback(i, model=self.model, time=now)) for i in ids[:TOLD]]
        poison = [("inferences", self.poison(n), {}) for n in range(POISON)]
        mixed = [*asked, *told, *poison]
        self.chance.shuffle(mixed)
        return mixed  # type: ignore[return-value]

    def poison(self, number: int) -> bytes:
        return f"poison {self.model} {number}".encode()

    @contextmanager
    def sending(self) -> Iterator[None]:
        sender = threading.Thread(target=self.send, args=(self.traffic(),))
        sender.start()
        yield
        sender.join()

    @contextmanager
    def ingesting(self, replica: str = "0") -> Iterator[subprocess.Popen[bytes]]:
        """An ingest-logger process; it may be killed inside the block."""
        settings = {
            "DRIFTGATE_DATABASE": self.database,
            "DRIFTGATE_REPLICA": replica,
            "DRIFTGATE_STATE_DIR": str(self.folder / replica),
            "DRIFTGATE_DEAD_LETTER_LIMIT": "1",
        }
        environment = dict(os.environ) | dict(self.stack.environment) | settings
        with (self.folder / f"log-{replica}").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest_logger.main"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def stored(self) -> int:
        """Rows of this model's answers."""
        (row,) = self.store.query(
            "SELECT count() AS n FROM inferences WHERE model = {m:String}", m=self.model
        )
        return int(row["n"])

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                if done():
                    return
            except Retriable:
                pass
            assert time.monotonic() < deadline, f"{what}: {self.logs()}"
            time.sleep(0.05)

    def wait_for_rows(self, count: int) -> None:
        """Until so many answers are stored, or all."""
        self.wait("no progress", lambda: self.stored() >= min(count, ASKED))

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.folder.glob("log-*"))

    def settle(self) -> None:
        self.wait("not all was read", lambda: not behind(self.bus, self.codec, self.store))

    def check(self) -> None:
        """Every record once; outcomes and dead letters each by their id."""
        mine = f"WHERE model = '{self.model}'"
        for table, sent in (("inferences", ASKED), ("feedback", TOLD)):
            (row,) = self.store.query(
                f"SELECT count() AS n, uniqExact(topic, partition, offset) AS places FROM {table} "
                + mine
            )
            assert row == {"n": sent, "places": sent}, table
        ids = self.store.query(f"SELECT DISTINCT outcome_id FROM outcomes {mine}")
        assert {row["outcome_id"] for row in ids} == {f"f-{self.model}-{n}" for n in range(TOLD)}
        sent_poison = {
            (record.topic, record.partition, record.offset)
            for record in self.bus.read_all(["inferences"])
            if (record.value or b"").startswith(f"poison {self.model} ".encode())
        }
        letters = self.store.query(
            "SELECT DISTINCT source_topic, source_partition, source_offset FROM dead_letters "
            "WHERE startsWith(value, {poison:String})",
            poison=f"poison {self.model} ",
        )
        assert len(sent_poison) == POISON
        assert {tuple(row.values()) for row in letters} == sent_poison


@pytest.fixture
def world(stack: StackConfig, kafka: KafkaBus, codec: Codec, tmp_path: Path) -> Iterator[World]:
    world = World(stack, kafka, codec, tmp_path)
    yield world
    world.store.command(f"DROP DATABASE {world.database}")
    world.store.close()


def test_killed_at_random_points_under_load(world: World) -> None:
    with world.sending():
        for _ in range(3):
            enough = world.stored() + world.chance.randrange(1, 400)
            with world.ingesting():
                world.wait_for_rows(enough)
                time.sleep(world.chance.random() / 10)  # so that the kill comes anywhere in a step
    with world.ingesting():
        world.settle()
    world.check()


def test_a_second_member_joins_and_is_killed(world: World) -> None:
    with ExitStack() as first, world.sending():
        first.enter_context(world.ingesting("0"))
        world.wait_for_rows(1)
        with world.ingesting("1"):
            log = world.folder / "log-1"
            world.wait("never assigned", lambda: "assigned" in log.read_text())
            world.wait_for_rows(world.stored() + 200)
        world.settle()
    world.check()


def test_the_store_goes_away_and_comes_back(world: World) -> None:
    with ExitStack() as service, world.sending():
        process = service.enter_context(world.ingesting())
        world.wait_for_rows(100)
        local.kill(world.stack.state_dir, "clickhouse")
        world.settle()
        assert process.poll() is None, "it waits for the store, it does not die of it"
        assert b"retrying" in (world.folder / "log-0").read_bytes()
    world.check()
