"""What time it is between ticks.

A tick on topic `clock` says what the time is, and how fast it runs until the next one (`pace`): 1
where the clock is the machine's, N on a paced one, 0 in a simulated world, where time stands still
between ticks. Whoever asks does not know which. Decisions are made at the ticks' own times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from driftgate.events import Tick


def machine_ms() -> int:
    """The machine's clock, ms since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


@dataclass
class Clock:
    """Follows ticks. It never goes back.

    Attributes:
        tick: time of the last tick, ms; 0 before the first.
        pace: of the last tick.
        machine: the machine's clock, ms.
    """

    tick: int = 0
    pace: float = 0.0
    machine: Callable[[], int] = machine_ms
    _written: int = 0

    def advance(self, tick: Tick, written: int) -> None:
        """A tick that was written at `written` of a machine's clock, ms."""
        if tick.time > self.tick:
            self.tick, self.pace, self._written = tick.time, tick.pace, written

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC; 0 before the first tick."""
        if not self.tick:
            return 0
        return self.tick + int(self.pace * max(0, self.machine() - self._written))
