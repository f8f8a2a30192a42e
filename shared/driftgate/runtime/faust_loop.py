"""The loop over Kafka by faust-streaming: the same promises as `loop`, for a service of which one
replica works.

faust polls and commits, and nothing else: no agent's acknowledgements, since faust acknowledges an
event even if its handler raised, and no table, since their recovery can hang. What it cannot go on
from ends the process, which its supervisor starts again.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import faust
from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import MemberAssignmentMapping, MemberMetadataMapping
from faust.transport.drivers import aiokafka
from faust.types import TP

from driftgate import metrics
from driftgate.bus import MAX_RECORD_BYTES, Position, Record
from driftgate.bus_kafka import COMMIT_MS, FETCH_WAIT_MS, SESSION_MS
from driftgate.errors import BusUnavailable
from driftgate.events import Tick
from driftgate.runtime.loop import POLL_SECONDS, Runtime, Shift

# A stop that takes longer, as it does without a broker, is cut short: nothing is lost by it.
STOP_SECONDS = 4.0
# Most that is handled before the next commit, and longest time for it to come together. faust gives
# one record a turn of the event loop, and a commit takes as long as some ten of them.
BATCH = 5_000
LINGER_SECONDS = 0.2
PAUSE_SECONDS = 0.01
# Where its buffer is full, faust stops reading for a second: it never is.
BUFFER = 1_000_000


@dataclass
class FaustRuntime(Runtime):
    """Runs a service by faust."""

    def run(self) -> NoReturn:
        """Until `stopping` is set. Ends the process: threads of Kafka's clients may wait for a
        broker that is away, and are not waited for. The status is 1 if faust gave up.

        Raises:
            ValueError: each replica of the service is to work, which is `loop.Runtime`'s.
        """
        if self.service.every_replica:
            raise ValueError(f"service {self.service.name}: every replica works; faust's are one")
        threading.Thread(target=self._cut_short, daemon=True).start()
        self._wait_for_bus()
        os._exit(0 if self.stopping.is_set() else asyncio.run(self._serve()))

    async def _serve(self) -> int:
        return await FaustShift(self).serve()

    def _wait_for_bus(self) -> None:
        """faust gives up where no broker answers when it starts."""
        while not self.stopping.is_set():
            try:
                self.bus.ends([Tick.TOPIC])
            except BusUnavailable as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                self.health.heartbeat(waiting=str(error))
                self.stopping.wait(self._backoff.next(self.service.name))
            else:
                self.health.heartbeat(waiting=None)
                return

    def _cut_short(self) -> NoReturn:
        self.stopping.wait()
        time.sleep(STOP_SECONDS)
        os._exit(0)


class FaustShift(Shift):
    """One run of a faust app: it joins the group, and works while it holds the partitions."""

    def __init__(self, runtime: FaustRuntime) -> None:
        super().__init__(runtime)
        self.app = self._app()
        self.member = FaustMember(self.app)
        self.failed = False
        self.reached: dict[Position, int] = {}

    async def serve(self) -> int:
        """Until the runtime stops, or faust does; the status to exit with."""
        runtime, app = self.runtime, self.app
        runtime.health.watch(self.lag)
        await app.start()
        while not (runtime.stopping.is_set() or app.should_stop or self.failed):
            await asyncio.sleep(POLL_SECONDS)
        asked = runtime.stopping.is_set()
        with suppress(TimeoutError):
            await asyncio.wait_for(app.stop(), STOP_SECONDS)
        return 0 if asked else 1

    def _app(self) -> faust.App:
        """Its id is the consumer group."""
        runtime, service = self.runtime, self.runtime.service
        app = faust.App(
            service.group(runtime.replica),
            broker=[f"kafka://{server}" for server in runtime.bus.servers],  # type: ignore[attr-defined]
            PartitionAssignor=OneOwner,
            consumer_group_instance_id=f"{service.name}-{runtime.replica}",
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=MAX_RECORD_BYTES,
            broker_session_timeout=SESSION_MS / 1000,
            broker_heartbeat_interval=SESSION_MS / 4000,
            broker_max_poll_interval=service.max_work_seconds,
            stream_buffer_maxsize=BUFFER,
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            autodiscover=False,
        )
        app.transport = Transport(app.conf.broker_consumer, app, loop=app.loop)
        # Bytes as they are: a record that cannot be decoded must reach the code that counts it.
        channel = app.topic(
            *service.topics(), key_serializer="raw", value_serializer="raw", acks=False
        )
        app.agent(channel, concurrency=1)(self.consume)
        app.on_rebalance_complete.connect(self.joined)
        app.on_partitions_revoked.connect(self.left)
        return app

    async def joined(self, app: faust.App, **_: Any) -> None:
        """The group has dealt the partitions out, and faust is about to start where the group
        committed: so the group is told where the service's own memory ends."""
        mine = {Position(*tp) for tp in app.consumer.assignment()}
        if not mine:
            return
        try:
            starts = self.assigned(mine)
            await self.start_at(mine, starts)
        except Exception:  # noqa: BLE001 - faust would go on where the group committed
            self.fail("cannot begin")

    async def start_at(self, mine: set[Position], starts: Mapping[Position, int]) -> None:
        consumer = self.app.consumer
        committed = self.runtime.bus.committed(self.runtime.service.name)
        earliest = {
            Position(*tp): offset
            for tp, offset in (await consumer.earliest_offsets(*map(as_tp, mine))).items()
        }
        anyway = {p: max(committed.get(p, 0), first) for p, first in earliest.items()}
        self.reached = {p: max(starts.get(p, anyway[p]), first) for p, first in earliest.items()}
        elsewhere = {p: at for p, at in self.reached.items() if at != anyway[p]}
        if elsewhere:
            self.commit(elsewhere)
        for position, offset in elsewhere.items():  # faust takes a committed 0 for none
            await consumer.seek(as_tp(position), offset)

    async def left(self, app: faust.App, revoked: Iterable[TP], **_: Any) -> None:
        self.reached = {}
        self.revoked(Position(*tp) for tp in revoked)

    async def consume(self, stream: Any) -> None:
        """Handles what faust delivers."""
        try:
            with suppress(StopAsyncIteration):  # faust ends the stream by it
                while True:
                    delivered = await self.delivered(stream.channel.queue)
                    # Of a replica that stood still, another may have handled what it had fetched.
                    found = [r for r in delivered if r.offset >= self.reached.get(r.position, 0)]
                    self.reached |= {record.position: record.offset + 1 for record in found}
                    self.work(found, lambda: self.reached)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - faust would start the agent again, after these records
            self.fail("ends by an error")

    async def delivered(self, queue: Any) -> list[Record]:
        """What faust has queued, and queues while more keeps coming."""
        found: list[Any] = []
        until = time.monotonic() + LINGER_SECONDS
        with suppress(TimeoutError):
            found.append(await asyncio.wait_for(queue.get(), POLL_SECONDS))
        while found and len(found) < BATCH and time.monotonic() < until:
            await asyncio.sleep(PAUSE_SECONDS)
            if queue.empty():
                break
            while not queue.empty():
                found.append(queue.get_nowait())
        generation = self.app.consumer_generation_id
        return [as_record(e.message) for e in found if e.message.generation_id == generation]

    def fail(self, what: str) -> None:
        self.runtime.log.exception(what)
        self.failed = True


@dataclass
class FaustMember:
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


class ConsumerThread(aiokafka.AIOKafkaConsumerThread):
    """Waits for records no longer than `bus_kafka` does. faust's second and a half, for which there
    is no setting, would hold up each record of a partition that was not asked for meanwhile."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class Consumer(aiokafka.Consumer):
    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(aiokafka.Transport):
    Consumer = Consumer


def as_tp(position: Position) -> TP:
    return TP(position.topic, position.partition)


def as_record(message: Any) -> Record:
    written = round((message.timestamp or 0) * 1000)
    return Record(
        message.topic, message.partition, message.offset, message.key, message.value, written
    )
