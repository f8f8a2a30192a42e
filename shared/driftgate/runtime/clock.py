"""What time it is between ticks.

A tick on topic `clock` says what the time is, and how fast it runs until the next one (`pace`): 1
where the clock is the machine's, N on a paced one, 0 in a simulated world, where time stands still
between ticks. Whoever asks does not know which. Decisions are made at the ticks' own times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from driftgate.bus import Bus
from driftgate.bus_tools import decoded
from driftgate.codec import Codec
from driftgate.events import Tick
from driftgate.machine_clock import machine_ms

# Enough to find the newest, though two clocks may write at once.
TICKS_LOOKED_AT = 8


@dataclass
class Clock:
    """Follows ticks. It never goes back. One thread advances it; any may ask.

    Attributes:
        machine: the machine's clock, ms.
    """

    machine: Callable[[], int] = machine_ms
    # Time and pace of the last tick, and when it was written: one value, for those who ask.
    _last: tuple[int, float, int] = (0, 0.0, 0)

    def advance(self, tick: Tick, written: int) -> None:
        """A tick that was written at `written` of a machine's clock, ms."""
        if tick.time > self._last[0]:
            self._last = (tick.time, tick.pace, written)

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC; 0 before the first tick."""
        time, pace, written = self._last
        return time + int(pace * max(0, self.machine() - written)) if time else 0


def system_time(bus: Bus, codec: Codec, machine: Callable[[], int] = machine_ms) -> int:
    """What time it is in a system, ms since 1970-01-01 UTC, for who is no service: by the newest
    tick, or by the machine's clock where nobody has written one.

    Raises:
        BusUnavailable
    """
    ends = bus.ends([Tick.TOPIC])
    since = {position: max(end - TICKS_LOOKED_AT, 0) for position, end in ends.items()}
    clock = Clock(machine=machine)
    for record, tick in decoded(codec, bus.read_all([Tick.TOPIC], since)):
        clock.advance(tick, record.timestamp)
    return clock.now() or machine()
