"""Keeps time: writes a tick on topic `clock` whenever one is due."""

from __future__ import annotations

import threading
import time
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
WORLD = "live"
# A step may be so much longer than the time that passed, ms of the machine's clock: one that was
# set right. A tick that is far ahead could not be taken back.
BEYOND_MS = 3_600_000
# A machine that sleeps goes on counting here.
ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Seconds that pass whatever the machine's clock is set to."""
    return time.clock_gettime(ELAPSED)


@dataclass
class Keeper:
    """One replica. Others of the same name stand by; two that both write, for as long as Kafka has
    not noticed, write the same ticks.

    Attributes:
        every_seconds: of the machine's clock, between two ticks.
        pace: how many times as fast as the machine's clock time runs.
        machine: the machine's clock, ms.
        elapsed: seconds, monotonic.
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
    elapsed: Callable[[], float] = elapsed
    _last: Tick | None = None
    _written: int = 0
    _pace: Pace | None = None
    _noted: float = 0.0
    _keeps: bool = False  # and not another replica
    _away_ms: int | None = None  # between the last tick and when it was noted, by the broker
    _refused: bool = False

    def run(self) -> None:
        """Until `stopping` is set. An outage is waited for; time goes on in it."""
        self.health.watch(self.overdue)
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
        ticker = Ticker(self.bus, self.codec, WORLD, self.pace)
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
        self._keeps = True
        now, last = self.now(), self._last.time if self._last else 0
        at = due(now, last, round(self.every_seconds * 1000 * self.pace))
        if at is not None and self._last is not None and self.too_far(at, self._last):
            self.refuse(at, self._last, ticker)
        elif at is not None:
            ticker.write(at)
            self._refused = False
            self.health.heartbeat(time=at, waiting=None)
        elif now < last:
            self.health.heartbeat(waiting=f"the clock is behind the last tick, {last}")

    def overdue(self) -> int:
        """Ticks that should have been written since the last one. Called from another thread."""
        since = self.elapsed() - self._noted
        return max(0, int(since / self.every_seconds) - 1) if self._keeps else 0

    def too_far(self, at: int, last: Tick) -> bool:
        """Whether a tick would be far beyond the time that passed since the last one. What a world
        said binds nobody."""
        passed = (self.elapsed() - self._noted) * 1000 + (self._away_ms or 0)
        return last.world == WORLD and at - last.time > self.pace * (passed + BEYOND_MS)

    def refuse(self, at: int, last: Tick, ticker: Ticker) -> None:
        """Writes no tick. Of one that was written before this replica kept time the broker can tell
        how long ago: the same tick again, which passes no time, bears its clock's time."""
        if self._away_ms is None:
            ticker.write(last.time)
            self._away_ms = 0  # until it is read back
        elif not self._refused:
            self._refused = True
            why = (
                f"the machine's clock went on by {(at - last.time) / 1000 / self.pace:.0f} s in "
                "much less time: no tick is written. Restart the clock if it is right"
            )
            self.log.error("refused", why=why, at=at, last=last.time)
            self.health.heartbeat(waiting=why)

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """Begins with the last tick, whoever wrote it."""
        self._keeps = False
        ends = self.bus.ends([Tick.TOPIC])
        return {position: max(ends[position] - 1, 0) for position in positions}

    def revoked(self, positions: Iterable[Position]) -> None:
        self._keeps = False

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
        if not isinstance(tick, Tick):
            return
        if self._last is None or tick.time > self._last.time:
            self._last, self._written = tick, record.timestamp
            self._noted, self._away_ms = self.elapsed(), 0 if self._keeps else None
        elif tick.time == self._last.time and self._away_ms is not None:
            self._away_ms = max(self._away_ms, record.timestamp - self._written)
