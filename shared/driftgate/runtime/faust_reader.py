"""A replica reads its share of topics for the one that works, by faust-streaming: see
`service.Relayed`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import faust
from faust.assignor import PartitionAssignor
from faust.types import TP

from driftgate import metrics
from driftgate.bus import Position, Record
from driftgate.errors import BadInput, BusUnavailable, Retriable
from driftgate.events import AnyEvent
from driftgate.runtime.backoff import Backoff
from driftgate.runtime.faust_app import FaustMember, app_of, delivered_to
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


class Reader:
    """Reads a share of the partitions, and tells of it. What it told is acknowledged before the
    group commits: after a crash it is told again, from a place that was told before."""

    def __init__(self, runtime: Runtime, reads: Reads) -> None:
        self.runtime, self.reads = runtime, reads
        self.app = app_of(
            runtime, reads.group, reads.relayed.topics, PartitionAssignor, self.consume
        )
        self.app.on_rebalance_complete.connect(self.joined)
        self.app.on_partitions_revoked.connect(self.left)
        self.member = FaustMember(self.app)
        self.failed = False
        self.reached: dict[Position, int] = {}
        self._told_at: dict[Position, float] = {}
        self._backoff = Backoff()

    @property
    def ended(self) -> bool:
        return self.failed or self.app.should_stop

    async def joined(self, app: faust.App, **_: Any) -> None:
        """Begins where the group committed, or where a partition begins."""
        try:
            mine = app.consumer.assignment()
            committed = self.runtime.bus.committed(self.reads.group)
            first = await app.consumer.earliest_offsets(*mine) if mine else {}
            starts = {Position(*tp): offset for tp, offset in first.items()}
            self.reached = {p: max(committed.get(p, 0), at) for p, at in starts.items()}
            self._told_at = {}
        except Exception:  # noqa: BLE001 - faust would go on
            self.fail("cannot begin")

    async def left(self, app: faust.App, revoked: Iterable[TP], **_: Any) -> None:
        self.reached = {}

    async def consume(self, stream: Any) -> None:
        """Tells of what faust delivers."""
        try:
            with suppress(StopAsyncIteration):  # faust ends the stream by it
                while True:
                    await self.tell(await delivered_to(self.app, stream.channel.queue))
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - faust would start the agent again, after these records
            self.fail("reading ends by an error")

    async def tell(self, delivered: Iterable[Record]) -> None:
        """Sends what is told of records, and where nothing comes how far was read: whoever begins
        anew learns that there is nothing to wait for."""
        found: dict[Position, list[Record]] = {}
        for record in delivered:
            if record.offset >= self.reached.get(record.position, sys.maxsize):
                found.setdefault(record.position, []).append(record)
        for source, records in found.items():
            read = [(record.offset, await self.decoded(record)) for record in records]
            await self.send(source, self.reads.batches(source, read))
            self.reached[source] = records[-1].offset + 1
        for source in [p for p in self.reached if p not in found and self.silent(p)]:
            await self.send(source, [self.reads.nothing(source, self.reached[source])])
        if found:
            self.commit({source: self.reached[source] for source in found})

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        """Where the group has just dealt the partitions out anew, or Kafka is slow, it is not
        taken: then whoever reads them tells of these records again, and they count once."""
        try:
            self.member.commit(next_offsets)
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

    def fail(self, what: str) -> None:
        self.runtime.log.exception(what)
        self.failed = True
