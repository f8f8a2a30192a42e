"""Puts a world's rows on a calendar that fits them. Pure, and the same for the same seed.

How long a world is, `lengths` says. When rows happen: as `dated` places them, or, for rows without
dates and for a file that is sorted by label, whose launch no classifier could be made of, as
`undated` does. Whatever differs from what was asked or from the file's dates is a sentence in
`World.notes`.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean

from driftgate.errors import BadConfig, shown
from driftgate.events import DAY_MS
from driftgate.labelled.rows import Row
from services.simulator.dated import evenly, in_order, kept, mapped, trouble
from services.simulator.lengths import Calendar, Lengths, lengths
from services.simulator.undated import scheduled
from services.simulator.world import (
    LEAST_LAUNCH_OTHERS,
    LEAST_OTHERS,
    Placed,
    World,
    few_others,
)

LEAST_ROWS = 200
# More undated rows than this among dated ones, and the dates of the others say little.
MOST_UNDATED = 0.2


def build(name: str, rows: Sequence[Row], calendar: Calendar) -> World:
    """The world of some rows.

    Raises:
        BadConfig: too few rows or labels to make a world, or a calendar that they cannot fill.
    """
    check_rows(name, rows)
    rows, notes = one_kind(rows)
    found = lengths(name, rows, calendar)
    rng = random.Random(calendar.seed)
    spread = placed(rows, found, calendar.seed)
    start = spread.begin + found.launch_ms
    launch = [n for n, time in enumerate(spread.times) if time < start]
    by_day: dict[int, list[int]] = defaultdict(list)
    for n in range(len(launch), len(rows)):
        by_day[(spread.times[n] - start) // DAY_MS].append(n)
    mean = sum(len(by_day[day]) for day in range(found.weeks * 7)) / (found.weeks * 7)
    share = min(1.0, found.per_day / mean)

    def dated(numbers: Sequence[int]) -> tuple[Row, ...]:
        return tuple(spread.rows[n].at(spread.times[n]) for n in numbers)

    world = World(
        name,
        dated(launch_of(spread.rows, launch, calendar.launch_rows, rng)),
        tuple(
            dated(thinned(by_day[day], math.ceil(len(by_day[day]) * share), rng))
            for day in range(found.weeks * 7)
        ),
        start,
    )
    every = (*notes, *found.notes, spread.note, *traffic(world, found, len(rows)))
    return World(name, world.launch, world.days, start, tuple(filter(None, every)))


def check_rows(name: str, rows: Sequence[Row]) -> None:
    """Refuses a file that is too small for a world.

    Raises:
        BadConfig: says which of the causes it is.
    """
    if len(rows) < LEAST_ROWS:
        raise BadConfig(
            f"{name}: {len(rows):,} rows, expected {LEAST_ROWS} or more: a part is learned from, "
            "the rest is asked; give a larger file"
        )
    (label, most), *others = Counter(row.label for row in rows).most_common()
    if not others:
        raise BadConfig(
            f"{name}: {len(rows):,} rows have one label, {shown(label)}: expected two labels or "
            "more; choose another label column, or a file that has rows of other labels"
        )
    if len(rows) - most < LEAST_OTHERS:
        raise BadConfig(
            f"{name}: {len(rows) - most} of {len(rows):,} rows have another label than "
            f"{shown(label)}, expected {LEAST_OTHERS} or more; choose another label column, or add "
            "rows of other labels"
        )


def one_kind(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Makes all rows dated, or none; and notes what that took."""
    dated = [row for row in rows if row.time is not None]
    missing = len(rows) - len(dated)
    if missing == len(rows):
        return list(rows), []
    if len(dated) < LEAST_ROWS or missing > MOST_UNDATED * len(rows):
        note = f"dates are not used: {missing:,} of {len(rows):,} rows have none"
    elif len({row.time for row in dated}) < 2:
        note = "dates are not used: all rows have the same"
    elif missing and few_others(Counter(row.label for row in dated), LEAST_OTHERS):
        note = f"dates are not used: nearly all rows of other labels are among {missing:,} undated"
    else:
        note = f"{missing:,} of {len(rows):,} rows have no date and are left out"
        return dated, [note] if missing else []
    return [Row(r.text, r.label, None, r.subject, r.slices, r.id) for r in rows], [note]


def placed(rows: Sequence[Row], found: Lengths, seed: int) -> Placed:
    """Places every row, by the first way of the module's docstring that works."""
    if rows[0].time is None:
        return scheduled(rows, found, seed)
    ordered = in_order(rows, seed)
    why = ""
    for spread in (kept(ordered, found), mapped(ordered, found)):
        wrong = trouble(spread, found) if spread else ""
        if spread and not wrong:
            return spread
        why = why or wrong
    spread = evenly(ordered, found, why)
    wrong = trouble(spread, found)
    return scheduled(rows, found, seed, f"dates are not used: {wrong}") if wrong else spread


def launch_of(
    rows: Sequence[Row], launch: Sequence[int], most: int, rng: random.Random
) -> list[int]:
    """At most so many rows of the launch, some of them not of the most frequent label."""
    chosen = thinned(launch, most, rng)
    if not few_others(Counter(rows[n].label for n in chosen), LEAST_LAUNCH_OTHERS):
        return chosen
    frequent = Counter(rows[n].label for n in launch).most_common(1)[0][0]
    others = [n for n in launch if rows[n].label != frequent][:LEAST_LAUNCH_OTHERS]
    rest = [n for n in chosen if rows[n].label == frequent]
    return sorted(thinned(rest, most - len(others), rng) + others)


def thinned(numbers: Sequence[int], most: int, rng: random.Random) -> list[int]:
    """At most so many, in their order."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[index] for index in sorted(rng.sample(range(len(numbers)), most))]


def traffic(world: World, found: Lengths, count: int) -> list[str]:
    """How much is played, in words, where it is less than was asked or is there."""
    asked = fmean(map(len, world.days))
    notes = []
    if asked < 0.8 * found.per_day:
        notes.append(
            f"a day has {asked:.0f} requests instead of {found.per_day}: there are no more rows"
        )
    used = len(world.launch) + sum(map(len, world.days))
    if used < 0.9 * count:
        notes.append(
            f"{used:,} of {count:,} rows are played: {len(world.launch):,} at launch and "
            f"{asked:.0f} a day"
        )
    return notes
