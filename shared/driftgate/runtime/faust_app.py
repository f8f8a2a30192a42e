"""A member of a consumer group by faust-streaming.

faust polls and commits, and nothing else: no agent's acknowledgements, since faust acknowledges an
event even if its handler raised, and no table, since their recovery can hang. What it cannot go on
from ends the process, which its supervisor starts again.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import faust
from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import MemberAssignmentMapping, MemberMetadataMapping
from faust.transport.drivers import aiokafka
from faust.types import TP
from mode.services import WaitResults

from driftgate.bus import MAX_RECORD_BYTES, Position, Record
from driftgate.bus_kafka import COMMIT_MS, FETCH_WAIT_MS, SESSION_MS
from driftgate.errors import BusUnavailable
from driftgate.runtime.loop import POLL_SECONDS, Runtime

# Most that is handled before the next commit, and longest time for it to come together: a commit
# takes as long as some hundred records.
BATCH = 5_000
LINGER_SECONDS = 0.2
PAUSE_SECONDS = 0.01
# Where its buffer is full, faust stops reading for a second: it never is.
BUFFER = 1_000_000


class GroupMember(ABC):
    """One run of a faust app: a replica's member of a consumer group, which faust takes for the
    name of the app. It begins where its group left off, and takes what it is given.

    Attributes:
        reached: next offset of each partition that it holds.
    """

    def __init__(
        self,
        runtime: Runtime,
        group: str,
        topics: Sequence[str],
        assignor: type[PartitionAssignor] = PartitionAssignor,
    ) -> None:
        self.app = app_of(runtime, group, assignor)
        # Bytes as they are: a record that cannot be decoded must reach the code that counts it.
        raw = {"key_serializer": "raw", "value_serializer": "raw"}
        channel = self.app.topic(*topics, acks=False, **raw)
        self.app.agent(channel, concurrency=1)(self.consume)
        self.app.on_rebalance_complete.connect(self.joined)
        self.app.on_partitions_revoked.connect(self.left)
        self.runtime = runtime
        self.consumer = FaustConsumer(self.app)
        self.failed = False
        self.reached: dict[Position, int] = {}

    @abstractmethod
    async def begin(self, mine: set[Position]) -> None:
        """The group has dealt the partitions out, these to this member, and faust is about to start
        where the group committed."""

    @abstractmethod
    async def take(self, delivered: Sequence[Record], passed: Mapping[Position, int]) -> None:
        """What came together; nothing where nothing comes. `passed` is the next offset of each
        partition, as far as that is known: it lies behind all that was delivered up to now, and
        behind offsets that no record has."""

    @abstractmethod
    def lag(self) -> int:
        """Records of its own that it has not handled. Called from another thread."""

    @property
    def ended(self) -> bool:
        """Whether it cannot go on."""
        return self.failed or bool(self.app.should_stop)

    async def joined(self, app: faust.App, **_: Any) -> None:
        try:
            await self.begin({Position(*tp) for tp in app.consumer.assignment()})
        except Exception:  # noqa: BLE001 - faust would go on where the group committed
            self.fail("cannot begin")

    async def left(self, app: faust.App, revoked: Iterable[TP], **_: Any) -> None:
        self.reached = {}

    async def consume(self, stream: Any) -> None:
        try:
            with suppress(StopAsyncIteration):  # faust ends the stream by it
                while True:
                    queue = stream.channel.queue
                    delivered = await delivered_to(self.app, queue)
                    await self.take(delivered, self.consumer.queued() if queue.empty() else {})
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - faust would start the agent again, after these records
            self.fail("ends by an error")

    def fail(self, what: str) -> None:
        self.runtime.log.exception(what, group=self.app.conf.id)
        self.failed = True

    async def places(self, mine: Iterable[Position]) -> Places:
        """Where partitions begin, and where this member would begin them by itself."""
        committed = self.runtime.bus.committed(self.app.conf.id)
        tps = [as_tp(position) for position in mine]
        found = await self.app.consumer.earliest_offsets(*tps) if tps else {}
        first = {Position(*tp): offset for tp, offset in found.items()}
        return Places(first, {p: max(committed.get(p, 0), at) for p, at in first.items()})


class App(faust.App):
    """An app without tables."""

    def _create_directories(self) -> None:
        """None: faust makes them for tables, where the process was started, which may be
        read-only."""


def advanced(
    reached: Mapping[Position, int], passed: Mapping[Position, int]
) -> dict[Position, int]:
    """Next offsets, behind what was passed too."""
    return {position: max(at, passed.get(position, at)) for position, at in reached.items()}


class Places(NamedTuple):
    """Offsets by partition. first: of the earliest record that is kept. committed: where the group
    left off; the earliest record where that is later, or where it never was."""

    first: Mapping[Position, int]
    committed: Mapping[Position, int]


def app_of(runtime: Runtime, group: str, assignor: type[PartitionAssignor]) -> faust.App:
    app = App(
        group,
        broker=[f"kafka://{server}" for server in runtime.bus.servers],  # type: ignore[attr-defined]
        PartitionAssignor=assignor,
        consumer_group_instance_id=f"{group}-{runtime.replica}",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_RECORD_BYTES,
        producer_max_request_size=MAX_RECORD_BYTES,
        broker_session_timeout=SESSION_MS / 1000,
        broker_heartbeat_interval=SESSION_MS / 4000,
        broker_max_poll_interval=runtime.service.max_work_seconds,
        stream_buffer_maxsize=BUFFER,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
    )
    app.transport = Transport(app.conf.broker_consumer, app, loop=app.loop)
    return app


async def delivered_to(app: faust.App, queue: Any) -> list[Record]:
    """What faust has queued, and queues while more keeps coming."""
    found: list[Any] = []
    until = time.monotonic() + LINGER_SECONDS
    with suppress(TimeoutError):
        found.append(await asyncio.wait_for(queue.get(), POLL_SECONDS))
    while found and len(found) < BATCH and time.monotonic() < until:
        await asyncio.sleep(PAUSE_SECONDS)
        if queue.empty():
            break
        while not queue.empty() and len(found) < BATCH:
            found.append(queue.get_nowait())
    generation = app.consumer_generation_id
    return [as_record(e.message) for e in found if e.message.generation_id == generation]


@dataclass
class FaustConsumer:
    """faust's consumer, asked from its event loop, while its own thread goes on."""

    app: faust.App

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        """faust's own `commit` goes by acknowledgements, of which there are none.

        Raises:
            BusUnavailable: Kafka did not answer, or takes none of this member.
        """
        thread = self.app.consumer._thread
        offsets = {as_tp(position): offset for position, offset in next_offsets.items()}
        if not offsets.keys() <= thread.assignment():
            raise BusUnavailable("committing: another replica works")
        asked = asyncio.run_coroutine_threadsafe(thread._commit(offsets), thread.thread_loop)
        try:
            taken = asked.result(COMMIT_MS / 1000)
        except TimeoutError:
            taken = False
        if not taken:
            raise BusUnavailable("committing: not taken in time, or another replica works")

    def queued(self) -> Mapping[Position, int]:
        """Next offset of each partition behind all that faust has put into its queue; nothing
        while partitions are dealt out anew."""
        generation, offsets = self.app.consumer._thread.queued
        return offsets if generation == self.app.consumer_generation_id else {}

    def pause(self, positions: Iterable[Position]) -> None:
        self.app.consumer.pause_partitions(map(as_tp, positions))

    def resume(self, positions: Iterable[Position]) -> None:
        self.app.consumer.resume_partitions(map(as_tp, positions))


class OneOwner(PartitionAssignor):
    """Gives every partition to the member whose name comes first, as `bus_kafka.OneOwner` does: a
    static member's id begins with its name."""

    def _perform_assignment(
        self, cluster: Any, member_metadata: MemberMetadataMapping
    ) -> MemberAssignmentMapping:
        others = dict(member_metadata)
        owner = min(others)
        owned = super()._perform_assignment(cluster, {owner: others.pop(owner)})
        self._update_member_urls({m: self._get_client_metadata(d) for m, d in others.items()})
        nothing = {member: ClientAssignment(actives={}, standbys={}) for member in others}
        return {**owned, **self._protocol_assignments(nothing, {}, {}, {})}


class Fetched(NamedTuple):
    """How far partitions were fetched, in a generation of the group: the next offsets. What ends a
    transaction and what compaction removed have offsets too, and come as no record."""

    generation: int
    offsets: Mapping[Position, int]


class ConsumerThread(aiokafka.AIOKafkaConsumerThread):
    """Waits for records no longer than `bus_kafka` does. faust's second and a half, for which there
    is no setting, would hold up each record of a partition that was not asked for meanwhile.

    Attributes:
        queued: how far what faust has put into its queue was fetched.
    """

    queued = fetched = Fetched(-1, {})

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """faust asks for more once it has queued all that it was given."""
        self.queued = self.fetched
        return await super().getmany(active_partitions, timeout)

    async def _fetch_records(self, consumer: Any, *asked: Any, **limits: Any) -> Any:
        generation = self.app.consumer_generation_id
        found = await super()._fetch_records(consumer, *asked, **limits)
        if self.consumer.flow_active:  # else faust drops what was fetched
            self.fetched = Fetched(generation, offsets_of(consumer))
        return found

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


def offsets_of(consumer: Any) -> Mapping[Position, int]:
    """Where an aiokafka consumer fetches next. Its own `position` may wait for an answer."""
    subscription = consumer._subscription.subscription
    if subscription is None or subscription.assignment is None:
        return {}
    found = subscription.assignment.all_consumed_offsets()
    return {Position(*tp): place.offset for tp, place in found.items()}


class Consumer(aiokafka.Consumer):
    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def wait_first(self, *waited: Any, timeout: Any = None) -> WaitResults:
        """Of two, the delivery of a record and that the flow is suspended. faust starts four tasks
        to wait for either, which costs more than all else that is done with a record. While the
        flow is active nothing holds a delivery up: the buffer is never full."""
        if len(waited) != 2 or not (self.flow_active and self.app.flow_control.is_active()):
            return await super().wait_first(*waited, timeout=timeout)
        delivery, suspended = waited
        suspended.close()
        return WaitResults([delivery], [await delivery], stopped=False)


class Transport(aiokafka.Transport):
    Consumer = Consumer


def as_tp(position: Position) -> TP:
    return TP(position.topic, position.partition)


def as_record(message: Any) -> Record:
    written = round((message.timestamp or 0) * 1000)
    return Record(
        message.topic, message.partition, message.offset, message.key, message.value, written
    )
