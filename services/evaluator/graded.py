"""Scores between 0 and 1 beside right and wrong: what they say of a candidate. Pure.

An answer of three fields of which two are right is as wrong as one without any, and a candidate
that loses a third of all fields may lose few whole answers. So where a task grades its answers,
each scorer has an axis of its own beside accuracy: the mean, and the mean difference to the
champion in the same cases. Harm is judged by it as by accuracy, in one family with it: a slice is
harmed by a scorer when its differences show that the candidate is worse (sign-flipping) and do not
show that the loss is within the margin (Student's t of the differences).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from driftgate.model_repo import Gate, SliceBar
from driftgate.slices import ALL, inside
from driftgate.suites import ACCURACY, MIN_SLICE_CASES, Layer
from services.evaluator.axis import Axis
from services.evaluator.statistics import (
    Family,
    detectable_mean,
    families,
    mean_interval,
    no_worse_mean,
)

STEPS = 1000
"""Scores count in thousandths: what the audit says is what is judged."""

ROUNDING = 1e-9

Thousandths = Sequence[int | None]
"""Scores of rows, None where a case has no such score."""


@dataclass(frozen=True, slots=True)
class Graded:
    """Cases of one layer with the same slices and weight, in columns: a row is cases that are
    alike in all that follows.

    Attributes:
        cases: of each row.
        right, before: whether candidate and champion were; None without a champion.
        scores, champion: by scorer; None without a champion.
    """

    layer: Layer
    slices: Mapping[str, str]
    weight: float
    cases: Sequence[int]
    right: Sequence[bool]
    before: Sequence[bool] | None
    scores: Mapping[str, Thousandths]
    champion: Mapping[str, Thousandths] | None


Fate = tuple[bool, bool | None, tuple[int | None, ...], tuple[int | None, ...]]
"""Of a case: whether candidate and champion were right, and their scores in thousandths."""


def columns(
    layer: Layer,
    slices: Mapping[str, str],
    weight: float,
    names: Sequence[str],
    fates: Counter[Fate],
) -> Graded:
    """Cases counted by fate, as columns. names: of the scorers, in the order of the scores."""
    rows = sorted(fates.items(), key=repr)
    paired = all(before is not None for (_, before, _, _), _ in rows)
    return Graded(
        layer=layer,
        slices=dict(slices),
        weight=weight,
        cases=[count for _, count in rows],
        right=[right for (right, _, _, _), _ in rows],
        before=[bool(before) for (_, before, _, _), _ in rows] if paired else None,
        scores={name: [now[at] for (_, _, now, _), _ in rows] for at, name in enumerate(names)},
        champion={name: [then[at] for (_, _, _, then), _ in rows] for at, name in enumerate(names)}
        if paired
        else None,
    )


@dataclass(frozen=True)
class Table:
    """The rows of one layer, one array for each column; NaN where a case has no such score."""

    strata: Sequence[Graded]

    @cached_property
    def sizes(self) -> list[int]:
        return [len(stratum.cases) for stratum in self.strata]

    @cached_property
    def cases(self) -> np.ndarray:
        return np.array([n for stratum in self.strata for n in stratum.cases], dtype=np.int64)

    @cached_property
    def weights(self) -> np.ndarray:
        return np.repeat([stratum.weight for stratum in self.strata], self.sizes)

    @property
    def is_paired(self) -> bool:
        return all(stratum.champion is not None for stratum in self.strata)

    @cached_property
    def scorers(self) -> list[str]:
        """By name: JSON of an audit may have them in another order than model.yaml."""
        return sorted({name for stratum in self.strata for name in stratum.scores})

    def inside(self, slice_name: str) -> np.ndarray:
        """Which rows belong to a slice."""
        return np.repeat([inside(s.slices, slice_name) for s in self.strata], self.sizes)

    def scores(self, scorer: str) -> np.ndarray:
        return self._joined([s.scores.get(scorer) for s in self.strata])

    def champion(self, scorer: str) -> np.ndarray:
        return self._joined([(s.champion or {}).get(scorer) for s in self.strata])

    def flips(self) -> np.ndarray:
        """Right less right before, of each row."""
        right = [float(r) for s in self.strata for r in s.right]
        return np.array(right) - [float(b) for s in self.strata for b in s.before or ()]

    def _joined(self, found: Sequence[Thousandths | None]) -> np.ndarray:
        sized = zip(found, self.sizes, strict=True)
        whole = ([None] * size if column is None else column for column, size in sized)
        steps = [np.nan if score is None else score for column in whole for score in column]
        return np.array(steps) / STEPS


@dataclass(frozen=True)
class Means:
    """Of the cases in a slice that have a score, by weight.

    Attributes:
        effective: cases of equal weight that tell as much (Kish 1965, Survey Sampling, 8.2).
        error: standard error of the difference. spread: the same, were the versions alike.
        better, worse: cases in which the candidate's score is higher, and lower.
    """

    cases: int
    mean: float
    low: float
    high: float
    effective: float
    champion: float | None = None
    difference: float | None = None
    error: float = 0.0
    spread: float = 0.0
    better: int = 0
    worse: int = 0

    @classmethod
    def of(cls, table: Table, scorer: str, slice_name: str = ALL) -> Means:
        """NaN for the mean where no case in the slice has a score."""
        now, then = table.scores(scorer), table.champion(scorer)
        kept = table.inside(slice_name) & ~np.isnan(now)
        paired = table.is_paired
        if paired:
            kept &= ~np.isnan(then)
        cases, weights, now, then = table.cases[kept], table.weights[kept], now[kept], then[kept]
        if not cases.sum():
            return cls(0, float("nan"), 0.0, 1.0, 0.0)
        heavy = cases * weights
        total, squares = float(heavy.sum()), float((heavy * weights).sum())
        effective = total**2 / squares
        mean = float(heavy @ now) / total
        low, high = mean_interval(mean, float(heavy @ (now - mean) ** 2) / total, effective)
        if not paired:
            return cls(int(cases.sum()), mean, low, high, effective)
        gain = now - then
        difference = float(heavy @ gain) / total
        off = float((heavy * weights) @ (gain - difference) ** 2)
        unbiased = effective / (effective - 1) if effective > 1 else 1.0
        return cls(
            cases=int(cases.sum()),
            mean=mean,
            low=low,
            high=high,
            effective=effective,
            champion=float(heavy @ then) / total,
            difference=difference,
            error=(off * unbiased) ** 0.5 / total,
            spread=float((heavy * weights) @ gain**2) ** 0.5 / total,
            better=int(cases[gain > 0].sum()),
            worse=int(cases[gain < 0].sum()),
        )

    def axis(self, layer: Layer, scorer: str, slice_name: str, bar: float | None = None) -> Axis:
        """The mean with its interval, against a bar."""
        summary = f"mean {self.mean:.3f} of {self.cases} ({self.low:.3f} to {self.high:.3f})"
        if bar is not None:
            summary += f", wanted {bar:.3f}"
        if self.champion is not None:
            summary += f"; champion {self.champion:.3f}, {self.difference:+.3f}"
        return Axis(
            layer=layer,
            name=scorer,
            slice=slice_name,
            cases=self.cases,
            value=self.mean,
            low=self.low,
            high=self.high,
            champion=self.champion,
            difference=self.difference,
            threshold=bar,
            passed=bar is None or self.mean >= bar - ROUNDING,
            summary=summary,
            graded=True,
        )


def harm_tests(
    table: Table,
    slices: Sequence[str],
    slice_weights: Mapping[str, float],
    gate: Gate,
) -> dict[str, Family]:
    """Tests of harm by accuracy and by each scorer, in these slices, as one family."""
    gains = {scorer: table.scores(scorer) - table.champion(scorer) for scorer in table.scorers}
    differences = {ACCURACY: table.flips()} | {name: np.nan_to_num(d) for name, d in gains.items()}
    members = {name: np.flatnonzero(table.inside(name)).tolist() for name in slices}
    return families(differences, table.cases, table.weights, members, slice_weights, gate.alpha)


def task_axes(
    table: Table, slices: Sequence[str], gate: Gate, tests: Mapping[str, Family]
) -> list[Axis]:
    """Of held-out cases: by scorer, in each slice with enough of them."""
    axes = []
    for scorer in table.scorers:
        for name in slices:
            means = Means.of(table, scorer, name)
            if means.cases >= MIN_SLICE_CASES:
                told = means.axis("task", scorer, name)
                axes.append(harm(told, means, gate, tests[scorer]) if tests else told)
    return axes


def harm(axis: Axis, means: Means, gate: Gate, tests: Family) -> Axis:
    """One scorer in one slice, against the champion."""
    bar = gate.protected.get(axis.slice, SliceBar(margin=gate.margin))
    p = tests.adjusted[axis.slice]
    within = no_worse_mean(means.difference or 0.0, means.error, means.effective, bar.margin)
    harmed = p < gate.alpha and within >= gate.alpha
    least = detectable_mean(means.spread, means.effective, tests.critical[axis.slice])
    summary = (
        f"{axis.summary} ({means.better} better, {means.worse} worse, p of harm {p:.2g}); "
        f"{'harmed' if harmed else 'no harm shown'}, a loss of {least:.3f} would be found"
    )
    return replace(axis, p_value=p, passed=not harmed, summary=summary)


def regression_axes(table: Table, slices: Sequence[str], gate: Gate) -> list[Axis]:
    """Of the frozen suite: by scorer, no further below the champion than its margin; told for
    slices."""
    axes = []
    for scorer in table.scorers:
        whole = Means.of(table, scorer)
        bar = None if whole.champion is None else max(0.0, whole.champion - gate.regression.margin)
        axes.append(whole.axis("regression", scorer, ALL, bar))
        for name in slices:
            means = Means.of(table, scorer, name)
            if means.cases >= MIN_SLICE_CASES:
                axes.append(means.axis("regression", scorer, name))
    return [axis for axis in axes if axis.cases]


def tables(graded: Sequence[Graded]) -> dict[Layer, Table]:
    """By layer; the order of `graded` does not matter."""
    strata: dict[Layer, list[Graded]] = defaultdict(list)
    for stratum in sorted(graded, key=lambda g: (sorted(g.slices.items()), g.weight)):
        strata[stratum.layer].append(stratum)
    return {layer: Table(found) for layer, found in strata.items()}
