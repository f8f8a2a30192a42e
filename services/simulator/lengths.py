"""How long a world is: what was asked, and for the rest what its rows can fill. Pure.

Where the calendar leaves it open: up to 24 played weeks, so many that a day asks eight rows or
more, at least four; launch weeks in proportion to the rows that a launch needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from driftgate.errors import BadConfig
from driftgate.labelled.rows import Row
from services.simulator.world import WEEK_MS, midnight

LAUNCH_WEEKS, MOST_LAUNCH_WEEKS, WEEKS, LEAST_WEEKS, PER_DAY = 4, 8, 24, 4, 60
LEAST_PER_DAY = 8
# What a first version wants: a quarter of it is kept for judging.
WANTED_LAUNCH = 300


@dataclass(frozen=True, slots=True)
class Calendar:
    """What was asked of a world. None: as the rows allow.

    Attributes:
        per_day: at most so many requests a day, on average; 60 where nothing is asked.
        launch_rows: at most so many rows are handed over at launch.
    """

    launch_weeks: int | None = None
    weeks: int | None = None
    per_day: int | None = None
    launch_rows: int = 1500
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Lengths:
    """The length of one world and its traffic."""

    launch_weeks: int
    weeks: int
    per_day: int
    notes: tuple[str, ...] = ()

    @property
    def launch_ms(self) -> int:
        return self.launch_weeks * WEEK_MS

    @property
    def total_weeks(self) -> int:
        return self.launch_weeks + self.weeks

    @property
    def total_ms(self) -> int:
        return self.total_weeks * WEEK_MS


def lengths(name: str, rows: Sequence[Row], calendar: Calendar) -> Lengths:
    """The lengths that were asked, and for the others what the rows can fill.

    Raises:
        BadConfig: what was asked is impossible; names the option and what is possible.
    """
    for option, asked in (
        ("--launch-weeks", calendar.launch_weeks),
        ("--weeks", calendar.weeks),
        ("--per-day", calendar.per_day),
    ):
        if asked is not None and asked < 1:
            raise BadConfig(f"{option} {asked}: expected 1 or more, or leave it out")
    launch = max(len(rows) // 7, least_launch(len(rows)))
    left = len(rows) - launch
    per_day = calendar.per_day or PER_DAY
    if calendar.weeks is not None and calendar.weeks * 7 > left:
        raise BadConfig(
            f"--weeks {calendar.weeks}: {name} has {len(rows):,} rows, of which {left:,} are left "
            f"to play, less than one a day; choose at most {left // 7}, or leave it out"
        )
    weeks = calendar.weeks or min(
        WEEKS, max(LEAST_WEEKS, left // (7 * min(LEAST_PER_DAY, per_day)))
    )
    launch_weeks = calendar.launch_weeks or min(
        MOST_LAUNCH_WEEKS, max(LAUNCH_WEEKS, round(weeks * launch / left))
    )
    spanned = math.ceil(span(rows) / WEEK_MS)
    why = f"{left:,} rows are left for them"
    if calendar.weeks is None and LEAST_WEEKS <= spanned - launch_weeks < weeks:
        weeks, why = spanned - launch_weeks, f"the dates span {spanned}"  # which are then kept
    notes = []
    if weeks != (calendar.weeks or WEEKS):
        notes.append(f"{weeks} weeks are played instead of {WEEKS}: {why}")
    if launch_weeks != (calendar.launch_weeks or LAUNCH_WEEKS):
        notes.append(
            f"{launch_weeks} weeks are the launch instead of {LAUNCH_WEEKS}: a first version "
            f"wants {launch:,} rows"
        )
    return Lengths(launch_weeks, weeks, per_day, tuple(notes))


def least_launch(count: int) -> int:
    """Rows that the launch of a world of `count` rows wants at the least."""
    return min(count // 2, WANTED_LAUNCH)


def span(rows: Sequence[Row]) -> int:
    """From the first midnight to the last moment of dated rows, ms; 0 without dates."""
    times = [row.time for row in rows if row.time is not None]
    return max(times) - midnight(min(times)) + 1 if times else 0
