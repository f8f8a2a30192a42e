"""A world: rows on a calendar, and what is said of them before anything starts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from driftgate.events import DAY_MS
from driftgate.labelled.rows import Row

WEEK_MS = 7 * DAY_MS
START = 1_767_571_200_000  # Monday 2026-01-05, where a world without dates begins
# Rows outside the most frequent label: of a file, so that there is something to tell apart, and of
# a launch, for the same reason.
LEAST_OTHERS, LEAST_LAUNCH_OTHERS = 10, 5
# Below so many rows there is no model to declare.
LEAST_LAUNCH = 100


@dataclass(frozen=True, slots=True)
class World:
    """A world on its calendar: what is known at launch, and what each played day asks.

    notes: how the calendar was fitted to the rows, one sentence each.
    """

    name: str
    launch: tuple[Row, ...]
    days: tuple[tuple[Row, ...], ...]
    start: int  # midnight of the first played day, ms
    notes: tuple[str, ...] = ()

    @property
    def weeks(self) -> int:
        return math.ceil(len(self.days) / 7)

    @property
    def per_day(self) -> float:
        """Requests, on average."""
        return sum(map(len, self.days)) / len(self.days)

    @property
    def labels(self) -> list[str]:
        return sorted({row.label for row in (*self.launch, *(r for day in self.days for r in day))})

    def end_of(self, day: int) -> int:
        """Midnight after a played day, counted from 0."""
        return self.start + (day + 1) * DAY_MS


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows, each with its moment in ms, sorted by it; `begin` is midnight of the first day."""

    rows: Sequence[Row]
    times: Sequence[int]
    begin: int
    note: str = ""


def few_others(labels: Counter[str], least: int) -> bool:
    """Whether too few rows are of another label than the most frequent."""
    return labels.total() - max(labels.values(), default=0) < least


def midnight(time: int) -> int:
    return time - time % DAY_MS
