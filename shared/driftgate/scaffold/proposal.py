"""What to declare for labelled rows: the suite, the rows to launch with, the bars, the protected
slice. It all hangs on the launch rows alone, and each choice comes with its reason. Pure."""

from __future__ import annotations

import math
import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from driftgate.errors import BadConfig, nearest
from driftgate.labelled.rows import Row
from driftgate.scaffold.baseline import Guess
from driftgate.scaffold.writing import MINIMUM_CASES, Case, Declaration

SEED = 7
LEAST_ROWS = 100
TEST_SHARE = 0.25
"""Of the launch rows; the default of `data.test_share`."""

SUITE_SHARE = 0.125
MOST_SUITE, LEAST_SUITE = 80, 12
LEFT_FOR_TRAINING = 3
"""A label keeps so many rows to be learned from before a case of it is frozen."""

ROOM = 0.12
SLICE_ROOM = 0.18
"""How much under the baseline the bars are: labels are partly wrong, and the world moves."""

CLEARER, MOST_CERTAIN = 0.1, 0.99
"""The suite's cases were chosen for their clearness, and more of them are right than of all."""

Z = 1.64
LOWEST_BAR = 0.05
FEW_CASES = 60
MIN_SLICE_CASES = 20
"""Held-out cases that the gate needs to judge a slice."""

SURE_SLICE_CASES = 30
LEAST_SLICE_SHARE = 0.1
MOST_LAUNCH = 20_000
LEAST_TRAINED, MOST_TRAINED = 2400, 8000
NONE = "none"
# Labelled answers a day for which the usual numbers of pairs in a rollout are meant.
USUAL_LABELLED_PER_DAY = 30
DEFAULTS = Declaration("", ())


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write. notes: why it is so, a sentence each."""

    declaration: Declaration
    suite: tuple[Case, ...]
    launch: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user or the world says.

    Attributes:
        labels: every label to declare; those of the rows if empty.
        protect: `name=value`, `none`, or None: chosen by rule.
        labelled_per_day: answers that will get a label; None: as many as is usual.
    """

    model: str
    labels: tuple[str, ...] = ()
    purpose: str = "Sorts texts."
    protect: str | None = None
    one_off: bool = False
    labelled_per_day: float | None = None
    max_rows: int | None = None


def propose(rows: Sequence[Row], found: Sequence[Guess], wanted: Wanted, seed: int) -> Proposal:
    """The proposal for these rows, given the guesses of the baseline on a sample of them.

    Raises:
        BadConfig: too few rows, or the slice to protect is not among them.
    """
    if len(rows) < LEAST_ROWS:
        raise BadConfig(
            f"{len(rows)} labelled rows, expected {LEAST_ROWS} or more, and some hundred to tell "
            "a good version from a bad one: add rows"
        )
    suite = suite_of(rows, found)
    frozen = {normalised(case.text) for case in suite}
    launch = [row for row in rows if normalised(row.text) not in frozen]
    kept = newest(launch, MOST_LAUNCH, seed)
    held_out = round(TEST_SHARE * len(kept))
    accuracy = share_right(found)
    protected = protected_slice(kept, wanted.protect)
    gate = bar(accuracy, held_out, ROOM)
    max_rows = wanted.max_rows or training_rows(len(kept))
    clear = min(MOST_CERTAIN, accuracy + CLEARER)
    declaration = Declaration(
        model=wanted.model,
        labels=wanted.labels or tuple(sorted({row.label for row in rows})),
        purpose=wanted.purpose,
        protected=protected,
        gate=gate,
        slice_gate=slice_bar(protected, kept, found, gate),
        regression_gate=min(DEFAULTS.regression_gate, bar(clear, len(suite), 0)),
        probe_gate=min(DEFAULTS.probe_gate, bar(clear, MINIMUM_CASES, 0)),
        min_cases=min(80, max(10, held_out // 2)),
        min_rows=min(150, max(40, len(kept) // 2)),
        min_pairs=pairs(wanted.labelled_per_day),
        one_off=wanted.one_off,
        max_rows=max_rows,
        replay_rows=max_rows // 2,
    )
    notes = tuple(reasons(declaration, suite, launch, kept, accuracy, held_out))
    return Proposal(declaration, suite, tuple(kept), notes)


def training_rows(rows: int) -> int:
    """How many rows a training takes: all of a launch as long as that is minutes on two cores."""
    return min(MOST_TRAINED, max(LEAST_TRAINED, math.ceil((1 - TEST_SHARE) * rows)))


def suite_of(rows: Sequence[Row], found: Sequence[Guess]) -> tuple[Case, ...]:
    """The clearest case of each label, then the next clearest of each, and so on; no text twice.

    Labels of few rows give none, and what the base gets wrong is no clear case; but a suite has
    `LEAST_SUITE` cases, whatever it takes.
    """
    size = min(MOST_SUITE, max(LEAST_SUITE, round(SUITE_SHARE * len(rows))))
    clear = [guess for guess in found if guess.right]
    tries = ((clear, LEFT_FOR_TRAINING), (clear, 1), (found, 1))
    for guesses, left in tries:
        chosen = in_turn(rows, guesses, left)[:size]
        if len(chosen) >= LEAST_SUITE:
            break
    return tuple(Case(row.text, row.label, row.slices) for row in chosen)


def in_turn(rows: Sequence[Row], guesses: Sequence[Guess], keep: int) -> list[Row]:
    """Rows by clearness, each label in its turn, which keeps `keep` rows for itself."""
    left = Counter(row.label for row in rows)
    by_label: dict[str, dict[str, Row]] = defaultdict(dict)
    for guess in sorted(guesses, key=lambda one: (not one.right, -one.margin)):
        by_label[guess.row.label].setdefault(normalised(guess.row.text), guess.row)
    chosen: list[Row] = []
    for depth in range(max(map(len, by_label.values()), default=0)):
        for label, cases in sorted(by_label.items()):
            if depth < len(cases) and left[label] > keep:
                chosen.append(list(cases.values())[depth])
                left[label] -= 1
    return chosen


def newest(rows: Sequence[Row], most: int, seed: int) -> list[Row]:
    """In a seeded order, so that a file sorted by label is not learned from label by label; the
    newest where there are more than one launch can use."""
    shuffled = random.Random(seed).sample(list(rows), len(rows))
    shuffled.sort(key=lambda row: -(row.time or 0))
    return shuffled[:most]


def share_right(found: Sequence[Guess]) -> float:
    return sum(guess.right for guess in found) / max(1, len(found))


def bar(accuracy: float, cases: int, room: float) -> float:
    """A bar that a version as good as the baseline passes: under it by `room`, or by what chance
    does with few cases (one-sided 95 %, normal approximation)."""
    chance = Z * math.sqrt(accuracy * (1 - accuracy) / max(1, cases))
    return round(max(LOWEST_BAR, accuracy - max(room, chance)), 2)


def slice_bar(protected: str, rows: Sequence[Row], found: Sequence[Guess], gate: float) -> float:
    inside = [guess for guess in found if is_in(guess.row, protected)]
    if len(inside) < MIN_SLICE_CASES:
        return max(LOWEST_BAR, round(gate - SLICE_ROOM, 2))
    cases = round(TEST_SHARE * sum(is_in(row, protected) for row in rows))
    return bar(share_right(inside), cases, SLICE_ROOM)


def protected_slice(rows: Sequence[Row], asked: str | None) -> str:
    """The slice asked for, or the smallest that is a tenth of the rows and has enough of them to
    be judged; empty where there is none.

    Raises:
        BadConfig: the slice asked for has too few rows.
    """
    counts = slice_counts(rows)
    if asked == NONE:
        return ""
    if asked is not None:
        if counts[asked] * TEST_SHARE < MIN_SLICE_CASES:
            seen = ", ".join(f"{name} {n:,}" for name, n in counts.most_common(8)) or "none"
            hint = "" if asked in counts else f"{nearest(asked, list(counts))} "
            raise BadConfig(
                f"--protect {asked}: {counts[asked]} launch rows are in it, expected "
                f"{round(MIN_SLICE_CASES / TEST_SHARE)} or more, since a quarter is held out to "
                f"judge it. {hint}Slices are {seen}; `--protect none` protects none"
            )
        return asked
    least = max(SURE_SLICE_CASES / TEST_SHARE, LEAST_SLICE_SHARE * len(rows))
    large = [(n, name) for name, n in counts.items() if n >= least]
    return min(large)[1] if large else ""


def slice_counts(rows: Sequence[Row]) -> Counter[str]:
    return Counter(f"{name}={value}" for row in rows for name, value in row.slices.items())


def is_in(row: Row, slice_name: str) -> bool:
    name, _, value = slice_name.partition("=")
    return row.slices.get(name) == value


def pairs(labelled_per_day: float | None) -> tuple[int, ...]:
    """Labelled requests that each stage of a rollout waits for; fewer where few are labelled."""
    usual = DEFAULTS.min_pairs
    if labelled_per_day is None or labelled_per_day >= USUAL_LABELLED_PER_DAY:
        return tuple(usual)
    return tuple(max(5, round(n * labelled_per_day / USUAL_LABELLED_PER_DAY)) for n in usual)


def reasons(
    declared: Declaration,
    suite: Sequence[Case],
    launch: Sequence[Row],
    kept: Sequence[Row],
    accuracy: float,
    held_out: int,
) -> list[str]:
    """The proposal in words."""
    most = Counter(row.label for row in kept).most_common(1)[0][1] / max(1, len(kept))
    told = [
        f"{len(kept):,} rows to launch with, about {held_out:,} of them held out; "
        f"{len(suite)} clear cases are frozen as the regression suite and not learned from",
        f"gate {declared.gate:.0%}: the frozen base alone gets {accuracy:.0%} right, "
        f"the most frequent label would get {most:.0%}; regression suite "
        f"{declared.regression_gate:.0%}, probes {declared.probe_gate:.0%}",
        f"protected: {declared.protected}, bar {declared.slice_gate:.0%}"
        if declared.protected
        else "protected: no slice",
    ]
    if accuracy <= most:
        told.append(
            "the texts hardly tell the labels: look at the label column before you rely on this"
        )
    if len(launch) > len(kept):
        told.append(f"{len(launch) - len(kept):,} older rows are not in the launch file")
    if declared.min_cases < FEW_CASES:
        told.append(
            f"a verdict rests on {declared.min_cases} cases or more instead of 80: only large "
            "losses will be seen until there is more"
        )
    if tuple(declared.min_pairs) != tuple(DEFAULTS.min_pairs):
        waits = ", ".join(map(str, declared.min_pairs))
        told.append(f"stages of a rollout wait for {waits} labelled pairs, since few come a day")
    return told


def normalised(text: str) -> str:
    """A text as far as two people would call it the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def with_ids(rows: Sequence[Row], model: str, now: int) -> list[Row]:
    """Launch rows under ids of their own, in their order; those without a date are of now (ms)."""
    return [
        replace(row, id=f"{model}-launch-{number:05d}", time=now if row.time is None else row.time)
        for number, row in enumerate(rows)
    ]


def slug(name: str) -> str:
    """A model's name made of a file's or folder's."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in letters)
    return "-".join(filter(None, kept.split("-"))) or "my-model"
