"""Observations that wait: for the tick that they lie before, or for their own time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from driftgate.drift.observations import Observation
from driftgate.events import HOUR_MS, Tick

# An app whose clock is ahead by less than this is on time.
AHEAD_MS = 60_000
# Observations of one model that wait for a time further ahead: 1.5 MB of the checkpoint.
AHEAD_KEPT = 5_000
# Observations of one model that wait for a tick, some 150 MB: 2 minutes of 1,500 a second.
KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Sorted:
    """What a tick makes of the observations that wait: some are due, some wait on, and some are
    dropped."""

    due: list[Observation]
    later: list[Observation]
    dropped: int


def at_tick(waiting: Iterable[Observation], tick: Tick, ahead_hours: int) -> Sorted:
    """Sorts by position and time. Of those ahead of the time, the nearest are kept, and none that
    is ahead by more than `ahead_hours`."""
    due: list[Observation] = []
    later: list[Observation] = []
    ahead: list[Observation] = []
    for seen in waiting:
        if not seen.before(tick.positions):
            later.append(seen)
        elif seen.time < tick.time + AHEAD_MS:
            due.append(seen)
        else:
            ahead.append(seen)
    latest = tick.time + ahead_hours * HOUR_MS
    kept = sorted((o for o in ahead if o.time <= latest), key=lambda o: o.order)[:AHEAD_KEPT]
    return Sorted(due, later + kept, len(ahead) - len(kept))
