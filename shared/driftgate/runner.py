"""The loop around a handler: read, decode, handle, send, and only then commit.

A handler is a function `(topic, event) -> Emits`. It may keep state that it can rebuild from
topics; it does no I/O on the bus. A record's position is committed after everything that it led
to is acknowledged, so a crash repeats work and loses none. Ticks arrive as events of topic
`clock`: from the world where there is one, else from here, every `tick_seconds`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from driftgate import metrics
from driftgate.bus import Bus, Consumer, Producer, Record
from driftgate.clock import Clock
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.dead_letters import letter
from driftgate.errors import BadInput, Retriable
from driftgate.events import Emit, Event
from driftgate.health import Health, Log

CLOCK = "clock"
AUDIT = "audit"
POLL_SECONDS = 0.2
# Retriable errors are tried again for this long; then the service crashes and is restarted.
RETRY_SECONDS = 120.0

Handle = Callable[[str, Event], Iterable[Emit]]


def retrying(log: Log) -> Retrying:
    """Backs off with jitter while errors are retriable, within a deadline."""

    def tell(state: Any) -> None:
        error = state.outcome.exception()
        metrics.RETRIES.labels(type(error).__name__).inc()
        log.warning("retrying", attempt=state.attempt_number, error=str(error))

    return Retrying(
        retry=retry_if_exception_type(Retriable),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(RETRY_SECONDS),
        before_sleep=tell,
        reraise=True,
    )


def stop_on_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


@dataclass
class Runner:
    """One service's loop over the topics it reads."""

    service: str
    settings: Settings
    bus: Bus
    codec: Codec
    clock: Clock
    handle: Handle
    topics: Sequence[str]
    log: Log
    health: Health
    stopping: threading.Event = field(default_factory=threading.Event)
    max_work_seconds: float = 300.0
    _next_tick: float = 0.0

    def run(self) -> None:
        """Until `stopping` is set."""
        producer = self.bus.producer()
        consumer = self.bus.consumer(
            [*self.topics, CLOCK],
            self.service,
            f"{self.service}-{self.settings.replica}",
            max_work_seconds=self.max_work_seconds,
        )
        self.health.ready = True
        try:
            while not self.stopping.is_set():
                self.step(consumer, producer)
        finally:
            consumer.close()
            producer.close()

    def step(self, consumer: Consumer, producer: Producer) -> None:
        """One poll, and all that follows from it."""
        records = consumer.poll(POLL_SECONDS)
        for record in records:
            # One by one, since the next record's handling may build on what this one sent.
            self.send(producer, self.react(record))
            consumer.commit({record.position: record.offset + 1})
            metrics.POSITION.labels(record.topic, record.partition).set(record.offset + 1)
            self.health.moved(**{str(record.position): record.offset + 1})
        if self.settings.clock == "live" and time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + self.settings.tick_seconds
            tick = {"world": "live", "time": self.clock.now(), "positions": {}}
            self.send(producer, self.handle(CLOCK, tick))
        self.health.moved()

    def react(self, record: Record) -> list[Emit]:
        """What a record leads to; a dead letter when it cannot be handled."""
        metrics.RECORDS.labels(record.topic).inc()
        try:
            event = self.codec.read(record.topic, record.value)
        except BadInput as error:
            # ingest-logger reads every topic and writes the dead letter; two would count twice.
            metrics.SKIPPED.labels(record.topic).inc()
            self.log.warning("skipped", position=str(record.position), error=str(error))
            return []
        if record.topic == CLOCK:
            self.clock.advance(event["time"])
            metrics.CLOCK.set(self.clock.now() / 1000)
        try:
            return retrying(self.log)(lambda: list(self.handle(record.topic, event)))
        except BadInput as error:
            metrics.DEAD.labels(record.topic, error.reason).inc()
            self.log.warning("dead letter", position=str(record.position), error=str(error))
            return [letter(record, error, self.service, self.clock.now())]

    def send(self, producer: Producer, emits: Iterable[Emit]) -> None:
        """Sends and waits for the acknowledgement. Audit entries come first: a decision that is
        told and then lost is taken again under the same id; one that is not told may never be."""
        sent = list(emits)
        told = [emit for emit in sent if emit.topic == AUDIT]
        for part in (told, [emit for emit in sent if emit.topic != AUDIT]):
            if part:
                retrying(self.log)(partial(publish, producer, self.codec, part))


def publish(producer: Producer, codec: Codec, emits: Sequence[Emit]) -> None:
    """Sends events, and returns once all of them are acknowledged.

    Raises:
        BusUnavailable: some were not, in time.
    """
    for emit in emits:
        key = codec.topics.key(emit.topic, emit.event)
        producer.send(emit.topic, key, codec.encode(emit.topic, emit.event))
    producer.flush()
    for emit in emits:
        metrics.EMITTED.labels(emit.topic).inc()


def readable(bus: Bus, codec: Codec, topics: Sequence[str]) -> Iterator[tuple[Record, Any]]:
    """Every event on some topics up to their end as it is now, with its record. Passes over what
    cannot be decoded, which ingest-logger makes a dead letter of, and over deletions."""
    for record in bus.read_all(topics):
        if record.value is None:
            continue
        try:
            yield record, codec.read(record.topic, record.value)
        except BadInput:
            metrics.SKIPPED.labels(record.topic).inc()


def newest(bus: Bus, codec: Codec, topic: str) -> dict[str, dict[str, Any]]:
    """The state on a compacted topic: its newest event by key."""
    found = readable(bus, codec, [topic])
    return {record.key.decode(errors="replace"): event for record, event in found if record.key}
