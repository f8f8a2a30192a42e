"""Puts a world's rows on a calendar. Pure, and the same for the same seed.

Text with dates keeps them; a span that is far from the length of a played world is mapped onto it
linearly, so that windows and cadences of days keep their sense. Text without dates gets a schedule:

- 60 % of the labels (a seeded choice) are there at launch; the others enter one by one, at even
  distances from the second to the last but six played week;
- a label's share of traffic moves as a slow wave with a phase of its own, between half and one and
  a half of its mean.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from driftgate.errors import BadConfig
from driftgate.events import DAY_MS
from services.simulator.rows import Row

WEEK_MS = 7 * DAY_MS
START = 1_767_571_200_000  # Monday 2026-01-05, where a world without dates begins
LAUNCH_LABELS = 0.6
LEAST_LAUNCH_ROWS = 100
CALM_WEEKS = (1, 6)  # no label enters in the first played week nor in the last six


@dataclass(frozen=True, slots=True)
class Calendar:
    """The length of a world and its traffic."""

    launch_weeks: int = 4
    weeks: int = 24
    per_day: int = 60
    launch_rows: int = 1500
    seed: int = 7

    @property
    def total_weeks(self) -> int:
        return self.launch_weeks + self.weeks


@dataclass(frozen=True, slots=True)
class World:
    """A world on its calendar: what is known at launch, and what each played day asks."""

    name: str
    launch: tuple[Row, ...]
    days: tuple[tuple[Row, ...], ...]
    start: int  # midnight of the first played day, ms

    @property
    def labels(self) -> list[str]:
        return sorted({row.label for row in (*self.launch, *(r for day in self.days for r in day))})

    def end_of(self, day: int) -> int:
        """Midnight after a played day, counted from 0."""
        return self.start + (day + 1) * DAY_MS


def build(name: str, rows: Sequence[Row], calendar: Calendar) -> World:
    """The world of some rows.

    Raises:
        BadConfig: too few rows or labels to make a world.
    """
    if len({row.label for row in rows}) < 2 or len(rows) < 500:
        raise BadConfig(f"{name}: {len(rows)} rows, expected at least 500 and two labels or more")
    dated = all(row.time is not None for row in rows)
    placed = on_calendar(rows, calendar) if dated else scheduled(rows, calendar)
    placed.sort(key=lambda row: (row.time, row.text))
    start = midnight(placed[0].time or 0) + calendar.launch_weeks * WEEK_MS
    rng = random.Random(calendar.seed)
    launch = thinned([row for row in placed if (row.time or 0) < start], calendar.launch_rows, rng)
    if len(launch) < LEAST_LAUNCH_ROWS:
        raise BadConfig(
            f"{name}: {len(launch)} rows lie in the first {calendar.launch_weeks} weeks, expected "
            f"{LEAST_LAUNCH_ROWS} or more to launch a model with: widen them by --launch-weeks"
        )
    by_day: dict[int, list[Row]] = defaultdict(list)
    for row in placed:
        if (row.time or 0) >= start:
            by_day[((row.time or 0) - start) // DAY_MS].append(row)
    mean = sum(len(day) for day in by_day.values()) / max(1, calendar.weeks * 7)
    share = min(1.0, calendar.per_day / mean) if mean else 1.0
    days = tuple(
        tuple(thinned(by_day[n], math.ceil(len(by_day[n]) * share), rng))
        for n in range(calendar.weeks * 7)
    )
    return World(name, tuple(launch), days, start)


def on_calendar(rows: Sequence[Row], calendar: Calendar) -> list[Row]:
    """Dated rows, mapped linearly when they span less than half or more than one and a half times
    the calendar."""
    times = [row.time or 0 for row in rows]
    first, span = midnight(min(times)), max(times) - midnight(min(times)) + 1
    length = calendar.total_weeks * WEEK_MS
    if length / 2 <= span <= length * 1.5:
        return list(rows)
    return [row.at(first + ((row.time or 0) - first) * (length - 1) // span) for row in rows]


def scheduled(rows: Sequence[Row], calendar: Calendar) -> list[Row]:
    """Rows without dates, on the schedule of the module's docstring."""
    rng = random.Random(calendar.seed)
    labels = sorted({row.label for row in rows})
    rng.shuffle(labels)
    known = max(2, round(len(labels) * LAUNCH_LABELS))
    entering = labels[known:]
    first, last = CALM_WEEKS[0], calendar.weeks - CALM_WEEKS[1]
    entry = dict.fromkeys(labels[:known], 0.0)
    for number, label in enumerate(entering):
        entry[label] = calendar.launch_weeks + first + number * (last - first) / len(entering)
    phase = {label: rng.random() * 2 * math.pi for label in labels}
    placed = []
    for row in sorted(rows, key=lambda row: (row.label, row.text)):
        week = drawn_week(rng, entry[row.label], phase[row.label], calendar.total_weeks)
        placed.append(row.at(START + int(week * WEEK_MS)))
    return placed


def drawn_week(rng: random.Random, entry: float, phase: float, weeks: int) -> float:
    """A moment between `entry` and `weeks`, by rejection from the label's wave."""
    while True:
        week = entry + rng.random() * (weeks - entry)
        if rng.random() * 1.5 < 1 + 0.5 * math.sin(2 * math.pi * week / weeks + phase):
            return week


def shuffled_dates(rows: Sequence[Row], seed: int) -> list[Row]:
    """The same texts and the same dates, dealt anew: a world that does not change."""
    times = [row.time for row in rows]
    random.Random(seed).shuffle(times)
    return [row if time is None else row.at(time) for row, time in zip(rows, times, strict=True)]


def thinned(rows: Sequence[Row], most: int, rng: random.Random) -> list[Row]:
    """At most so many rows, in their order."""
    if len(rows) <= most:
        return list(rows)
    chosen = sorted(rng.sample(range(len(rows)), most))
    return [rows[index] for index in chosen]


def midnight(time: int) -> int:
    return time - time % DAY_MS
