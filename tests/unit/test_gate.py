"""The gate stops harm and lets equals pass, whatever the luck of the draw."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from typing import Any

import pytest

from driftgate.model_repo import Gate, SliceBar
from services.evaluator.axis import Axis
from services.evaluator.gate import GateResult, Tally, judge

SEEDS = 60
GATE = Gate.model_validate(
    {
        "min_accuracy": 0.8,
        "margin": 0.02,
        "alpha": 0.05,
        "min_cases": 80,
        "protected": {"language=es": {"min_accuracy": 0.7, "margin": 0.05}},
        "regression": {"min_accuracy": 0.85, "margin": 0.05},
        "probes": {"min_pass": 0.8},
        "waived": ["regression", "probes"],
    }
)
UNPROTECTED = GATE.model_copy(update={"protected": {}})
UNWAIVED = UNPROTECTED.model_copy(update={"waived": []})


def held_out(
    seed: int,
    harm: dict[str, float] | None = None,
    *,
    cases: int = 320,
    accuracy: float = 0.92,
    differ: float = 0.08,
    champion: bool = True,
) -> list[Tally]:
    """Held-out cases in two languages (a quarter es) and four shops. The two versions are alike,
    but differ by chance in a share `differ`; the candidate loses a share `harm` in a slice."""
    draw = random.Random(seed)
    fates: Counter[Any] = Counter()
    for number in range(cases):
        slices = {"language": "es" if number % 4 == 0 else "en", "shop": str(number // 4 % 4)}
        before = right = draw.random() < accuracy
        if draw.random() < differ:
            right = draw.random() < 0.5
            before = not right
        for place, share in (harm or {}).items():
            name, _, value = place.partition("=")
            if slices[name] == value and draw.random() < share:
                right = False
        fates[tuple(slices.items()), right, before if champion else None] += 1
    return [Tally("task", "accuracy", dict(s), r, b, n) for (s, r, b), n in fates.items()]


def cases(layer: Any, name: str, right: int, wrong: int, before: int | None = None) -> list[Tally]:
    """Cases of another layer, the champion right in the first `before` of them."""
    fates = Counter(
        (at < right, None if before is None else at < before) for at in range(right + wrong)
    )
    return [Tally(layer, name, {}, now, then, n) for (now, then), n in fates.items()]


def axis(verdict: GateResult, layer: str, name: str, slice_name: str = "all") -> Axis:
    (found,) = [a for a in verdict.axes if (a.layer, a.name, a.slice) == (layer, name, slice_name)]
    return found


def stopped(gate: Gate = GATE, **world: Any) -> float:
    """Share of draws in which the candidate does not pass."""
    return sum(judge(held_out(s, **world), gate).result != "pass" for s in range(SEEDS)) / SEEDS


def test_an_equal_candidate_passes_at_least_nine_times_in_ten() -> None:
    assert stopped() <= 0.1


def test_an_equal_candidate_passes_though_the_versions_differ_much() -> None:
    assert stopped(differ=0.15, accuracy=0.95) <= 0.1


def test_a_loss_of_twenty_points_in_one_slice_of_eighty_is_found() -> None:
    assert stopped(UNPROTECTED, harm={"shop=2": 0.2}) >= 0.8


def test_the_harmed_slice_is_the_one_that_is_named() -> None:
    verdict = judge(held_out(1, {"shop=2": 0.3}), UNPROTECTED)
    assert not axis(verdict, "task", "accuracy", "shop=2").passed
    assert axis(verdict, "task", "accuracy", "shop=1").passed
    assert "task accuracy in shop=2" in verdict.summary


def test_a_spoilt_protected_slice_fails_by_its_bar_and_by_harm() -> None:
    verdict = judge(held_out(2, {"language=es": 0.5}), GATE)
    es = axis(verdict, "task", "accuracy", "language=es")
    assert verdict.result == "fail"
    assert (es.passed, es.threshold) == (False, 0.7)
    assert es.p_value is not None and es.p_value < 0.001
    assert "language=es" in verdict.summary


def test_a_protected_slice_is_watched_more_closely_than_others() -> None:
    world: dict[str, Any] = {"harm": {"language=es": 0.1}}
    assert stopped(GATE, **world) > stopped(UNPROTECTED, **world)


def test_a_small_loss_within_the_margin_passes_when_the_cases_show_it() -> None:
    wide = GATE.model_copy(update={"margin": 0.03, "protected": {}})
    loss = cases("task", "accuracy", 8990, 1010, before=9080)
    verdict = judge(loss, wide)
    assert axis(verdict, "task", "accuracy").p_value < 0.01  # it is worse, beyond doubt
    assert verdict.result == "pass"
    assert judge(loss, wide.model_copy(update={"margin": 0.005})).result == "fail"


def test_a_candidate_far_better_than_a_drifted_champion_passes() -> None:
    better = cases("task", "accuracy", 270, 30, before=150)
    frozen = cases("regression", "accuracy", 80, 5, before=82)
    verdict = judge([*better, *frozen], UNPROTECTED)
    assert verdict.result == "pass"
    assert axis(verdict, "task", "accuracy").difference == pytest.approx(0.4)


def test_below_the_bar_fails_even_when_better_than_the_champion() -> None:
    verdict = judge(cases("task", "accuracy", 150, 150, before=90), UNPROTECTED)
    assert verdict.result == "fail"
    assert "wanted 0.800" in verdict.summary


def test_a_first_release_is_judged_by_bars_alone() -> None:
    verdict = judge(held_out(3, champion=False), GATE)
    assert verdict.result == "pass"
    assert "without a champion" in verdict.summary
    assert all((a.champion, a.difference, a.p_value) == (None, None, None) for a in verdict.axes)
    assert not [a for a in verdict.axes if a.name == "negative flips"]
    assert judge(held_out(3, accuracy=0.7, champion=False), GATE).result == "fail"


def test_too_few_cases_are_neither_pass_nor_fail() -> None:
    verdict = judge(held_out(4, cases=79, accuracy=0.5), GATE)
    assert verdict.result == "insufficient"
    assert "79 held-out cases, at least 80 are needed" in verdict.summary
    assert judge([], GATE).result == "insufficient"


def test_a_protected_slice_that_no_case_has_is_told_with_those_that_are_there() -> None:
    gate = GATE.model_copy(update={"protected": {"language=spanish": SliceBar()}})
    verdict = judge(held_out(1), gate)
    assert verdict.result == "insufficient"
    assert "task accuracy in language=spanish" in verdict.summary
    assert "seen are language=en, language=es, shop=0" in verdict.summary


def test_a_protected_slice_without_enough_cases_is_insufficient() -> None:
    english = cases("task", "accuracy", 290, 10, before=290)
    verdict = judge(english, GATE)
    assert verdict.result == "insufficient"
    assert "language=es 0 held-out cases" in verdict.summary


def test_what_fails_elsewhere_fails_whatever_the_number_of_held_out_cases() -> None:
    broken = cases("regression", "accuracy", 40, 45)
    assert judge([*held_out(5, cases=40, champion=False), *broken], GATE).result == "fail"


def test_regression_may_fall_below_the_champion_by_its_margin_only() -> None:
    task = cases("task", "accuracy", 290, 10, before=290)
    for right, result in ((81, "pass"), (78, "fail")):
        frozen = cases("regression", "accuracy", right, 85 - right, before=85)
        verdict = judge([*task, *frozen], UNPROTECTED)
        assert verdict.result == result
        assert axis(verdict, "regression", "accuracy").threshold == pytest.approx(0.95)


def test_a_kind_of_probe_that_fails_is_not_hidden_by_the_others() -> None:
    task = cases("task", "accuracy", 290, 10, before=290)
    many = cases("probe", "invariance:typo", 150, 0, before=150)
    lost = cases("probe", "minimum", 12, 6, before=18)
    verdict = judge([*task, *many, *lost], UNPROTECTED)
    assert not axis(verdict, "probe", "minimum").passed
    assert axis(verdict, "probe", "invariance").passed
    assert axis(verdict, "probe", "invariance:typo").threshold is None
    assert verdict.result == "fail"


def test_negative_flips_and_the_least_loss_that_would_be_found_are_told() -> None:
    verdict = judge(cases("task", "accuracy", 285, 15, before=290), UNPROTECTED)
    flips = axis(verdict, "task", "negative flips")
    assert flips.value == pytest.approx(5 / 300)
    assert "5 of 300 that were right are now wrong" in flips.summary
    assert "would be found" in axis(verdict, "task", "accuracy").summary


def test_small_slices_are_left_to_the_whole() -> None:
    few = [Tally("task", "accuracy", {"shop": "new"}, False, True, 19)]
    verdict = judge([*held_out(6, cases=4000), *few], UNPROTECTED)
    assert "shop=new" not in {a.slice for a in verdict.axes}


def test_slices_with_odd_names_do_no_harm() -> None:
    odd = [
        Tally("task", "accuracy", {"a=b": "c", "url": "x=y", "": "\x01"}, right, True, n)
        for right, n in ((True, 200), (False, 2))
    ]
    verdict = judge(odd, UNPROTECTED)
    assert verdict.result == "pass"
    assert axis(verdict, "task", "accuracy", "url=x=y").cases == 202


def test_the_verdict_does_not_depend_on_the_order_of_cases() -> None:
    world = held_out(7, {"shop=1": 0.1})
    shuffled = random.Random(0).sample(world, len(world))
    assert judge(world, GATE) == judge(shuffled, GATE)


@pytest.mark.parametrize(
    ("layer", "suite", "file"),
    [("regression", "regression", "regression.jsonl"), ("probe", "probes", "probes.yaml")],
)
def test_a_suite_without_cases_is_too_little_evidence_unless_it_is_waived(
    layer: str, suite: str, file: str
) -> None:
    others = [
        *cases("task", "accuracy", 290, 10),
        *cases("regression", "accuracy", 80, 0),
        *cases("probe", "minimum", 12, 0),
    ]
    lacking = [tally for tally in others if tally.layer != layer]
    assert judge(others, UNWAIVED).result == "pass"
    verdict = judge(lacking, UNWAIVED)
    assert verdict.result == "insufficient"
    assert file in verdict.summary and f"gate.waived: [{suite}]" in verdict.summary
    waived = judge(lacking, UNWAIVED.model_copy(update={"waived": [suite]}))
    assert waived.result == "pass"
    assert f"{layer} accuracy not judged: waived by model.yaml" in waived.summary
    assert axis(waived, layer, "accuracy").cases == 0


def test_the_cases_of_a_waived_suite_are_judged_all_the_same() -> None:
    task = cases("task", "accuracy", 290, 10)
    assert judge([*task, *cases("regression", "accuracy", 40, 45)], GATE).result == "fail"


def test_a_lacking_suite_hides_no_failure() -> None:
    assert judge(cases("task", "accuracy", 150, 150), UNWAIVED).result == "fail"


def test_verdicts_on_labels_stay_as_they_were_given() -> None:
    """Byte by byte: who replays an old audit gets what it says."""
    verdict = judge(held_out(7, {"language=es": 0.2}), UNPROTECTED)
    told = json.dumps([axis.event() for axis in verdict.axes], sort_keys=True) + verdict.summary
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "c94ff8ff02153e70"
