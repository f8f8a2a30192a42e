"""Held-out cases that people chose by giving feedback: what the gate makes of them. The champion,
which is heard, is right in 90 % of answers, and the two versions differ on 8 % of requests."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from driftgate.events import DAY_MS
from driftgate.model_repo import Feedback, Gate, SliceBar
from driftgate.suites import SILENCE, Case, Obtained
from services.evaluator import exam
from services.evaluator.axis import Axis
from services.evaluator.exam import Result
from services.evaluator.gate import GateResult, judge
from services.evaluator.weighting import Dataset, Weighing, weigh

NOW = 1_767_571_200_000
GATE = Gate.model_validate(
    {"min_accuracy": 0.8, "margin": 0.02, "waived": ["regression", "probes"]}
)
ANSWERS = 2000
SEEDS = 60

Told = Callable[[random.Random, bool], Obtained | None]


def obtained(right: bool, word: str = "correction", **more: Any) -> Obtained:
    return Obtained(NOW - 10 * DAY_MS, True, word, heard_right=right, **more)


def labels(rng: random.Random, right: bool) -> Obtained | None:
    return obtained(right) if rng.random() < 0.3 else None


def complaints(rng: random.Random, right: bool) -> Obtained | None:
    return obtained(right) if rng.random() < (0.2 if right else 0.6) else None


def corrections(rng: random.Random, right: bool) -> Obtained | None:
    return obtained(right, SILENCE) if right else obtained(right)


def thumbs(rng: random.Random, right: bool) -> Obtained | None:
    """What should have been answered is told by no thumb down."""
    return obtained(right, "rating") if right and rng.random() < 0.3 else None


def reviewed(share: float, others: Told) -> Told:
    def told(rng: random.Random, right: bool) -> Obtained | None:
        said = others(rng, right)
        return obtained(right, "review", propensity=share) if rng.random() < share else said

    return told


def world(seed: int, told: Told, harm: float = 0.0) -> list[Result]:
    """Cases with their fates; the candidate loses `harm` more than it wins."""
    rng, found = random.Random(seed), []
    for number in range(ANSWERS):
        before = rng.random() < 0.9
        right = rng.random() >= (0.04 + harm) / 0.9 if before else rng.random() < 0.4
        how = told(rng, before)
        if how is not None:
            slices = {"language": "es" if number % 4 == 0 else "en"}
            case = Case("task", "accuracy", str(number), "t", "x", slices=slices, obtained=how)
            found.append(Result(case, "x", right, "y", before))
    return found


def dataset(found: list[Result], reviews: int = 0) -> Dataset:
    """What the store knows of the time: also the reviews of those who are not held out."""
    wrong = round(reviews * 0.1)
    share = wrong / reviews if reviews else None
    return Dataset(NOW - 56 * DAY_MS, NOW - 3 * DAY_MS, reviews, share)


def weighed(
    found: list[Result], profile: list[str], reviews: int = 0, gate: Gate = GATE
) -> Weighing:
    feedback = Feedback.model_validate({"profile": profile})
    return weigh([r.case for r in found], feedback, dataset(found, reviews), gate)


def judged(
    found: list[Result], profile: list[str], reviews: int = 0, gate: Gate = GATE
) -> GateResult:
    weighing = weighed(found, profile, reviews, gate)
    return judge(exam.tallies(found, weighing), gate, weighing.on)


def accuracy(verdict: GateResult) -> Axis:
    (found,) = [a for a in verdict.axes if (a.name, a.slice) == ("accuracy", "all") and a.cases]
    return found


PROFILES: dict[str, tuple[list[str], Told, int]] = {
    "labels": (["labels"], labels, 0),
    "review": (["complaints", "review"], reviewed(0.1, complaints), 800),
    "rates": (["complaints", "review"], reviewed(0.02, complaints), 160),
    "silence": (["corrections"], corrections, 0),
}


@pytest.mark.parametrize("name", PROFILES)
def test_accuracies_and_their_difference_are_those_of_all_answers(name: str) -> None:
    profile, told, reviews = PROFILES[name]
    axes = [accuracy(judged(world(seed, told), profile, reviews)) for seed in range(SEEDS)]
    differences = [axis.difference or 0.0 for axis in axes]
    assert sum(differences) / SEEDS == pytest.approx(0.0, abs=0.006)
    assert sum(axis.value for axis in axes) / SEEDS == pytest.approx(0.9, abs=0.01)
    assert sum(axis.champion or 0.0 for axis in axes) / SEEDS == pytest.approx(0.9, abs=0.01)
    assert all(axis.of_traffic for axis in axes)


@pytest.mark.parametrize("name", PROFILES)
def test_an_equal_candidate_passes_and_one_that_is_ten_points_worse_does_not(name: str) -> None:
    profile, told, reviews = PROFILES[name]
    passes = [judged(world(s, told), profile, reviews).result == "pass" for s in range(SEEDS)]
    assert sum(passes) >= 0.85 * SEEDS  # 0.957 to 0.987 of 300 others
    harmed = [judged(world(s, told, 0.1), profile, reviews).result for s in range(SEEDS)]
    assert harmed.count("fail") >= (0.6 if name == "review" else 0.9) * SEEDS


def test_complaints_alone_claim_nothing_and_stop_what_is_worse_even_so() -> None:
    equal = [judged(world(s, complaints), ["complaints"]) for s in range(SEEDS)]
    for verdict in equal:
        axis = accuracy(verdict)
        assert (axis.threshold, axis.of_traffic) == (None, False)
        assert "accuracy is not that of traffic" in axis.summary
        assert (axis.difference or 0) > 0.02, "so it would look, were it claimed"
    assert all(verdict.result == "pass" for verdict in equal)
    worse = [judged(world(s, complaints, 0.3), ["complaints"]).result for s in range(SEEDS)]
    assert worse.count("fail") >= 0.95 * SEEDS


def test_a_first_release_is_not_judged_by_complaints_alone() -> None:
    found = [Result(r.case, r.answer, r.right, None, None) for r in world(1, complaints)]
    verdict = judged(found, ["complaints"])
    assert verdict.result == "insufficient"
    assert "accuracy is not that of traffic" in verdict.summary


def test_thumbs_alone_are_no_cases() -> None:
    verdict = judged(world(1, thumbs), ["thumbs"])
    assert verdict.result == "insufficient"
    assert "insufficient evidence in" in verdict.summary


def test_seed_rows_and_reviews_count_beside_thumbs_that_do_not() -> None:
    found = world(1, reviewed(0.1, thumbs))
    seeds = [
        Result(Case("task", "accuracy", f"s{n}", "t", "x"), "x", True, "x", True) for n in range(50)
    ]
    weighing = weighed([*found, *seeds], ["thumbs", "review"], 0)
    drawn = [r for r in found if r.case.obtained.propensity]
    assert len(weighing.weights) == len(drawn) + 50
    assert weighing.on.is_representative


def test_reviews_of_different_shares_stand_for_different_numbers() -> None:
    found = world(1, reviewed(0.1, complaints)) + [
        Result(
            Case(
                "task",
                "accuracy",
                f"n{n}",
                "t",
                "x",
                obtained=obtained(True, "review", propensity=0.02),
            ),
            "x",
            True,
            "x",
            True,
        )
        for n in range(20)
    ]
    weights = weighed(found, ["complaints", "review"], 800).weights
    assert weights["n1"] == pytest.approx(5 * min(weights.values()))
    assert sum(weights.values()) == pytest.approx(len(weights))


def test_where_silence_counts_what_had_no_time_for_an_objection_is_no_case() -> None:
    found = world(1, corrections)
    fresh = Obtained(NOW - DAY_MS, True, "correction", heard_right=False)
    old = Obtained(NOW - 90 * DAY_MS, True, "correction", heard_right=False)
    late = [
        Result(Case("task", "accuracy", name, "t", "x", obtained=how), "x", True, "y", False)
        for name, how in (("fresh", fresh), ("old", old))
    ]
    weights = weighed([*found, *late], ["corrections"]).weights
    assert not {"fresh", "old"} & set(weights)
    assert len(weights) == len(found)


def test_reviews_that_are_too_few_in_a_protected_slice_are_not_the_only_cases() -> None:
    gate = GATE.model_copy(update={"protected": {"language=es": SliceBar()}})
    told = reviewed(0.05, complaints)
    found = next(w for seed in range(99) if len(es_reviews(w := world(seed, told))) < 20)
    assert judged(found, ["complaints", "review"], 400).result == "pass"
    verdict = judged(found, ["complaints", "review"], 400, gate)
    assert verdict.result == "pass"
    assert "weighted so that 10% of the answers heard were wrong" in verdict.measured_on


def es_reviews(found: list[Result]) -> list[Result]:
    drawn = [r for r in found if r.case.obtained.propensity]
    return [r for r in drawn if r.case.slices["language"] == "es"]


def test_few_reviews_do_not_tell_how_many_answers_are_wrong() -> None:
    found = world(1, complaints)
    assert weighed(found, ["complaints", "review"], 160).on.is_representative
    assert not weighed(found, ["complaints", "review"], 20).on.is_representative


def test_reviews_that_found_nothing_wrong_leave_the_wrong_answers_a_little_weight() -> None:
    found = world(1, complaints)
    feedback = Feedback.model_validate({"profile": ["complaints", "review"]})
    none_wrong = Dataset(NOW - 56 * DAY_MS, NOW, 50, 0.0)
    weighing = weigh([r.case for r in found], feedback, none_wrong, GATE)
    wrong = sum(weighing.weights[r.case.id] for r in found if not r.case.obtained.heard_right)
    assert wrong == pytest.approx(0.01 * len(found))
    assert accuracy(judge(exam.tallies(found, weighing), GATE, weighing.on)).value > 0.9


def test_a_dataset_of_an_older_release_is_judged_by_the_profile_alone() -> None:
    found = [
        Result(
            Case("task", "accuracy", str(n), "t", "x", obtained=Obtained(NOW, True)),
            "x",
            True,
            "x",
            True,
        )
        for n in range(100)
    ]
    for profile, representative in (
        ("labels", True),
        ("complaints", False),
        ("corrections", False),
    ):
        assert weighed(found, [profile]).on.is_representative is representative
