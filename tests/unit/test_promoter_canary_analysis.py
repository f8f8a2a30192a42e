"""What production's word about a challenger leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from driftgate.model_repo import ModelYaml
from services.promoter.canary_analysis import (
    OUTCOMES,
    REVIEW,
    Comparison,
    Evidence,
    analyse,
    looks,
    watch,
)
from services.promoter.e_values import Events, Units

SHADOW, CANARY, HALF = 0, 1, 2


def repo(*profile: str, review: float = 0.0, **rules: Any) -> ModelYaml:
    return ModelYaml.model_validate(
        {
            "model": "m",
            "task": {"kind": "text-classification", "labels": ["a", "b"]},
            "base": {"name": "all-MiniLM-L6-v2"},
            "monitors": [],
            "gate": {"min_accuracy": 0.8, "protected": {"language=es": {}}},
            "feedback": {"profile": [*profile, *(["review"] if review else [])]},
            "review": {"share": review},
            "rollout": {
                "stages": [
                    {"name": "shadow", "percent": 0, "min_samples": 20},
                    {"name": "canary-5", "percent": 5, "min_samples": 30},
                    {"name": "half", "percent": 50, "min_samples": 40},
                    {"name": "full", "percent": 100, "min_samples": 30},
                ],
                "margin": 0.05,
                **rules,
            },
        }
    )


def heard(
    people: int = 0, new: int = 0, old: int = 0, chance: float = 0.5, same: int = 0, **more: Any
) -> Comparison:
    """So many people, some of whom complained about the one or the other, or of what both say."""
    weight = 1 / (1 - chance)
    units = (
        Units(-weight, old, weight),
        Units(0.0, same, 1.0),
        Units(0.0, people - new - old - same),
        Units(1 / chance, new),
    )
    return Comparison(
        **{
            "name": OUTCOMES,
            "counted": "heard",
            "events": (Events(chance, new, old),),
            "units": units,
            "bound": 1 / chance,
            **more,
        }
    )


def pairs(both: int = 0, only_old: int = 0, only_new: int = 0, **more: Any) -> Comparison:
    units = (Units(-1.0, only_new), Units(0.0, both), Units(1.0, only_old))
    return Comparison(
        **{
            "name": OUTCOMES,
            "counted": "pairs",
            "events": (Events(0.5, only_old, only_new),),
            "units": units,
            **more,
        }
    )


@pytest.mark.parametrize(
    ("found", "days", "place", "result", "reason"),
    [
        (heard(), 5, CANARY, "hold", "samples"),
        (heard(29), 5, CANARY, "hold", "samples"),
        (heard(60), 0.5, CANARY, "hold", "soak"),
        (heard(60, 2, 1), 2, CANARY, "promote", "good"),
        (heard(60, 2, 1), 2, HALF, "hold", "unproven"),
        (heard(700, 9, 9, same=30), 2, HALF, "promote", "good"),
        (heard(60, 26, 1), 0.1, HALF, "roll back", "harm"),
        (heard(60, 2, 1), 22, HALF, "inconclusive", "unproven"),
        (heard(), 22, CANARY, "inconclusive", "samples"),
    ],
)
def test_a_challenger_goes_on_only_on_evidence(
    found: Comparison, days: float, place: int, result: str, reason: str
) -> None:
    done = analyse(Evidence((found,), both=500), days, place, repo("complaints"))
    assert (done.result, done.reason) == (result, reason)


def test_what_was_not_shown_in_time_is_insufficient_evidence_in_words() -> None:
    done = analyse(Evidence((heard(60, 2, 1),)), 22, HALF, repo("complaints"))
    assert done.summary.startswith("insufficient evidence in 21 days: not yet shown")
    assert "outcomes +0.033 over 60" in done.summary


@pytest.mark.parametrize(
    ("profile", "found", "both", "result"),
    [
        ("complaints", heard(), 19, "hold"),
        ("complaints", heard(), 20, "promote"),
        ("thumbs", heard(counted="told"), 20, "promote"),
        ("labels", pairs(both=19), 500, "hold"),
        ("labels", pairs(both=20), 500, "promote"),
    ],
)
def test_a_shadow_waits_for_labels_where_they_judge_both_else_for_answers_of_both(
    profile: str, found: Comparison, both: int, result: str
) -> None:
    assert analyse(Evidence((found,), both=both), 2, SHADOW, repo(profile)).result == result


def test_a_shadow_that_answers_too_much_otherwise_is_stopped_without_anybodys_word() -> None:
    strict = repo("complaints", max_disagreement=0.1)
    assert analyse(Evidence(both=400, differ=120), 2, SHADOW, strict).result == "roll back"
    assert analyse(Evidence(both=400, differ=40), 2, SHADOW, strict).result == "promote"
    assert analyse(Evidence(both=400, differ=120), 2, SHADOW, repo("complaints")).result != "harm"


def test_where_few_speak_up_a_version_within_the_margin_has_to_be_less_than_twice_as_bad() -> None:
    few_speak = Evidence((heard(3000, 24, 12, same=30),))
    done = analyse(few_speak, 2, HALF, repo("complaints"))
    assert (done.result, done.reason) == ("hold", "unproven")
    assert "not worse by 0.05 nor 2 times as bad: outcomes +0.008 over 3000" in done.summary
    assert analyse(few_speak, 2, HALF, repo("complaints", max_ratio=None)).result == "promote"
    assert analyse(few_speak, 2, HALF, repo("complaints", max_ratio=4)).result == "promote"
    alike = Evidence((heard(3000, 20, 20, same=25),))
    assert analyse(alike, 2, HALF, repo("complaints")).result == "promote"


def test_pairs_show_the_margin_alone() -> None:
    done = analyse(Evidence((pairs(both=690, only_old=3, only_new=7),)), 2, HALF, repo("labels"))
    assert (done.result, "times as bad" in done.summary) == ("promote", False)


def test_harm_that_begins_when_most_people_were_counted_is_seen() -> None:
    before, after = (Events(0.5, 30, 30),), (Events(0.5, 25, 0),)
    late = replace(heard(60), events=before, later=(before, before, after))
    assert analyse(Evidence((late,)), 5, HALF, repo("complaints")).result == "roll back"
    assert (
        analyse(Evidence((replace(late, later=()),)), 5, HALF, repo("complaints")).result == "hold"
    )


def test_reviewers_may_show_what_users_cannot() -> None:
    users, reviewers = heard(60, 2, 2), pairs(both=700, only_old=5, only_new=5, name=REVIEW)
    known = repo("complaints", review=0.03)
    assert analyse(Evidence((users, pairs(both=9, name=REVIEW))), 2, HALF, known).result == "hold"
    done = analyse(Evidence((users, reviewers)), 2, HALF, known)
    assert (done.result, "not worse by 0.05" in done.summary) == ("promote", True)


def test_a_profile_of_reviews_alone_asks_reviewers() -> None:
    done = analyse(Evidence((pairs(both=9, name=REVIEW),)), 2, HALF, repo(review=0.03))
    assert "9 of 40 samples" in done.summary


def test_harm_in_a_protected_slice_takes_a_version_back() -> None:
    slice_ = heard(50, 28, 1, slice="language=es")
    done = analyse(Evidence((heard(700, 30, 30), slice_)), 2, HALF, repo("complaints"))
    assert (done.result, "outcomes (language=es): 28 to blame" in done.summary) == (
        "roll back",
        True,
    )


def test_the_chance_of_a_false_alarm_is_shared_by_all_questions() -> None:
    known = repo("complaints", review=0.03)
    asked = [heard(), heard(slice="language=es"), pairs(name=REVIEW), heard(name="latency_ms")]
    found = looks(Evidence(tuple(asked)), known)
    assert sum(1 / look.harm_at for look in found) == pytest.approx(0.01 / 4)
    assert [look.harm_at for look in found if look.slice == "all" and look.not_worse] == [1600] * 2
    assert [look.not_worse_at for look in found if look.not_worse] == [40, 40]
    (alone,) = looks(Evidence((heard(),)), repo("complaints"))
    assert (alone.harm_at, alone.not_worse_at) == (400, 20)


@pytest.mark.parametrize("fewest", [0, 2])
def test_samples_of_one_side_alone_are_none(fewest: int) -> None:
    one_sided = replace(heard(700, 9, 9), fewest=fewest)
    for done in (
        analyse(Evidence((one_sided,)), 2, CANARY, repo("complaints")),
        watch(Evidence((one_sided,)), 8, repo("complaints")),
    ):
        assert (done.result, done.reason) == ("hold", "samples")
    known = replace(one_sided, fewest=3)
    assert analyse(Evidence((known,)), 2, CANARY, repo("complaints")).result == "promote"


def test_a_store_that_is_behind_ends_nothing_however_late_it_is() -> None:
    late = Evidence((heard(60, 2, 1),), behind="its newest tick is old")
    assert analyse(late, 400, HALF, repo("complaints")).result == "hold"
    assert watch(late, 400, repo("complaints")).result == "hold"


def test_a_metric_that_only_warns_takes_nothing_back() -> None:
    slow = heard(700, 70, 10, name="latency_ms")
    for on_harm, result in (("warn", "promote"), ("roll_back", "roll back")):
        known = repo("complaints", metrics=[{"name": "latency_ms", "on_harm": on_harm}])
        done = analyse(Evidence((heard(700, 8, 8, same=30), slow)), 2, HALF, known)
        assert done.result == result
        assert done.numbers["warnings"] == (["latency_ms"] if on_harm == "warn" else [])


def test_a_metric_may_be_worse_by_its_margin() -> None:
    slow = Evidence((heard(9000, 340, 230, name="cost"),))
    for margin, harms in ((0.0, True), (0.5, False)):
        known = repo(
            "complaints", metrics=[{"name": "cost", "margin": margin, "on_harm": "roll_back"}]
        )
        (look,) = looks(slow, known)
        assert look.harms == harms


@pytest.mark.parametrize(
    ("found", "days", "result"),
    [
        (heard(700, 9, 1, 0.95), 6.9, "hold"),
        (heard(700, 9, 1, 0.95), 7, "promote"),
        (heard(29, 1, 0, 0.95), 7, "hold"),
        (heard(29, 1, 0, 0.95), 29, "inconclusive"),
        (heard(700, 300, 0, 0.95), 3, "roll back"),
    ],
)
def test_a_new_champion_is_watched(found: Comparison, days: float, result: str) -> None:
    assert watch(Evidence((found,)), days, repo("complaints")).result == result


@pytest.mark.parametrize("look", [analyse, watch])
def test_numbers_that_are_none_hold(look: Any) -> None:
    broken = replace(heard(700, 9, 9), units=(Units(float("nan"), 700),))
    place = (HALF,) if look is analyse else ()
    done = look(Evidence((broken,)), 8, *place, repo("complaints"))
    assert done.result == "hold"
