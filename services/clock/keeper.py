"""Keeps time: writes a tick on topic `clock` whenever one is due."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from driftgate import metrics
from driftgate.bus import Bus, Consumer, Position, Record
from driftgate.codec import Codec
from driftgate.errors import BadInput, Retriable
from driftgate.events import Tick
from driftgate.health import Health, Log
from driftgate.machine_clock import machine_ms
from driftgate.runtime.backoff import Backoff
from driftgate.runtime.ticker import Pace, Ticker, due
from driftgate.topology import CLOCK

LONGEST_POLL_SECONDS = 0.5


@dataclass
class Keeper:
    """One replica. Others of the same name stand by; two that both write, for as long as Kafka has
    not noticed, write the same ticks.

    Attributes:
        every_seconds: of the machine's clock, between two ticks.
        pace: how many times as fast as the machine's clock time runs.
        machine: the machine's clock, ms.
    """

    bus: Bus
    codec: Codec
    replica: str
    every_seconds: float
    pace: float
    log: Log
    health: Health
    stopping: threading.Event = field(default_factory=threading.Event)
    machine: Callable[[], int] = machine_ms
    _last: Tick | None = None
    _written: int = 0
    _pace: Pace | None = None

    def run(self) -> None:
        """Until `stopping` is set. An outage is waited for; time goes on in it."""
        backoff = Backoff()
        while not self.stopping.is_set():
            try:
                self.keep()
            except Retriable as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                pause = backoff.next("bus")
                self.log.warning("begins anew", seconds=pause, error=str(error))
                self.stopping.wait(pause)

    def keep(self) -> None:
        """Raises: Retriable when the bus is away."""
        ticker = Ticker(self.bus, self.codec, "live", self.pace)
        member = f"{CLOCK}-{self.replica}"
        consumer = self.bus.consumer([Tick.TOPIC], CLOCK, member, self, exclusive=True)
        try:
            while not self.stopping.is_set():
                self.step(consumer, ticker)
        finally:
            consumer.close()
            ticker.close()

    def step(self, consumer: Consumer, ticker: Ticker) -> None:
        """Reads the ticks there are, its own among them, and writes the one that is due."""
        for record in consumer.poll(min(self.every_seconds / 4, LONGEST_POLL_SECONDS)):
            self.note(record)
        reached = consumer.positions()
        self.health.ready = True
        self.health.heartbeat()
        if not reached or reached != self.bus.ends([Tick.TOPIC]):
            return  # another replica keeps time, or there is more to read
        now, last = self.now(), self._last.time if self._last else 0
        at = due(now, last, round(self.every_seconds * 1000 * self.pace))
        if at is not None:
            ticker.write(at)
            self.health.heartbeat(time=at)
        elif now < last:
            behind = f"the last tick is {(last - now) / 1000:.0f} s ahead of the clock"
            self.health.heartbeat(waiting=behind)

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """Begins with the last tick, whoever wrote it."""
        ends = self.bus.ends([Tick.TOPIC])
        return {position: max(ends[position] - 1, 0) for position in positions}

    def revoked(self, positions: Iterable[Position]) -> None: ...

    def now(self) -> int:
        """The time, ms. At another pace than the machine's it goes on from the last tick of that
        pace, so that a restart neither stops it nor sets it back."""
        if self._pace is None:
            goes_on = self.pace != 1 and self._last is not None and self._last.pace == self.pace
            start, since = (
                (self._last.time, self._written)
                if goes_on and self._last
                else (self.machine(), self.machine())
            )
            self._pace = Pace(start, since, self.pace, self.machine)
        return self._pace.now()

    def note(self, record: Record) -> None:
        """Remembers the newest tick."""
        if record.value is None:
            return
        try:
            tick = self.codec.event(record.topic, record.value)
        except BadInput as error:
            self.log.warning("skipped", position=str(record.position), error=str(error))
            return
        if isinstance(tick, Tick) and (self._last is None or tick.time > self._last.time):
            self._last, self._written = tick, record.timestamp
