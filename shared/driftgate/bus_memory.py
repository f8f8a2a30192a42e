"""The bus in memory: for unit tests, in one process. Keeps the contract of `bus`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import mmh3

from driftgate.batches import Batch
from driftgate.bus import GIVE_UP_SECONDS, MAX_RECORD_BYTES, Position, Rebalance, Record
from driftgate.errors import BusRefused, BusUnavailable
from driftgate.events import Topic


@dataclass
class MemoryBus:
    """`down = True` makes every call fail as an unreachable broker does; `machine` is the broker's
    clock, ms."""

    logs: dict[Position, list[Record]] = field(default_factory=dict)
    groups: dict[str, dict[Position, int]] = field(default_factory=lambda: defaultdict(dict))
    members: dict[str, list[MemoryConsumer]] = field(default_factory=lambda: defaultdict(list))
    down: bool = False
    machine: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    def ensure(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            for partition in range(topic.partitions):
                self.logs.setdefault(Position(topic.name, partition), [])
        for group in list(self.members):
            self.rebalance(group)

    def producer(self, give_up_seconds: float = GIVE_UP_SECONDS) -> MemoryProducer:
        return MemoryProducer(self)

    def consumer(
        self,
        topics: Sequence[str],
        group: str,
        member: str,
        rebalance: Rebalance | None = None,
        max_work_seconds: float = 300,
        exclusive: bool = False,
    ) -> MemoryConsumer:
        consumer = MemoryConsumer(self, topics, group, member, rebalance, exclusive)
        others = [m for m in self.members[group] if m.member != member]
        self.members[group] = [*others, consumer]
        self.rebalance(group)
        return consumer

    def rebalance(self, group: str) -> None:
        """Deals the partitions out to the members, in turn, or all to the first by name. Who loses
        some loses them now; who gains some is asked at its next poll where to start."""
        members = sorted(self.members[group], key=lambda member: member.member)
        for number, member in enumerate(members):
            wanted = sorted(p for p in self.logs if p.topic in member.topics)
            if member.exclusive:
                member.mine = wanted if number == 0 else []
            else:
                member.mine = wanted[number :: len(members)]
            member.lose()

    def read_all(
        self, topics: Sequence[str], since: Mapping[Position, int] | None = None
    ) -> Iterator[Record]:
        self.check()
        for position in self.positions(topics):
            yield from self.logs[position][(since or {}).get(position, 0) :]

    def ends(self, topics: Iterable[str]) -> Mapping[Position, int]:
        self.check()
        return {p: len(self.logs[p]) for p in self.positions(topics)}

    def committed(self, group: str) -> Mapping[Position, int]:
        self.check()
        return dict(self.groups[group])

    def close(self) -> None: ...

    def positions(self, topics: Iterable[str]) -> list[Position]:
        return sorted(p for p in self.logs if p.topic in set(topics))

    def check(self) -> None:
        if self.down:
            raise BusUnavailable("the bus is down")


@dataclass
class MemoryProducer:
    bus: MemoryBus

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.bus.check()
        if len(value or b"") > MAX_RECORD_BYTES:
            raise BusRefused(f"sending to {topic}: {len(value or b'')} bytes are too large")
        positions = self.bus.positions([topic])
        if not positions:
            raise BusUnavailable(f"topic {topic} does not exist")
        chosen = positions[mmh3.hash(key or b"", signed=False) % len(positions)]
        log = self.bus.logs[chosen]
        now = self.bus.machine()
        log.append(Record(topic, chosen.partition, len(log), key, value, now))

    def flush(self) -> None:
        self.bus.check()

    def close(self) -> None: ...


@dataclass
class MemoryConsumer:
    bus: MemoryBus
    topics: Sequence[str]
    group: str
    member: str
    listener: Rebalance | None
    exclusive: bool = False
    mine: list[Position] = field(default_factory=list)
    next: dict[Position, int] = field(default_factory=dict)
    paused: set[Position] = field(default_factory=set)

    def lose(self) -> None:
        lost = [p for p in self.next if p not in self.mine]
        if lost and self.listener:
            self.listener.revoked(lost)
        for position in lost:
            del self.next[position]
            self.paused.discard(position)

    def gain(self) -> None:
        gained = [p for p in self.mine if p not in self.next]
        starts = self.listener.assigned(gained) if self.listener and gained else {}
        for position in gained:
            self.next[position] = starts.get(position, self.bus.groups[self.group].get(position, 0))

    def poll(self, timeout: float, limit: int = 5000) -> Sequence[Record]:
        return [r for batch in self.poll_batches(timeout, limit) for r in batch.records()]

    def poll_batches(self, timeout: float, limit: int = 5000) -> Sequence[Batch]:
        self.check()
        self.gain()
        found: list[Batch] = []
        for position in sorted(self.next.keys() - self.paused):
            start = self.next[position]
            new = self.bus.logs[position][start : start + limit]
            self.next[position] = start + len(new)
            limit -= len(new)
            if new:
                found.append(batch_of(position, new))
        return found

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        self.check()
        self.bus.groups[self.group].update(next_offsets)

    def positions(self) -> Mapping[Position, int]:
        return dict(self.next)

    def pause(self, positions: Iterable[Position]) -> None:
        self.paused.update(positions)

    def resume(self, positions: Iterable[Position]) -> None:
        self.paused.difference_update(positions)

    def seek(self, next_offsets: Mapping[Position, int]) -> None:
        self.next.update(next_offsets)

    def close(self) -> None:
        self.bus.members[self.group] = [m for m in self.bus.members[self.group] if m is not self]
        self.bus.rebalance(self.group)

    def check(self) -> None:
        self.bus.check()
        if not any(member is self for member in self.bus.members[self.group]):
            raise BusUnavailable(f"another member took the name {self.member}")


def batch_of(position: Position, records: Sequence[Record]) -> Batch:
    return Batch.of(
        position,
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )
