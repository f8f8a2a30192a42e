"""The drift-detector as a process of its own on a Kafka of its own, and what tests need to see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer
from drift_world import day, declare, retrain, verdict
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError
from patience import attempts

from driftgate.artifacts import Artifacts
from driftgate.bus import Position
from driftgate.bus_kafka import KafkaBus, KafkaSender
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable
from driftgate.events import AnyEvent
from driftgate.runtime.ticker import Ticker
from driftgate.topology import DRIFT, READER, READS

Child = subprocess.Popen[bytes]
PATIENCE_SECONDS = 180.0
REPLICAS = ("0", "1")
GROUPS = (DRIFT, READER)


def eventually(condition: Callable[[], object], what: str) -> None:
    """Returns when the condition holds."""
    for _ in attempts(PATIENCE_SECONDS):
        if condition():
            return
    raise AssertionError(f"{what}: not within {PATIENCE_SECONDS:g} s")


@contextmanager
def process(
    module: str, *arguments: object, log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python module as a process, which has ended when this returns."""
    line = [sys.executable, "-m", module, *map(str, arguments)]
    with log.open("ab") as out:
        child = subprocess.Popen(
            line, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
    try:
        yield child
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def kafka_on(ports: Sequence[int], folder: Path) -> Iterator[KafkaBus]:
    """A broker on two ports, with its state in a folder."""
    arguments = (folder / "kafka", "--port", ports[0], "--controller-port", ports[1])
    with process("deploy.local.kafka", *arguments, log=folder / "kafka.log"):
        bus = KafkaBus(f"127.0.0.1:{ports[0]}")
        eventually(lambda: answers(lambda: bus.ends(["clock"])), "Kafka is ready")
        yield bus
        bus.close()


def answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except BusUnavailable:
        return False
    return True


def wipe(bus: KafkaBus, codec: Codec) -> None:
    """All topics anew, and nobody remembers the old ones."""
    eventually(lambda: answers(lambda: forget_group(bus)), "no group")
    bus.admin.delete_topics([name for name in bus.admin.list_topics() if name[0] != "_"])
    eventually(lambda: not set(codec.topics.names()) & set(bus.admin.list_topics()), "no topics")
    eventually(lambda: answers(lambda: bus.ensure(codec.topics.by_name.values())), "topics")


def transact(bus: KafkaBus, *records: tuple[str, bytes | None, bytes | None]) -> None:
    """Writes records in a transaction of Kafka, whose end takes an offset that no record has."""
    producer = Producer(
        {"bootstrap.servers": ",".join(bus.servers), "transactional.id": f"app-{uuid4().hex[:8]}"}
    )
    producer.init_transactions(PATIENCE_SECONDS)
    producer.begin_transaction()
    for topic, key, value in records:
        producer.produce(topic, value, key)
    producer.commit_transaction(PATIENCE_SECONDS)


def forget_group(bus: KafkaBus) -> None:
    """A killed member may not have been missed yet."""
    for group in GROUPS:
        members = [MemberToRemove(group_instance_id=f"{group}-{replica}") for replica in REPLICAS]
        try:
            for member in members:
                bus.admin.remove_group_members(group, [member])
            bus.admin.delete_groups([group])
        except KafkaError as error:
            raise BusUnavailable(f"forgetting {group}: {error}") from error


@dataclass
class Harness:
    """Writes what the world writes, reads what the service says."""

    bus: KafkaBus
    codec: Codec
    folder: Path
    producer: KafkaSender = field(init=False)

    def __post_init__(self) -> None:
        self.artifacts = Artifacts(f"file://{self.folder / 'artifacts'}")
        self.producer = self.bus.producer()
        self.ticker = Ticker(self.bus, self.codec, "test", 0.0)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "state" / DRIFT / "checkpoint.sqlite"

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    @contextmanager
    def service(self, replica: str = "0", **environment: str) -> Iterator[Child]:
        with process(
            "services.drift_detector.main",
            log=self.log,
            OMP_NUM_THREADS="1",
            DRIFTGATE_KAFKA=",".join(self.bus.servers),
            DRIFTGATE_ARTIFACTS=f"file://{self.folder / 'artifacts'}",
            DRIFTGATE_STATE_DIR=str(self.folder / "state"),
            DRIFTGATE_REPLICA=replica,
            **environment,
        ) as child:
            yield child

    def put(self, *events: AnyEvent) -> None:
        """Sends, and returns when all are acknowledged."""
        for event in events:
            self.producer.send(*self.codec.record(event))
        self.producer.flush()

    def launch(self) -> None:
        self.put(declare(self.artifacts, self.folder / "repo"))
        self.put(verdict(1, day(0), retrain_id="post:launch:launch"))
        self.put(retrain("launch", day(0), reason="launch", seed_uri="sha256:0"))

    def end_day(self, number: int) -> None:
        self.ticker.write(day(number + 1))

    def positions(self) -> Mapping[Position, int]:
        """What is committed; nothing where Kafka does not know the group."""
        try:
            return {p: at for group in GROUPS for p, at in self.bus.committed(group).items()}
        except BusUnavailable:
            return {}

    def readers(self) -> set[str]:
        """The replicas that hold a share of what is read."""
        found = self.bus.admin.describe_groups([READER])[READER]["members"]
        return {
            member["group_instance_id"].removeprefix(f"{READER}-")
            for member in found
            if member["member_assignment"] and member["member_assignment"]["assigned_partitions"]
        }

    def caught_up(self) -> bool:
        """As a world sees it: what is committed is all that there is."""
        return reached(self.positions(), self.bus.ends([t for g in GROUPS for t in READS[g]]))

    def settled(self) -> None:
        eventually(self.caught_up, "the service has caught up")

    def sent(self, kind: type[Any]) -> list[Any]:
        """All events of a type."""
        return [self.codec.event(kind.TOPIC, r.value) for r in self.bus.read_all([kind.TOPIC])]


def reached(committed: Mapping[Position, int], ends: Mapping[Position, int]) -> bool:
    return all(committed.get(position, 0) >= end for position, end in ends.items())
