"""Puts a world's rows on a calendar that fits them. Pure, and the same for the same seed.

How long a world is, where the calendar leaves it open (`lengths`): up to 24 played weeks, so many
that a day asks eight rows or more, at least four; launch weeks in proportion to the rows that a
launch needs.

When rows happen, the first of these that gives a launch to learn from and no empty week (`placed`):

1. on their own dates, where these span about as much as the calendar;
2. on their dates, mapped linearly onto the calendar;
3. in the order of their dates, evenly spaced; rows of one date in a drawn order;
4. on a schedule, as rows without dates: a file that is sorted by label has no launch that a
   classifier could be made of.

The schedule:

- 60 % of the labels (a seeded choice, the two most frequent always) are there at launch; the others
  enter one by one, at even distances from the second to the last but six played week;
- a label's share of traffic moves as a slow wave with a phase of its own, between half and one and
  a half of its mean.

Whatever differs from what was asked or from the file's dates is a sentence in `World.notes`.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from statistics import fmean

from driftgate.errors import BadConfig, shown
from driftgate.events import DAY_MS
from driftgate.labelled.rows import Row

WEEK_MS = 7 * DAY_MS
START = 1_767_571_200_000  # Monday 2026-01-05, where a world without dates begins
# The router refuses dates before 1971, and some stores those after 2199: such a world is moved.
USABLE = (365 * DAY_MS, 84_006 * DAY_MS)
LEAST_ROWS = 200
# Rows outside the most frequent label: of a file, so that there is something to tell apart, and of
# a launch, for the same reason.
LEAST_OTHERS, LEAST_LAUNCH_OTHERS = 10, 5
# More undated rows than this among dated ones, and the dates of the others say little.
MOST_UNDATED = 0.2
LAUNCH_LABELS = 0.6
CALM_WEEKS = (1, 6)  # no label enters in the first played week nor in the last six
# Dates are kept when they span so much of the calendar; else the world would end in empty weeks, or
# a part of the rows would lie behind its end.
KEPT_SPANS = (0.9, 1.1)

LAUNCH_WEEKS, MOST_LAUNCH_WEEKS, WEEKS, LEAST_WEEKS, PER_DAY = 4, 8, 24, 4, 60
LEAST_PER_DAY = 8
# What a first version wants: a quarter of it is kept for judging.
WANTED_LAUNCH = 300
# A launch with less than this part of what is wanted is thin, and below so many rows there is no
# model to declare.
THIN_LAUNCH, LEAST_LAUNCH = 2 / 3, 100
# A week is thin below this many requests, or below a quarter of the mean where that is less.
THIN_WEEK = 28


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
    told = (*notes, *found.notes, spread.note, *traffic(world, found, len(rows)))
    return World(name, world.launch, world.days, start, tuple(filter(None, told)))


# ---------------------------------------------------------------- what there is


def check_rows(name: str, rows: Sequence[Row]) -> None:
    """Holds a file to the least that a world can be made of.

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
    """Rows that all have dates, or none; and what that took, in words."""
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


def few_others(labels: Counter[str], least: int) -> bool:
    """Whether too few rows are of another label than the most frequent."""
    return labels.total() - max(labels.values(), default=0) < least


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


# ---------------------------------------------------------------- when rows happen


def placed(rows: Sequence[Row], found: Lengths, seed: int) -> Placed:
    """Every row at its moment, by the first way of the module's docstring that works."""
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


def in_order(rows: Sequence[Row], seed: int) -> list[Row]:
    """Dated rows by date. Those of one date stand in an order that neither the file nor their texts
    have a say in: a file may be sorted by label."""
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


def scheduled(rows: Sequence[Row], found: Lengths, seed: int, note: str = "") -> Placed:
    """Rows on the schedule of the module's docstring.

    A launch label's rows are drawn over the whole of its wave, 0..1, and the launch ends at the
    moment at which it has the rows that it needs; what comes before and after is then stretched
    onto the launch weeks and the played weeks.
    """
    rng = random.Random(seed)
    ordered = sorted(rows, key=lambda row: (row.label, row.text))
    first, entering = launch_labels(ordered, rng)
    launched = frozenset(first)
    phase = {label: rng.random() * 2 * math.pi for label in (*first, *entering)}
    drawn = [
        drawn_moment(rng, 0.0, phase[row.label]) if row.label in launched else 1.0
        for row in ordered
    ]
    moments = sorted(moment for moment in drawn if moment < 1)
    count = len(moments)
    wanted = max(LEAST_LAUNCH, min(least_launch(len(rows)), 3 * count // 4))
    ends = moments[max(wanted, count * found.launch_weeks // found.total_weeks)]
    entry = entries(entering, ends, found.weeks)
    drawn = [
        moment if row.label in launched else drawn_moment(rng, entry[row.label], phase[row.label])
        for row, moment in zip(ordered, drawn, strict=True)
    ]
    for n in too_late(ordered, drawn, launched, ends):
        drawn[n] *= ends
    stretched = stretch(ends, found)
    by_time = sorted((START + int(stretched(moment)), n) for n, moment in enumerate(drawn))
    return Placed([ordered[n] for _, n in by_time], [time for time, _ in by_time], START, note)


def launch_labels(rows: Sequence[Row], rng: random.Random) -> tuple[list[str], list[str]]:
    """The labels that are there at launch, and the others in the order in which they enter."""
    counts = Counter(row.label for row in rows)
    labels = sorted(counts)
    rng.shuffle(labels)
    most = [label for label, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:2]]
    labels.sort(key=lambda label: label not in most)
    known = max(2, round(len(labels) * LAUNCH_LABELS))
    while sum(counts[label] for label in labels[:known]) <= LEAST_LAUNCH:
        known += 1
    return labels[:known], labels[known:]


def entries(labels: Sequence[str], ends: float, weeks: int) -> dict[str, float]:
    """When each label enters, 0..1, in a world whose launch `ends` there."""
    first, last = CALM_WEEKS[0], max(CALM_WEEKS[0] + 1, weeks - CALM_WEEKS[1])
    return {
        label: ends + (first + number * (last - first) / len(labels)) / weeks * (1 - ends)
        for number, label in enumerate(labels)
    }


def drawn_moment(rng: random.Random, entry: float, phase: float) -> float:
    """A moment between `entry` and 1, by rejection from the label's wave."""
    while True:
        moment = entry + rng.random() * (1 - entry)
        if rng.random() * 1.5 < 1 + 0.5 * math.sin(2 * math.pi * moment + phase):
            return moment


def too_late(
    rows: Sequence[Row], moments: Sequence[float], launched: Set[str], ends: float
) -> list[int]:
    """Rows that must be moved into the launch, so that not nearly all of it has one label."""
    most = Counter(row.label for row in rows).most_common(1)[0][0]
    others = sorted(
        (moment, n)
        for n, (row, moment) in enumerate(zip(rows, moments, strict=True))
        if row.label in launched and row.label != most
    )
    return [n for moment, n in others[:LEAST_LAUNCH_OTHERS] if moment >= ends]


def stretch(ends: float, found: Lengths) -> Callable[[float], float]:
    """Maps the moments of a schedule to ms since its beginning."""
    played_ms = found.total_ms - found.launch_ms

    def at(moment: float) -> float:
        if moment < ends:
            return moment / ends * found.launch_ms
        return found.launch_ms + (moment - ends) / (1 - ends) * played_ms

    return at


def shuffled_dates(rows: Sequence[Row], seed: int) -> list[Row]:
    """The same texts and the same dates, dealt anew: a world that does not change."""
    times = [row.time for row in rows]
    random.Random(seed).shuffle(times)
    return [row if time is None else row.at(time) for row, time in zip(rows, times, strict=True)]


# ---------------------------------------------------------------- how much of it is played


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


def begin_of(rows: Sequence[Row]) -> int:
    """Midnight of the first day of rows in the order of time; `START` where that cannot be used."""
    first, last = midnight(rows[0].time or 0), rows[-1].time or 0
    return first if USABLE[0] <= first and last <= USABLE[1] else START


def midnight(time: int) -> int:
    return time - time % DAY_MS
