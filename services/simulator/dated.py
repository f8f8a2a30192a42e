"""Dated rows on a calendar. Pure, and the same for the same seed.

Ways to place them, the first that gives a launch to learn from and no empty week being taken
(`schedule.placed`):

1. on their own dates, where these span about as much as the calendar;
2. on their dates, mapped linearly onto the calendar;
3. in the order of their dates, evenly spaced; rows of one date in a drawn order.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

from driftgate.errors import shown
from driftgate.events import DAY_MS
from driftgate.labelled.rows import Row
from services.simulator.lengths import Lengths, least_launch, span
from services.simulator.world import (
    LEAST_LAUNCH,
    LEAST_LAUNCH_OTHERS,
    START,
    WEEK_MS,
    Placed,
    few_others,
    midnight,
)

# The router refuses dates before 1971, and some stores those after 2199: such a world is moved.
USABLE = (365 * DAY_MS, 84_006 * DAY_MS)
# Dates are kept when they span so much of the calendar; else the world would end in empty weeks, or
# a part of the rows would lie behind its end.
KEPT_SPANS = (0.9, 1.1)
# A launch with less than this part of what is wanted is thin.
THIN_LAUNCH = 2 / 3
# A week is thin below this many requests, or below a quarter of the mean where that is less.
THIN_WEEK = 28


def in_order(rows: Sequence[Row], seed: int) -> list[Row]:
    """Dated rows by date. Rows of one date are shuffled, whatever their order in the file, which
    may be sorted by label."""
    ordered = sorted(rows, key=lambda row: (row.label, row.text, row.time))
    random.Random(seed).shuffle(ordered)
    return sorted(ordered, key=lambda row: row.time or 0)


def kept(rows: Sequence[Row], found: Lengths) -> Placed | None:
    """Rows on their own dates, where these fit."""
    least, most = (share * found.total_ms for share in KEPT_SPANS)
    if not least <= span(rows) <= most:
        return None
    begin = begin_of(rows)
    moved = begin - midnight(rows[0].time or 0)
    note = "dates are moved to begin in 2026: they lie before 1971 or after 2199" if moved else ""
    return Placed(rows, [(row.time or 0) + moved for row in rows], begin, note)


def mapped(rows: Sequence[Row], found: Lengths) -> Placed:
    """Rows on their dates, mapped linearly onto the calendar."""
    begin, first, length = begin_of(rows), midnight(rows[0].time or 0), span(rows)
    times = [begin + ((r.time or 0) - first) * (found.total_ms - 1) // length for r in rows]
    days = math.ceil(length / DAY_MS)
    note = f"dates are mapped: {days:,} days onto {found.total_weeks} weeks"
    return Placed(rows, times, begin, note)


def evenly(rows: Sequence[Row], found: Lengths, why: str) -> Placed:
    """Rows at even distances, in the order of their dates."""
    begin, count = begin_of(rows), len(rows)
    launch = max(count * found.launch_weeks // found.total_weeks, least_launch(count))
    launch = min(launch, count - found.weeks * 7)
    played_ms = found.total_ms - found.launch_ms
    times = [begin + n * found.launch_ms // launch for n in range(launch)] + [
        begin + found.launch_ms + n * played_ms // (count - launch) for n in range(count - launch)
    ]
    return Placed(rows, times, begin, f"dates are kept in order only: {why}")


def trouble(spread: Placed, found: Lengths) -> str:
    """Why a world cannot be played so, in words; empty when it can."""
    start, count = spread.begin + found.launch_ms, len(spread.rows)
    launch = [row for row, t in zip(spread.rows, spread.times, strict=True) if t < start]
    weeks = Counter((time - start) // WEEK_MS for time in spread.times[len(launch) :])
    of_weeks = f"of {found.total_weeks} weeks"
    if len(launch) < max(LEAST_LAUNCH, THIN_LAUNCH * least_launch(count)):
        return f"{len(launch):,} of {count:,} rows lie in the first {found.launch_weeks} {of_weeks}"
    played = count - max(count * found.launch_weeks // found.total_weeks, least_launch(count))
    mean = min(found.per_day * 7, played / found.weeks)
    share = min(1.0, found.per_day * 7 * found.weeks / max(1, count - len(launch)))
    thin = [w for w in range(found.weeks) if weeks[w] * share < min(THIN_WEEK, mean / 4)]
    if thin:
        week = min(thin, key=lambda week: (weeks[week], week))
        return f"week {week + 1} of {found.weeks} played ones has {weeks[week]:,} of {count:,} rows"
    labels = Counter(row.label for row in launch)
    if few_others(labels, LEAST_LAUNCH_OTHERS):
        (label, most), *_ = labels.most_common()
        return f"{most:,} of the {len(launch):,} rows at launch have label {shown(label)}"
    return ""


def shuffled_dates(rows: Sequence[Row], seed: int) -> list[Row]:
    """The same texts and the same dates, dealt anew: a world that does not change."""
    times = [row.time for row in rows]
    random.Random(seed).shuffle(times)
    return [row if time is None else row.at(time) for row, time in zip(rows, times, strict=True)]


def begin_of(rows: Sequence[Row]) -> int:
    """Midnight of the first day of rows in the order of time; `START` where that cannot be used."""
    first, last = midnight(rows[0].time or 0), rows[-1].time or 0
    return first if USABLE[0] <= first and last <= USABLE[1] else START
