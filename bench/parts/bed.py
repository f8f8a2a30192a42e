"""Kafka and the store on ports of their own, and ingest-logger as processes into a database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import psutil
from confluent_kafka import Producer

from bench.parts.traffic import Traffic
from deploy.local import stack
from deploy.local.plan import StackConfig
from driftgate.artifacts import Artifacts
from driftgate.bus import MAX_RECORD_BYTES, Position
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.errors import Retriable
from driftgate.events import Inference, Tick
from driftgate.machine_clock import machine_ms
from driftgate.store import Store, migrate
from services.ingest_logger import queries
from services.ingest_logger.rows import Table
from services.ingest_logger.schema_evolution import add_columns

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
TABLES = ("inferences", "feedback", "outcomes", "dead_letters")


@contextmanager
def infrastructure(name: str) -> Iterator[StackConfig]:
    """A stack without services, empty, taken down at the end."""
    state = Path(f".driftgate/bench-{name}").resolve()
    stack.down(state)
    shutil.rmtree(state, ignore_errors=True)
    config = replace(StackConfig.on_free_ports(state), services=())
    try:
        stack.up(config)
        stack.bootstrap(config)
        yield config
    finally:
        stack.down(state)


@dataclass
class Bed:
    """One model's traffic into a database of its own. Reads only what is sent from now on, or from
    `starts`."""

    stack: StackConfig
    folder: Path
    model: str = field(default_factory=lambda: f"m-{uuid4().hex[:8]}")
    starts: Mapping[Position, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bus, self.codec = KafkaBus(self.stack.kafka), Codec.load(SCHEMAS)
        self.traffic = Traffic(self.model, self.codec, self.folder)
        self.database = f"d_{self.model[2:]}"
        self.store = Store.connect(self.stack.store, self.database)
        migrate(self.store, SCHEMAS / "store")
        self.starts = self.starts or self.bus.ends(self.codec.topics.names())
        queries.mark(self.store, self.starts)
        for topic in (Inference.TOPIC, Tick.TOPIC):
            add_columns(self.store, Table.of(topic, self.codec), self.codec)
        self.set_clock()
        self.declare()

    def set_clock(self) -> None:
        """The time is the machine's, as on a live system: a tick stands in the store, before all
        that is on the topic."""
        tick = Tick(world="bench", time=machine_ms(), pace=1.0)
        place = {"topic": Tick.TOPIC, "partition": 0, "offset": -1}
        self.store.append(Tick.TOPIC, [place | tick.as_dict()])

    def declare(self, **masking: str) -> None:
        """Puts the model in force; `kinds` says what is masked."""
        artifacts = Artifacts(self.stack.environment["DRIFTGATE_ARTIFACTS"])
        sender = self.sender()
        sender.send("models", self.traffic.declaration(artifacts, **masking))
        sender.flush()

    def close(self) -> None:
        self.store.command(f"DROP DATABASE {self.database}")
        self.store.close()
        self.bus.close()

    def sender(self) -> Sender:
        return Sender(self.stack.kafka, self.traffic)

    @contextmanager
    def ingesting(self, replica: str = "0", **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """An ingest-logger process, killed at the end of the block at the latest."""
        own = {
            "DRIFTGATE_DATABASE": self.database,
            "DRIFTGATE_REPLICA": replica,
            "DRIFTGATE_STATE_DIR": str(self.folder / replica),
            "DRIFTGATE_DEAD_LETTER_LIMIT": "1",
            "OMP_NUM_THREADS": "1",
        }
        environment = dict(os.environ) | dict(self.stack.environment) | own | settings
        with self.log(replica).open("ab") as log:
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

    def log(self, replica: str) -> Path:
        return self.folder / f"log-{replica}"

    def assignments(self, replica: str) -> int:
        """How often a process got partitions."""
        path = self.log(replica)
        return path.read_text().count('"event": "assigned"') if path.exists() else 0

    def wait_for_assignment(self, replica: str, before: int | None = None) -> None:
        """Until a process gets partitions, once more than now or than `before`."""
        known = self.assignments(replica) if before is None else before
        self.wait(f"{replica} got no partitions", lambda: self.assignments(replica) > known, 120)

    def rows(self, table: str = "inferences") -> int:
        (row,) = self.store.query(f"SELECT count() AS n FROM {table}")
        return int(row["n"])

    def handled(self) -> int:
        """Answers and feedback, bad ones among them, that ingestion has finished."""
        marks = queries.marks(self.store)
        sources = [p for p in marks if p.topic in ("inferences", "feedback")]
        return sum(marks[p] - self.starts.get(p, 0) for p in sources)

    def behind(self) -> int:
        """Records that ingestion has not finished, by the marks in the store."""
        marks = queries.marks(self.store)
        ends = self.bus.ends(self.codec.topics.names())
        return sum(max(0, end - marks.get(position, 0)) for position, end in ends.items())

    def wait(self, what: str, done: Callable[[], bool], seconds: float = 300) -> None:
        """Until a condition holds; errors of parts that are down count as not yet."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if done():
                    return
            except Retriable:
                pass
            if time.monotonic() > deadline:
                logs = "\n".join(p.read_text()[-2000:] for p in self.folder.glob("log-*"))
                raise AssertionError(f"{what}: not within {seconds:g} s\n{logs}")
            time.sleep(0.05)


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """Resident memory, bytes."""
    return int(psutil.Process(process.pid).memory_info().rss)


class Sender:
    """Sends events fast. Idempotent, and patient enough for a Kafka that is away for minutes."""

    def __init__(self, servers: str, traffic: Traffic) -> None:
        self._traffic = traffic
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.timeout.ms": 600_000,
                "message.max.bytes": MAX_RECORD_BYTES,
                "queue.buffering.max.messages": 1_000_000,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 2,  # it goes on by itself after what it warns of
            }
        )

    def send(self, topic: str, event: dict[str, object]) -> None:
        self.send_raw(topic, *self._traffic.encoded(topic, event))

    def send_raw(self, topic: str, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, key=key, value=value)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def flush(self) -> None:
        left = self._producer.flush(600)
        assert not left, f"{left} records were not acknowledged"
