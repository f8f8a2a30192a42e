"""The clock port. Time is the events' time: windows, soaks and cadences count it.

In production the clock is the machine's. In a simulated world it stands still between the ticks
that the world writes on topic `clock`, so a run is repeatable however fast it is played.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""

    def advance(self, to: int) -> None:
        """A tick said that it is now `to`. A clock never goes back."""


class LiveClock:
    """The machine's clock; ticks do not move it."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def advance(self, to: int) -> None: ...


@dataclass
class WorldClock:
    """Stands at the last tick."""

    at: int = 0

    def now(self) -> int:
        return self.at

    def advance(self, to: int) -> None:
        self.at = max(self.at, to)


def clock_of(kind: str) -> Clock:
    """The clock named by the setting `clock`."""
    return WorldClock() if kind == "world" else LiveClock()
