"""The faust worker around the detector: one agent over all topics, in one order.

faust acknowledges an event even if its handler raised, so the stream is read without its
acknowledgements: an event is acknowledged only when the checkpoint that holds it is on disk, and an
error ends the process, which its supervisor starts again. No faust table is used, since their
recovery can hang; what is remembered lies in the checkpoint.

One replica is enough and all there may be: a model's evidence comes from every partition. It takes
thousands of events a second, and after a crash it goes on from its checkpoint.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import faust
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from driftgate import metrics
from driftgate.bus import Producer, Record
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import Clock
from driftgate.config import Settings
from driftgate.errors import BusUnavailable
from driftgate.events import Emit
from driftgate.health import Health, Log
from driftgate.runner import publish, retrying
from driftgate.topology import DRIFT, READS
from services.drift_detector.checkpoint import Tick, save
from services.drift_detector.detector import DATA, Detector

# Longest time that a record waits for the checkpoint when no tick comes.
SETTLE_SECONDS = 1.0
SESSION_SECONDS = 10.0
# A stop that takes longer, as it does without a broker, is cut short: nothing is lost by it.
STOP_SECONDS = 5.0
MAX_RECORD_BYTES = 10_000_000


@dataclass
class Worker:
    """Takes events; settles what they led to."""

    detector: Detector
    producer: Producer
    path: Path
    clock: Clock
    settings: Settings
    health: Health
    log: Log
    outbox: list[Emit] = field(default_factory=list)
    unacknowledged: list[Any] = field(default_factory=list)

    def handle(self, event: Any) -> bool:
        """Takes one faust event; settles at once unless it only waits for a tick."""
        record = as_record(event.message)
        self.outbox += self.detector.take(record)
        self.unacknowledged.append(event)
        self.health.moved(**{str(record.position): record.offset + 1})
        metrics.POSITION.labels(record.topic, record.partition).set(record.offset + 1)
        return (bool(self.outbox) or record.topic not in DATA) and self.settle()

    def settle(self) -> bool:
        """Makes durable what was taken; whether there was anything. In this order, since what is
        acknowledged is never seen again: what was said, then the memory, then the positions."""
        if not self.unacknowledged and not self.outbox:
            return False
        said, self.outbox = self.outbox, []
        retrying(self.log)(partial(publish, self.producer, self.detector.codec, said))
        save(self.detector.memory, self.path)
        taken, self.unacknowledged = self.unacknowledged, []
        for event in taken:
            event.ack()
        return True

    def go_on(self) -> bool:
        """Settles what is left. The time goes on by itself where no world drives it."""
        self.health.ready = True
        self.health.moved()
        if self.settings.clock == "live":
            self.outbox += self.detector.tick(Tick(self.clock.now()))
        return self.settle()


def rewind(bus: KafkaBus, replica: str) -> None:
    """Forgets the group's positions, and the member that held them, which may not have been
    missed yet: all topics are read again from the beginning.

    Raises:
        BusUnavailable: Kafka did not answer, or has no coordinator yet.
    """
    member = MemberToRemove(group_instance_id=member_of(replica))
    try:
        bus.admin.remove_group_members(DRIFT, [member])
        bus.admin.delete_groups([DRIFT])
    except KafkaError as error:
        raise BusUnavailable(f"resetting group {DRIFT}: {error}") from error


def member_of(replica: str) -> str:
    """Name of the group's member, the same over restarts."""
    return f"{DRIFT}-{replica}"


def as_record(message: Any) -> Record:
    return Record(message.topic, message.partition, message.offset, message.key, message.value)


def app_of(settings: Settings, worker: Worker) -> faust.App:
    """The faust app of a worker; its id is the consumer group."""
    app = faust.App(
        DRIFT,
        broker=[f"kafka://{server}" for server in settings.kafka.split(",")],
        consumer_group_instance_id=member_of(settings.replica),
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_RECORD_BYTES,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=SESSION_SECONDS / 4,
        broker_commit_interval=SETTLE_SECONDS,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        datadir=str(worker.path.parent),
    )
    # Bytes as they are: a record that cannot be decoded must reach the code that counts it.
    channel = app.topic(*READS[DRIFT], key_serializer="raw", value_serializer="raw")

    @app.agent(channel, concurrency=1)
    async def watch(stream: Any) -> None:
        async for event in stream.noack().events():
            await guarded(partial(worker.handle, event))

    @app.timer(settings.tick_seconds if settings.clock == "live" else SETTLE_SECONDS)
    async def pass_time() -> None:
        await guarded(worker.go_on)

    async def guarded(work: Callable[[], bool]) -> None:
        """Commits at once after work that settled something; an error ends the process."""
        try:
            if work():
                await app.consumer.commit()
        except asyncio.CancelledError:
            raise
        except Exception:
            worker.log.exception("ends by an error")
            os._exit(1)

    return app


async def run(settings: Settings, worker: Worker) -> int:
    """Until SIGTERM or SIGINT, or until faust gives up; the status to exit with."""
    app = app_of(settings, worker)
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await app.start()
    asked = not (await app.wait(stopping)).stopped
    with suppress(TimeoutError):
        await asyncio.wait_for(app.stop(), STOP_SECONDS)
    return 0 if asked else 1
