"""Where time comes from: writes the ticks on topic `clock`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from driftgate.bus import Bus, Producer
from driftgate.codec import Codec
from driftgate.events import DLQ, AuditEntry, Tick
from driftgate.machine_clock import machine_ms


@dataclass
class Ticker:
    """Writes ticks to one bus.

    Attributes:
        world: key of the ticks.
        pace: how fast time runs between them.
    """

    bus: Bus
    codec: Codec
    world: str
    pace: float
    _producer: Producer | None = None

    def write(self, time: int) -> Tick:
        """Says that it is `time`, ms, and that all which is on the bus now lies before it. Returns
        once it is acknowledged.

        Raises:
            BusUnavailable
        """
        if self._producer is None:
            self._producer = self.bus.producer()
        ends = self.bus.ends(self.bounded())
        before = {str(position): offset for position, offset in sorted(ends.items()) if offset}
        tick = Tick(world=self.world, time=time, positions=before, pace=self.pace)
        self._producer.send(*self.codec.record(tick))
        self._producer.flush()
        return tick

    def bounded(self) -> list[str]:
        """Topics whose records are ordered by time: what services handle."""
        passed = {Tick.TOPIC, AuditEntry.TOPIC}
        names = self.codec.topics.names()
        return [name for name in names if name not in passed and not name.endswith(DLQ)]

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()


@dataclass(frozen=True, slots=True)
class Pace:
    """A clock that runs `times` as fast as the machine's: at the machine's `since` it was `start`,
    both ms."""

    start: int
    since: int
    times: float = 1.0
    machine: Callable[[], int] = machine_ms

    def now(self) -> int:
        return self.start + round(self.times * (self.machine() - self.since))


def due(now: int, last: int, every: int) -> int | None:
    """The tick that is due at `now`, when ticks stand at the multiples of `every`, ms, and the last
    one at `last`; None while there is none. Two tickers so write the same ticks."""
    at = now - now % every
    return at if at > last else None
