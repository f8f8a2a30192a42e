"""A replica reads its share of topics for the one that works, by faust-streaming: see
`service.Relayed`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftgate import metrics
from driftgate.bus import Position, Record
from driftgate.errors import BadInput, BusUnavailable, Retriable
from driftgate.events import AnyEvent
from driftgate.runtime.backoff import Backoff
from driftgate.runtime.faust_app import GroupMember, advanced
from driftgate.runtime.loop import Runtime
from driftgate.runtime.service import Relayed

# So often is told how far was read where nothing comes: less than any topic keeps its records.
SILENT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Reads:
    """What a replica reads for the one that works, see `service.Relayed`.

    Attributes:
        group: whose members share the partitions.
        batches: what is told of records of one partition, each with its event, or with None where
            it cannot be read.
        nothing: what tells that nothing new lies before an offset.
    """

    group: str
    relayed: Relayed
    batches: Callable[[Position, Sequence[tuple[int, Any]]], Iterable[AnyEvent]]
    nothing: Callable[[Position, int], AnyEvent]


class Reader(GroupMember):
    """Reads a share of the partitions, and tells of it. What it told is acknowledged before the
    group commits: after a crash it is told again, from a place that was told before."""

    def __init__(self, runtime: Runtime, reads: Reads) -> None:
        super().__init__(runtime, reads.group, reads.relayed.topics)
        self.reads = reads
        self._told_at: dict[Position, float] = {}
        self._backoff = Backoff()

    async def begin(self, mine: set[Position]) -> None:
        self.reached = dict((await self.places(mine)).committed)
        self._told_at = {}

    async def take(self, delivered: Sequence[Record], passed: Mapping[Position, int]) -> None:
        """Sends what is told of records, and how far was read where that is further, or where
        nothing comes: nobody waits for what is not there, nor does whoever begins anew."""
        found: dict[Position, list[Record]] = {}
        for record in delivered:
            if record.offset >= self.reached.get(record.position, sys.maxsize):
                found.setdefault(record.position, []).append(record)
        for source, records in found.items():
            read = [(record.offset, await self.decoded(record)) for record in records]
            await self.send(source, self.reads.batches(source, read))
            if source in self.reached:  # the group may have dealt it to another member meanwhile
                self.reached[source] = records[-1].offset + 1
        ends = advanced(self.reached, passed)
        further = {p for p, at in ends.items() if at > self.reached[p]}
        for source in [p for p in ends if p in further or (p not in found and self.silent(p))]:
            await self.send(source, [self.reads.nothing(source, ends[source])])
            if source in self.reached:
                self.reached[source] = ends[source]
        if told := {p: at for p, at in self.reached.items() if p in found or p in further}:
            self.commit(told)

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        """Where the group has just dealt the partitions out anew, or Kafka is slow, it is not
        taken: then whoever reads them tells of these records again, and they count once."""
        try:
            self.consumer.commit(next_offsets)
        except BusUnavailable as error:
            metrics.RETRIES.labels(type(error).__name__).inc()
            self.runtime.log.warning("not committed", error=str(error))

    def silent(self, source: Position) -> bool:
        """Whether nothing was told of a partition since it came, or for long."""
        told = self._told_at.get(source)
        return told is None or time.monotonic() - told > SILENT_SECONDS

    async def send(self, source: Position, events: Iterable[AnyEvent]) -> None:
        """Returns once all is acknowledged."""
        carrier = self.reads.relayed.carrier(source)
        for event in events:
            topic, key, value = self.runtime.codec.record(event)
            await self.app.producer.send_and_wait(
                topic, key, value, carrier.partition, timestamp=None, headers=None
            )
        self._told_at[source] = time.monotonic()

    async def decoded(self, record: Record) -> AnyEvent | None:
        """None for what ingest-logger makes a dead letter of. Waits for a registry that is away."""
        metrics.RECORDS.labels(record.topic).inc()
        while True:
            try:
                return self.runtime.codec.event(record.topic, record.value)
            except BadInput as error:
                metrics.SKIPPED.labels(record.topic).inc()
                self.runtime.log.warning("skipped", at=str(record.position), error=str(error))
                return None
            except Retriable as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                self.runtime.health.heartbeat(waiting=str(error))
                await asyncio.sleep(self._backoff.next(record.topic))

    def lag(self) -> int:
        reached = dict(self.reached)
        ends = self.runtime.bus.ends({position.topic for position in reached})
        return sum(max(0, ends.get(position, at) - at) for position, at in reached.items())
