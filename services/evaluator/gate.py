"""Whether a candidate may ship, from what it and the champion got right. Pure.

A gate has two dangers: it lets harm through, or it stops for chance what harms nobody. So:

- *Bars* hold for anyone: accuracy over all held-out cases and in each protected slice, regression,
  probes. The measured value itself is compared, since the labels of held-out cases come from
  feedback and are partly wrong; bars are set with that in mind.
- *Harm* is judged case by case against the champion. A slice is harmed when its pairs show that
  the candidate is worse (McNemar) and do not show that it is within the margin (Tango). With many
  cases that is the usual test of non-inferiority; with few it still stops an equal candidate no
  more often than alpha. The whole and all slices are one family, calibrated by sign-flipping, so
  that together they stop an equal candidate in a share alpha, of which protected slices have the
  larger part. Where a task grades its answers, the mean of each scorer is judged so too (`graded`).
- *Too few cases* to tell are neither pass nor fail; but what fails elsewhere, fails. A suite
  without any case is such a lack too, unless model.yaml waives it, which the verdict then says.
- *Without a champion* the bars alone decide.
- *Held-out cases* count by their weights, so that they stand for all answers (`weighting`). Where
  they cannot be made to, no bar is held against them, and harm is what shows although the cases
  favour the candidate.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from driftgate.model_repo import Gate, SliceBar
from driftgate.shares import wilson
from driftgate.slices import ALL, inside
from driftgate.suites import ACCURACY, FILES, MIN_SLICE_CASES, FrozenSuite, Layer
from services.evaluator import graded as grades
from services.evaluator.axis import Axis
from services.evaluator.graded import Graded, Table
from services.evaluator.statistics import Family, Pairs, detectable, family, no_worse
from services.evaluator.weighting import ALIKE, MeasuredOn

PROTECTED_WEIGHT = 4.0
"""A protected slice has the part of alpha of so many others, and so is watched more closely."""

MOST_WORDS = 3
"""So many axes are named in a verdict's summary."""

MOST_SEEN = 12
"""So many slices of the data are named where a protected one is not among them."""

ROUNDING = 1e-9

Result = Literal["pass", "fail", "insufficient"]

NEGATIVE_FLIPS = "negative flips"


@dataclass(frozen=True, slots=True)
class Tally:
    """So many cases of one kind with one fate. name: `accuracy`, or the kind of probe. before:
    whether the champion was right; None without a champion. weight: of each case."""

    layer: Layer
    name: str
    slices: Mapping[str, str]
    right: bool
    before: bool | None
    cases: int
    weight: float = 1.0

    def inside(self, slice_name: str) -> bool:
        """Whether its cases belong to a slice, `all` or `name=value`."""
        return inside(self.slices, slice_name)


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate says, and why. measured_on: what held-out cases stand for, where there is
    something to say."""

    result: Result
    axes: tuple[Axis, ...]
    summary: str
    measured_on: str = ""


def judge(
    tallies: Iterable[Tally], gate: Gate, on: MeasuredOn = ALIKE, graded: Sequence[Graded] = ()
) -> GateResult:
    """The verdict on a candidate. The order of `tallies` and `graded` does not matter.

    Args:
        on: what the held-out cases among `tallies` stand for.
        graded: the same cases of held-out and frozen suites with their scores, where there are any.
    """
    layers: dict[str, list[Tally]] = defaultdict(list)
    for tally in sorted(tallies, key=lambda t: sorted(t.slices.items())):
        layers[tally.layer].append(tally)
    tables = grades.tables(graded)
    axes = (
        *task(layers["task"], gate, on, tables.get("task")),
        *regression(layers["regression"], gate, tables.get("regression")),
        *probes(layers["probe"], gate),
    )
    stopping = [axis for axis in axes if not axis.passed]
    waived = [axis for axis in axes if axis.waived]
    failing = [axis for axis in stopping if not axis.short]
    first = all(tally.before is None for found in layers.values() for tally in found)
    result: Result = "fail" if failing else "insufficient" if stopping else "pass"
    return GateResult(
        result,
        axes,
        in_words(result, failing or stopping or [axes[0], *waived], first),
        on.summary,
    )


def task(tallies: Sequence[Tally], gate: Gate, on: MeasuredOn, table: Table | None) -> list[Axis]:
    """Accuracy on held-out cases: of all, of the protected slices, of every large enough one. And
    the mean of each scorer in them."""
    counts = {name: Counts.of(tallies, name) for name in judged_slices(tallies, gate)}
    if counts[ALL].cases < gate.min_cases:
        return [measured(counts[ALL].too_few("task", ALL, gate.min_cases), on)]
    tests = harm_tests(tallies, list(counts), gate, table)
    of_accuracy = tests.get(ACCURACY)
    seen = sorted(slice_sizes(tallies))
    axes = [
        measured(accuracy(name, found, gate, of_accuracy, on), on)
        if found.cases
        else unseen(name, seen)
        for name, found in counts.items()
    ]
    flips = [negative_flips(counts[ALL])] if tests else []
    scored = grades.task_axes(table, list(counts), gate, tests) if table else []
    return [*axes, *(measured(axis, on) for axis in (*flips, *scored))]


def measured(axis: Axis, on: MeasuredOn) -> Axis:
    """An axis that says what it was measured on."""
    told = on.summary if axis.slice == ALL and axis.name == ACCURACY else ""
    if not on.is_representative and not told:
        told = "not of traffic"
    summary = "; ".join(filter(None, (axis.summary, told)))
    return replace(axis, summary=summary, of_traffic=on.is_representative)


def accuracy(name: str, counts: Counts, gate: Gate, tests: Family | None, on: MeasuredOn) -> Axis:
    """Accuracy in one slice against its bar and against the champion."""
    if counts.cases < MIN_SLICE_CASES:
        return counts.too_few("task", name, MIN_SLICE_CASES)
    bar = gate.protected.get(name, SliceBar(min_accuracy=gate.min_accuracy, margin=gate.margin))
    barred = on.is_representative and (name == ALL or name in gate.protected)
    axis = counts.axis("task", ACCURACY, name, bar.min_accuracy if barred else None)
    if tests is None:
        # Neither a bar nor a champion is left to judge by.
        return axis if on.is_representative else replace(axis, passed=False, short=True)
    p, pairs = tests.adjusted[name], counts.pairs
    harmed = p < gate.alpha and no_worse(pairs, bar.margin) >= gate.alpha
    least = detectable(pairs, tests.critical[name])
    summary = (
        f"{axis.summary} ({counts.won} won, {counts.lost} lost, p of harm {p:.2g}); "
        f"{'harmed' if harmed else 'no harm shown'}, a loss of {least:.3f} would be found"
    )
    return replace(axis, p_value=p, passed=axis.passed and not harmed, summary=summary)


def unseen(name: str, seen: Sequence[str]) -> Axis:
    """A protected slice that no case is in: most often its name in model.yaml is not the data's."""
    axis = Counts.of([], name).too_few("task", name, MIN_SLICE_CASES)
    more = " …" if len(seen) > MOST_SEEN else ""
    told = f"seen are {', '.join(seen[:MOST_SEEN]) or 'no slices'}{more}"
    return replace(axis, summary=f"{axis.summary}; {told}: compare gate.protected in model.yaml")


def negative_flips(counts: Counts) -> Axis:
    """Cases that the champion got right and the candidate does not: what users will notice."""
    rate = counts.pairs.losses / counts.pairs.cases
    low, high = wilson(counts.pairs.losses, counts.pairs.cases)
    summary = f"{counts.lost} of {counts.cases} that were right are now wrong, {counts.won} mended"
    return Axis("task", NEGATIVE_FLIPS, ALL, counts.cases, rate, low, high, summary=summary)


def regression(tallies: Sequence[Tally], gate: Gate, table: Table | None) -> list[Axis]:
    """The frozen suite: at its bar, and not further below the champion than its margin."""
    if not tallies:
        return [no_cases("regression", "regression", gate)]
    counts = Counts.of(tallies, ALL)
    bar = gate.regression.min_accuracy
    if counts.champion is not None:
        bar = max(bar, counts.champion - gate.regression.margin)
    return [
        counts.axis("regression", ACCURACY, ALL, bar),
        *(
            Counts.of(tallies, name).axis("regression", ACCURACY, name)
            for name in large_slices(tallies)
        ),
        *(grades.regression_axes(table, large_slices(tallies), gate) if table else ()),
    ]


def probes(tallies: Sequence[Tally], gate: Gate) -> list[Axis]:
    """Behaviour: each kind is told; those of one family are judged together."""
    if not tallies:
        return [no_cases("probe", "probes", gate)]
    kinds: dict[str, list[Tally]] = defaultdict(list)
    for tally in tallies:
        kinds[tally.name.partition(":")[0]].append(tally)
    axes = []
    for kind, found in sorted(kinds.items()):
        axes.append(Counts.of(found, ALL).axis("probe", kind, ALL, gate.probes.min_pass))
        for name in sorted({tally.name for tally in found} - {kind}):
            inside = [tally for tally in found if tally.name == name]
            axes.append(Counts.of(inside, ALL).axis("probe", name))
    return axes


def no_cases(layer: Layer, suite: FrozenSuite, gate: Gate) -> Axis:
    """A suite that asked nothing: waived by model.yaml, or evidence that is lacking."""
    axis = Counts.of([], ALL).axis(layer, ACCURACY)
    if suite in gate.waived:
        return replace(axis, summary="not judged: waived by model.yaml, which has no cases for it")
    summary = f"0 cases: add some to {FILES[suite]}, or set gate.waived: [{suite}] in model.yaml"
    return replace(axis, passed=False, short=True, summary=summary)


@dataclass(frozen=True, slots=True)
class Counts:
    """Cases by who was right.

    Attributes:
        right: share, by weight.
        effective: cases of equal weight that tell as much (Kish 1965, Survey Sampling, 8.2).
        champion: its share; None without one.
        won, lost: cases that one of the two alone got right.
    """

    cases: int
    right: float
    effective: float
    champion: float | None
    pairs: Pairs
    won: int
    lost: int

    @classmethod
    def of(cls, tallies: Iterable[Tally], slice_name: str) -> Counts:
        """Of the cases in a slice."""
        found = [tally for tally in tallies if tally.inside(slice_name)]
        wins = [tally for tally in found if tally.right and tally.before is False]
        losses = [tally for tally in found if not tally.right and tally.before]
        total, squares = weight(found), weight(found, 2)
        paired = found and all(tally.before is not None for tally in found)
        return cls(
            cases=sum(tally.cases for tally in found),
            right=weight(tally for tally in found if tally.right) / total if found else 0.0,
            effective=total**2 / squares if found else 0.0,
            champion=weight(tally for tally in found if tally.before) / total if paired else None,
            pairs=Pairs.of_equal_weight(
                weight(wins), weight(losses), total, squares, weight([*wins, *losses], 2)
            ),
            won=sum(tally.cases for tally in wins),
            lost=sum(tally.cases for tally in losses),
        )

    def axis(
        self, layer: Layer, name: str, slice_name: str = ALL, bar: float | None = None
    ) -> Axis:
        """The share of right answers with its interval, against a bar."""
        low, high = wilson(self.right * self.effective, self.effective)
        summary = f"{self.right:.3f} of {self.cases} ({low:.3f} to {high:.3f})"
        if bar is not None:
            summary += f", wanted {bar:.3f}"
        difference = None
        if self.champion is not None:
            difference = self.pairs.difference
            summary += f"; champion {self.champion:.3f}, {difference:+.3f}"
        return Axis(
            layer=layer,
            name=name,
            slice=slice_name,
            cases=self.cases,
            value=self.right,
            low=low,
            high=high,
            champion=self.champion,
            difference=difference,
            threshold=bar,
            passed=bar is None or self.right >= bar - ROUNDING,
            summary=summary,
        )

    def too_few(self, layer: Layer, slice_name: str, wanted: int) -> Axis:
        """An axis that cannot be judged."""
        summary = f"{self.cases} held-out cases, at least {wanted} are needed"
        return replace(
            self.axis(layer, ACCURACY, slice_name), passed=False, short=True, summary=summary
        )


def weight(tallies: Iterable[Tally], power: int = 1) -> float:
    """Sum of the weights of all cases, or of their squares."""
    return sum(tally.cases * tally.weight**power for tally in tallies)


def judged_slices(tallies: Sequence[Tally], gate: Gate) -> list[str]:
    """The whole, the protected slices, and all others that are large enough."""
    return list(dict.fromkeys([ALL, *sorted(gate.protected), *large_slices(tallies)]))


def large_slices(tallies: Iterable[Tally]) -> list[str]:
    """Every `name=value` with enough cases."""
    return sorted(n for n, cases in slice_sizes(tallies).items() if cases >= MIN_SLICE_CASES)


def slice_sizes(tallies: Iterable[Tally]) -> Counter[str]:
    """Cases of every `name=value`. A name with `=` in it could not be read back."""
    sizes: Counter[str] = Counter()
    for tally in tallies:
        for name, value in tally.slices.items():
            if "=" not in name:
                sizes[f"{name}={value}"] += tally.cases
    return sizes


def harm_tests(
    tallies: Sequence[Tally], slices: Sequence[str], gate: Gate, table: Table | None
) -> Mapping[str, Family]:
    """Tests of harm in these slices as one family, by what is measured; none without a champion."""
    if any(tally.before is None for tally in tallies):
        return {}
    weights = {name: PROTECTED_WEIGHT if name in gate.protected else 1.0 for name in slices}
    if table is not None:
        return grades.harm_tests(table, slices, weights, gate)
    strata: dict[tuple[tuple[tuple[str, str], ...], float], list[Tally]] = defaultdict(list)
    for tally in tallies:
        if tally.right != tally.before:  # only those tell
            strata[tuple(sorted(tally.slices.items())), tally.weight].append(tally)
    grouped = list(strata.values())
    counts = [Counts.of(found, ALL) for found in grouped]
    found = family(
        [Pairs(found.cases, found.won, found.lost) for found in counts],
        {
            name: [row for row, found in enumerate(grouped) if found[0].inside(name)]
            for name in slices
        },
        weights,
        gate.alpha,
        [weight for _, weight in strata],
    )
    return {ACCURACY: found}


def in_words(result: Result, axes: Sequence[Axis], first: bool) -> str:
    """The verdict for people, by the axes that decided it."""
    verb = {"pass": "passes", "fail": "fails", "insufficient": "cannot be judged"}[result]
    told = "; ".join(f"{axis.title} {axis.summary}" for axis in axes[:MOST_WORDS])
    more = f"; and {len(axes) - MOST_WORDS} more" if len(axes) > MOST_WORDS else ""
    return f"{verb}{', without a champion to compare with' if first else ''}: {told}{more}"
