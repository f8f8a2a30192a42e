"""What to declare for labelled rows: the suite, the rows to launch with, the bars, the protected
slice. It all hangs on the launch rows alone, and each choice comes with its reason. Pure."""

from __future__ import annotations

import hashlib
import math
import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from driftgate.errors import BadConfig, nearest
from driftgate.labelled.rows import Row
from driftgate.model_repo import Mask
from driftgate.personal.masking import Masker
from driftgate.scaffold.baseline import Guess
from driftgate.scaffold.launch import person, seen, slice_counts
from driftgate.scaffold.writing import MINIMUM_CASES, Case, Declaration
from driftgate.slices import inside
from driftgate.split import held_out, normalised
from driftgate.suites import MIN_SLICE_CASES

LEAST_ROWS = 100
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
LEAST_SLICE_SHARE = 0.1
MOST_LAUNCH = 20_000
LEAST_TRAINED, MOST_TRAINED = 4800, 8000
NONE = "none"
# As how many examples a label's name is learned. Measured on Banking77: 3 is better than 0 and 10.
NAMED = 3
LEAST_NEW = 100
# With fewer labelled answers a day, a rollout takes the wide margin.
NARROW_MARGIN_PER_DAY = 100
# Labelled answers a day for which the usual numbers of pairs in a rollout are meant.
USUAL_LABELLED_PER_DAY = 30
DEFAULTS = Declaration("", ())
TEST_SHARE = DEFAULTS.test_share
Item = TypeVar("Item")


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
        rows: in the user's file, of which those proposed from may be a part.
        protect: `name=value`, `none`, or None: chosen by rule.
        labelled_per_day: answers that will get a label; None: as many as is usual.
    """

    model: str
    labels: tuple[str, ...] = ()
    rows: int = 0
    purpose: str = "Sorts texts."
    protect: str | None = None
    frozen_baseline: bool = False
    labelled_per_day: float | None = None
    max_rows: int | None = None


def propose(rows: Sequence[Row], found: Sequence[Guess], wanted: Wanted, seed: int) -> Proposal:
    """The proposal for these rows, which have ids, given the baseline's guesses on a sample.

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
    left = {row.id: row for row in rows if normalised(row.text) not in frozen}
    launch = newest(list(left.values()), lambda row: row.time, MOST_LAUNCH, seed)
    held = [row for row in launch if held_out(person(row), TEST_SHARE)]
    accuracy = share_right(found)
    clear = min(MOST_CERTAIN, accuracy + CLEARER)
    protected = protected_slice(launch, held, wanted.protect)
    gate = bar(accuracy, len(held), ROOM)
    max_rows = wanted.max_rows or training_rows(len(launch))
    declaration = Declaration(
        model=wanted.model,
        labels=wanted.labels or tuple(sorted({row.label for row in rows})),
        purpose=wanted.purpose,
        protected=protected,
        gate=gate,
        slice_gate=slice_bar(protected, held, found, gate),
        regression_gate=min(DEFAULTS.regression_gate, bar(clear, len(suite), 0)),
        probe_gate=min(DEFAULTS.probe_gate, bar(clear, MINIMUM_CASES, 0)),
        min_cases=cases(held),
        min_rows=min(DEFAULTS.min_rows, max(40, len(launch) // 2)),
        min_samples=samples(wanted.labelled_per_day),
        rollout_margin=rollout_margin(wanted.labelled_per_day),
        frozen_baseline=wanted.frozen_baseline,
        max_rows=max_rows,
        label_names=NAMED if telling(found) else 0,
        new_pairs=week_of_labels(wanted.labelled_per_day, max_rows),
        replay_rows=max_rows // 2,
    )
    unused = max(wanted.rows, len(rows)) - len(launch) - len(suite)
    notes = reasons(declaration, len(suite), launch, len(held), accuracy, unused)
    return Proposal(declaration, suite, tuple(launch), tuple(notes))


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


def newest(
    items: Sequence[Item], time: Callable[[Item], int | None], most: int, seed: int
) -> list[Item]:
    """In a seeded order, so that a file sorted by label is not learned from label by label; the
    newest where there are more than one launch can use."""
    shuffled = random.Random(seed).sample(items, len(items))
    shuffled.sort(key=lambda item: -(time(item) or 0))
    return shuffled[:most]


def share_right(found: Sequence[Guess]) -> float:
    return sum(guess.right for guess in found) / max(1, len(found))


def bar(accuracy: float, cases: int, room: float) -> float:
    """A bar that a version as good as the baseline passes: under it by `room`, or by what chance
    does with few cases (one-sided 95 %, normal approximation)."""
    chance = Z * math.sqrt(accuracy * (1 - accuracy) / max(1, cases))
    return round(max(LOWEST_BAR, accuracy - max(room, chance)), 2)


def slice_bar(protected: str, held: Sequence[Row], found: Sequence[Guess], gate: float) -> float:
    guessed = [guess for guess in found if inside(guess.row.slices, protected)]
    if len(guessed) < MIN_SLICE_CASES:
        return max(LOWEST_BAR, round(gate - SLICE_ROOM, 2))
    cases = sum(inside(row.slices, protected) for row in held)
    return bar(share_right(guessed), cases, SLICE_ROOM)


def protected_slice(launch: Sequence[Row], held: Sequence[Row], asked: str | None) -> str:
    """The slice asked for, or the smallest that is a tenth of the rows and has enough held-out ones
    to be judged; empty where there is none.

    Raises:
        BadConfig: the slice asked for has too few held-out rows.
    """
    if asked == NONE:
        return ""
    rows, cases = slice_counts(launch), slice_counts(held)
    if asked is not None:
        if cases[asked] < MIN_SLICE_CASES:
            hint = "" if asked in rows else f"{nearest(asked, list(rows))} "
            raise BadConfig(
                f"--protect {asked}: {rows[asked]} launch rows are in it, {cases[asked]} of them "
                f"held out to judge it, expected {MIN_SLICE_CASES} or more. {hint}Slices are "
                f"{seen(launch)}; `--protect none` protects none"
            )
        return asked
    large = [
        (n, name)
        for name, n in rows.items()
        if n >= LEAST_SLICE_SHARE * len(launch) and cases[name] >= MIN_SLICE_CASES
    ]
    return min(large)[1] if large else ""


def cases(held: Sequence[Row]) -> int:
    """Cases that a verdict rests on: half of the rows that are held out, ten where there are so
    many, and no more than usual."""
    return min(DEFAULTS.min_cases, max(10, len(held) // 2), len(held))


def samples(labelled_per_day: float | None) -> tuple[int, ...]:
    """Samples that each stage of a rollout waits for; fewer where few answers are labelled."""
    usual = DEFAULTS.min_samples
    if labelled_per_day is None or labelled_per_day >= USUAL_LABELLED_PER_DAY:
        return tuple(usual)
    return tuple(max(5, round(n * labelled_per_day / USUAL_LABELLED_PER_DAY)) for n in usual)


def rollout_margin(labelled_per_day: float | None) -> float:
    """What the last canary has to show. A narrow margin takes some 365 labelled answers of a
    version that is as good, a wide one 86 (docs/rollouts.md): what lasts longer than half a week
    makes the next version late as well."""
    usual = DEFAULTS.rollout_margin
    if labelled_per_day is None or labelled_per_day >= NARROW_MARGIN_PER_DAY:
        return usual
    return 2 * usual


def telling(found: Sequence[Guess]) -> bool:
    """Whether the labels' names say what belongs under them: whether they alone find at least a
    third of what examples find, beyond what chance does."""
    chance = 1 / max(1, len({guess.row.label for guess in found}))
    by_name = sum(guess.named == guess.row.label for guess in found) / max(1, len(found))
    return by_name - chance > (share_right(found) - chance) / 3 > 0


def week_of_labels(labelled_per_day: float | None, max_rows: int) -> int:
    """New pairs that are worth a training: those of a week, and at most a tenth of what it learns
    from. With more of them, a model of little traffic would lag behind for weeks."""
    tenth = max_rows // 10
    if labelled_per_day is None:
        return tenth
    return min(tenth, max(LEAST_NEW, round(7 * labelled_per_day)))


def reasons(
    declared: Declaration,
    suite: int,
    launch: Sequence[Row],
    held: int,
    accuracy: float,
    unused: int,
) -> list[str]:
    """The proposal in words. unused: rows that are neither frozen nor launched with."""
    most = Counter(row.label for row in launch).most_common(1)[0][1] / max(1, len(launch))
    told = [
        f"{len(launch):,} rows to launch with, {held:,} of them held out; {suite} clear cases are "
        "frozen as the regression suite and not learned from",
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
    if unused:
        told.append(
            f"{unused:,} rows are not in the launch file: it takes the newest {MOST_LAUNCH:,}, and "
            "each text and label once"
        )
    if declared.min_cases < FEW_CASES:
        told.append(
            f"a verdict rests on {declared.min_cases} cases or more instead of "
            f"{DEFAULTS.min_cases}: only large losses will be seen until there is more"
        )
    if tuple(declared.min_samples) != tuple(DEFAULTS.min_samples):
        waits = ", ".join(map(str, declared.min_samples))
        told.append(f"stages of a rollout wait for {waits} samples, since few labels come a day")
    if declared.rollout_margin != DEFAULTS.rollout_margin:
        told.append(
            f"a rollout shows that a version is not worse by {declared.rollout_margin:g}; by "
            f"{DEFAULTS.rollout_margin:g} would take weeks with so few labels a day"
        )
    if declared.label_names:
        told.append(
            f"what each label is called is learned as {declared.label_names} examples: the names "
            "say what belongs under them"
        )
    return told


def identified(rows: Sequence[Row], now: int) -> list[Row]:
    """Rows under ids that follow from their content, unless the file has its own: the same text and
    label is the same row in any file, so that it stays on its side of the split, and an exclusion
    by id stays one. Rows without a date are of now (ms)."""
    return [
        replace(
            row,
            id=row.id or content_id(row),
            time=now if row.time is None else row.time,
        )
        for row in rows
    ]


def masked(rows: Sequence[Row], mask: Mask) -> list[Row]:
    """Rows with placeholders for the personal data in their texts."""
    masker = Masker.of(mask)
    return [replace(row, text=masker.text(row.text)) for row in rows]


def content_id(row: Row) -> str:
    said = f"{normalised(row.text)}\n{row.label}"
    return f"seed-{hashlib.sha256(said.encode()).hexdigest()[:20]}"


def slug(name: str) -> str:
    """A model's name made of a file's or folder's."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in letters)
    return "-".join(filter(None, kept.split("-"))) or "my-model"
