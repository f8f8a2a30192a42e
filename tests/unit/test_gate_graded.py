"""Scores between 0 and 1 in the gate, held against values that are computed in another way."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from driftgate.model_repo import Gate
from driftgate.shares import wilson
from driftgate.suites import Case
from services.evaluator import exam
from services.evaluator.axis import Axis
from services.evaluator.exam import Result
from services.evaluator.gate import GateResult, judge
from services.evaluator.graded import Graded, Means, Table
from services.evaluator.statistics import families, mean_interval, no_worse_mean
from services.evaluator.weighting import ALIKE, MeasuredOn, Weighing

GATE = Gate.model_validate(
    {
        "min_accuracy": 0.3,
        "margin": 0.02,
        "protected": {"language=es": {"min_accuracy": 0.3, "margin": 0.02}},
        "waived": ["regression", "probes"],
    }
)
SEEDS = 40
EVEN = np.ones(10)
FEW = np.array([-0.4, -0.31, 0.12, -0.25, 0.05, -0.5, -0.02, 0.2, -0.33, -0.11])


# ---------------------------------------------------------------- statistics


def test_one_measure_of_all_cases_is_the_permutation_test_of_scipy() -> None:
    found = families({"f1": FEW}, EVEN.astype(int), EVEN, {"all": range(10)}, {"all": 1.0}, 0.05)
    exact = stats.permutation_test(
        (FEW, np.zeros(10)), lambda a, b: np.mean(a - b), permutation_type="samples",
        alternative="less", n_resamples=np.inf,
    )  # fmt: skip
    assert found["f1"].adjusted["all"] == pytest.approx(exact.pvalue, abs=0.008)


def test_measures_and_slices_are_one_family_of_flipped_signs() -> None:
    """Westfall and Young over all 1,024 signs, written out."""
    flips = np.array([-1, 0, 0, -1, 0, -1, 0, 1, -1, 0])
    weights = np.array([1, 2, 1, 1, 0.5, 1, 1, 2, 1, 1])
    measures = {"accuracy": flips.astype(float), "f1": FEW}
    members = {"all": list(range(10)), "es": [0, 3, 5, 8]}
    shares = {"all": 1.0, "es": 4.0}

    def p_values(signs: np.ndarray) -> dict[tuple[str, str], float]:
        found = {}
        for measure, slice_name in itertools.product(measures, members):
            d = (weights * measures[measure])[members[slice_name]]
            z = (d * signs[members[slice_name]]).sum() / np.sqrt((d**2).sum())
            found[measure, slice_name] = stats.norm.cdf(z) / shares[slice_name]
        return found

    smallest = [min(p_values(np.array(s)).values()) for s in itertools.product((1, -1), repeat=10)]
    found = families(measures, EVEN.astype(int), weights, members, shares, 0.05)
    for (measure, slice_name), p in p_values(EVEN).items():
        exact = np.mean(np.array(smallest) <= p + 1e-12)
        assert found[measure].adjusted[slice_name] == pytest.approx(exact, abs=0.02)


def test_cases_that_are_alike_count_as_if_each_stood_alone() -> None:
    gain, members, even = np.array([-0.3, 0.2]), {"all": [0, 1]}, {"all": 1.0}
    told = families({"f1": gain}, np.array([9, 4]), np.ones(2), members, even, 0.05)
    alone = np.repeat(gain, [9, 4])
    written = families(
        {"f1": alone}, np.ones(13, dtype=int), np.ones(13), {"all": range(13)}, even, 0.05
    )
    found = told["f1"].adjusted["all"]
    assert found == pytest.approx(written["f1"].adjusted["all"], abs=0.02)


def test_equal_versions_alarm_in_a_share_alpha_however_skewed_the_scores_are() -> None:
    draw, members = np.random.default_rng(3), {"all": range(60), "es": range(20)}
    alarms = 0
    for _ in range(200):
        pair = draw.beta(0.4, 0.1, (2, 60)).round(3)
        right = (pair > 0.9).astype(float)
        gains = {"accuracy": right[0] - right[1], "f1": pair[0] - pair[1]}
        found = families(
            gains, np.ones(60, dtype=int), np.ones(60), members, {"all": 1.0, "es": 4.0}, 0.05
        )
        alarms += min(p for f in found.values() for p in f.adjusted.values()) < 0.05
    assert alarms <= 0.08 * 200


def test_the_interval_of_scores_that_are_0_or_1_is_wilsons() -> None:
    assert mean_interval(0.9, 0.09, 50) == pytest.approx(wilson(45, 50))
    assert mean_interval(1.0, 0.0, 50) == wilson(50, 50)
    assert mean_interval(0.0, 0.0, 0) == (0.0, 1.0)


def test_the_interval_of_graded_scores_is_narrower_and_still_holds_the_mean() -> None:
    draw, held, truth = np.random.default_rng(5), 0, 8 / 10
    for _ in range(400):
        scores = draw.beta(4, 1, 60)
        low, high = mean_interval(float(scores.mean()), float(scores.var()), 60)
        held += low <= truth <= high
        assert high - low < np.diff(wilson(60 * scores.mean(), 60))[0]
    assert held >= 0.93 * 400


def test_what_is_within_the_margin_is_students_t_of_the_differences() -> None:
    error = FEW.std(ddof=1) / np.sqrt(10)
    exact = stats.ttest_1samp(FEW, -0.1, alternative="greater").pvalue
    assert no_worse_mean(float(FEW.mean()), float(error), 10, 0.1) == pytest.approx(exact)
    assert no_worse_mean(0.0, 0.0, 10, 0.02) == 0.0  # all alike: nothing is lost
    assert no_worse_mean(-0.1, 0.0, 10, 0.02) == 1.0


def test_weights_hold_for_means_differences_and_their_errors() -> None:
    now, then, weights = [500, 1000, 250, 750], [750, 1000, 500, 500], [2.0, 2.0, 0.5, 0.5]
    strata = [
        Graded("task", {}, w, [1], [False], [False], {"f1": [a]}, {"f1": [b]})
        for a, b, w in zip(now, then, weights, strict=True)
    ]
    means = Means.of(Table(strata), "f1")
    gain, share = np.subtract(now, then) / 1000, np.array(weights) / 5
    assert means.mean == pytest.approx(np.average(now, weights=weights) / 1000)
    assert means.difference == pytest.approx(np.average(gain, weights=weights))
    assert means.effective == pytest.approx(25 / 8.5)
    spread = np.sqrt((share**2 * (gain - share @ gain) ** 2).sum())
    assert means.error == pytest.approx(spread * np.sqrt(means.effective / (means.effective - 1)))
    assert (means.better, means.worse, means.cases) == (1, 2, 4)


# ---------------------------------------------------------------- the gate

Fate = Callable[[random.Random, bool], tuple[bool, float, bool, float]]
"""Of a case, in Spanish or not: whether the candidate is right, its score; the champion's."""


def results(seed: int, fate: Fate, cases: int = 320, layer: Any = "task") -> list[Result]:
    draw = random.Random(seed)
    found = []
    for number in range(cases):
        spanish = number % 4 == 0
        right, now, before, then = fate(draw, spanish)
        case = Case(
            layer, "accuracy", str(number), "x", "y", slices={"language": "es" if spanish else "en"}
        )
        found.append(Result(case, "a", right, "b", before, {"f1": now}, {"f1": then}))
    return found


def alike(draw: random.Random, spanish: bool) -> tuple[bool, float, bool, float]:
    """Three fields each; the versions differ by chance."""
    now, then = (sum(draw.random() < 0.9 for _ in range(3)) / 3 for _ in range(2))
    return now == 1, now, then == 1, then


def fewer_fields(draw: random.Random, spanish: bool) -> tuple[bool, float, bool, float]:
    """Of Spanish answers that are wrong anyway the candidate gets two fields less."""
    right, now, before, then = alike(draw, spanish)
    if spanish and not right:
        return right, max(0.0, now - 2 / 3), before, then
    return right, now, before, then


def weigh(found: list[Result]) -> Weighing:
    return Weighing({result.case.id: 1.0 for result in found}, ALIKE)


def verdict(found: list[Result], scored: bool = True, gate: Gate = GATE) -> GateResult:
    weighing = weigh(found)
    scores = exam.graded(found, weighing) if scored else []
    return judge(exam.tallies(found, weighing), gate, weighing.on, scores)


def axis(said: GateResult, name: str, slice_name: str = "all", layer: str = "task") -> Axis:
    (found,) = [a for a in said.axes if (a.layer, a.name, a.slice) == (layer, name, slice_name)]
    return found


def stopped(fate: Fate, scored: bool = True) -> float:
    """Share of draws in which the candidate does not pass."""
    found = (verdict(results(seed, fate), scored) for seed in range(SEEDS))
    return sum(said.result != "pass" for said in found) / SEEDS


def test_an_axis_tells_mean_interval_champion_and_difference() -> None:
    found = results(1, alike)
    told = axis(verdict(found), "f1", "language=es")
    spanish = [r for r in found if r.case.slices["language"] == "es"]
    now = np.round([r.scores["f1"] for r in spanish], 3)
    then = np.round([r.scores_before["f1"] for r in spanish], 3)
    assert (told.cases, told.graded) == (80, True)
    assert told.value == pytest.approx(now.mean())
    assert told.champion == pytest.approx(then.mean())
    assert told.difference == pytest.approx((now - then).mean())
    assert told.low < told.value < told.high
    assert told.summary.startswith(f"mean {now.mean():.3f} of 80 ({told.low:.3f} to ")
    assert "better" in told.summary and "p of harm" in told.summary


def test_harm_that_exact_match_hides_is_found() -> None:
    assert stopped(fewer_fields, scored=False) <= 0.1
    assert stopped(fewer_fields) >= 0.9
    said = verdict(results(1, fewer_fields))
    assert said.result == "fail"
    assert not axis(said, "f1", "language=es").passed
    assert axis(said, "f1", "language=en").passed
    assert "task f1 in language=es" in said.summary


def test_an_equal_candidate_passes_as_often_as_without_scores() -> None:
    assert stopped(alike) <= 0.1


def test_harm_to_right_answers_is_found_though_scores_say_nothing() -> None:
    def fewer_right(draw: random.Random, spanish: bool) -> tuple[bool, float, bool, float]:
        before = draw.random() < 0.9
        right = before and not (spanish and draw.random() < 0.22)
        return right, draw.random(), before, draw.random()

    assert stopped(fewer_right) >= 0.9 * stopped(fewer_right, scored=False) > 0.8


def test_a_loss_within_the_margin_is_no_harm() -> None:
    def a_little(draw: random.Random, spanish: bool) -> tuple[bool, float, bool, float]:
        return True, 0.99, True, 1.0

    told = axis(verdict(results(1, a_little)), "f1")
    assert told.p_value is not None and told.p_value < 0.001
    assert told.passed and "no harm shown" in told.summary


def test_the_audit_replays_the_verdict_in_any_order_and_stays_small() -> None:
    def fine(draw: random.Random, spanish: bool) -> tuple[bool, float, bool, float]:
        return draw.random() < 0.5, draw.random(), draw.random() < 0.5, draw.random()

    found = [
        replace(r, scores={**r.scores, "a": 1.0}, scores_before={**r.scores_before, "a": 0.5})
        for r in results(2, fine, cases=600)
    ]
    weighing = weigh(found)
    tallies, graded = exam.tallies(found, weighing), exam.graded(found, weighing)
    told = json.dumps([asdict(stratum) for stratum in graded], sort_keys=True)
    assert len(told) < 30_000
    again = [Graded(**stratum) for stratum in reversed(json.loads(told))]
    assert judge(tallies, GATE, ALIKE, again) == judge(tallies, GATE, ALIKE, graded)


def test_without_a_champion_scores_are_told() -> None:
    found = [Result(r.case, "a", r.right, None, None, r.scores) for r in results(1, alike)]
    said = verdict(found)
    told = axis(said, "f1", "language=es")
    assert said.result == "pass"
    assert (told.champion, told.p_value, told.threshold, told.passed) == (None, None, None, True)


def test_rows_that_complain_give_scores_that_are_not_of_traffic() -> None:
    found = results(1, alike)
    weighing = Weighing(weigh(found).weights, MeasuredOn(is_representative=False, summary="of few"))
    scores = exam.graded(found, weighing)
    told = axis(judge(exam.tallies(found, weighing), GATE, weighing.on, scores), "f1")
    assert not told.of_traffic and told.summary.endswith("not of traffic")


def test_frozen_cases_keep_their_scores_within_the_margin() -> None:
    def worse(draw: random.Random, spanish: bool) -> tuple[bool, float, bool, float]:
        return True, 0.8, True, 0.9

    frozen = results(1, worse, cases=40, layer="regression")
    said = verdict([*results(2, alike), *frozen])
    told = axis(said, "f1", layer="regression")
    assert (said.result, told.passed) == ("fail", False)
    assert told.threshold == pytest.approx(0.9 - GATE.regression.margin)
    assert axis(said, "accuracy", layer="regression").passed


def test_a_case_without_a_score_counts_for_accuracy_alone() -> None:
    found = results(1, alike)
    own = [Result(r.case, "a", r.right, "b", r.right_before) for r in found[:200]]
    said = verdict([*own, *found[200:]])
    assert (axis(said, "accuracy").cases, axis(said, "f1").cases) == (320, 120)
