"""Rows without dates on a schedule. Pure, and the same for the same seed.

- 60 % of the labels (a seeded choice, the two most frequent always) are there at launch; the others
  enter one by one, at even distances from the second to the last but six played week;
- a label's share of traffic moves as a slow wave with a phase of its own, between half and one and
  a half of its mean.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence, Set

from driftgate.labelled.rows import Row
from services.simulator.lengths import Lengths, least_launch
from services.simulator.world import LEAST_LAUNCH, LEAST_LAUNCH_OTHERS, START, Placed

LAUNCH_LABELS = 0.6
CALM_WEEKS = (1, 6)  # no label enters in the first played week nor in the last six


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
