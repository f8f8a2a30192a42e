"""The review sample: who is drawn, who is asked, what reviewers see, and what follows from it."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingesting import NOON, TASK
from sklearn.metrics import cohen_kappa_score

from driftgate.events import DAY_MS, HOUR_MS, Feedback
from driftgate.review import chance, drawn, twice
from driftgate.review.agreement import agreement, by_instructions, by_reviewers, doubly_reviewed
from driftgate.review.question import shuffled
from driftgate.review.queue import Progress, Words, closed_for, progress, words
from driftgate.review.statistics import (
    Drawn,
    Reviewed,
    Rules,
    Statistics,
    accuracies,
    monday,
    statistics,
)

NUMBERS = count()
WEEK = monday(NOON)


def review(
    request_id: str = "r", reviewer: str = "ada", label: str | None = "refund", **more: Any
) -> Feedback:
    """A review by the sample; without a label the request was passed over."""
    n = next(NUMBERS)
    usual = {"time": NOON + n, "propensity": 0.1, "instructions": "1"}
    return Feedback(
        feedback_id=f"f{n}",
        request_id=request_id,
        model="triage",
        kind="review",
        label=label,
        reviewer=reviewer,
        **usual | more,  # type: ignore[arg-type]
    )


def said(*reviews: Feedback) -> Words:
    return words(reviews).get("r", {})


# ---------------------------------------------------------------- who is drawn


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_draws_all_that_a_smaller_one_does(key: str, a: float, b: float) -> None:
    small, large = sorted((a, b))
    assert not drawn("m", key, small) or drawn("m", key, large)


def test_as_many_are_drawn_as_the_propensity_says() -> None:
    ids = [f"r-{n}" for n in range(20_000)]
    mine = [one for one in ids if drawn("m", one, 0.03)]
    assert len(mine) / len(ids) == pytest.approx(chance(0.03), abs=0.004)
    second = sum(twice("m", one, 0.1) for one in mine)
    assert second / len(mine) == pytest.approx(0.1, abs=0.04)


# ---------------------------------------------------------------- what is open


def test_a_reviewers_later_word_replaces_the_earlier() -> None:
    own = said(review(label="refund"), review(label="billing"), review(reviewer="bob"))
    assert [(name, word.label) for name, word in own.items()] == [
        ("ada", "billing"),
        ("bob", "refund"),
    ]


def retraction(**fields: Any) -> Feedback:
    usual = {"feedback_id": "x", "request_id": "r", "model": "triage", "kind": "retraction"}
    return Feedback(**usual | fields)


def test_a_word_that_is_taken_back_opens_the_request_again() -> None:
    first, other = review(), review(reviewer="bob")
    assert list(said(first, other, retraction(retracts=other.feedback_id, time=0))) == ["ada"]
    all_of_ada = retraction(reviewer="ada", time=first.time + 1)
    assert list(said(first, all_of_ada)) == []
    again = review(label="billing", time=first.time + 2)
    assert said(first, all_of_ada, again)["ada"].label == "billing"


def test_how_far_a_request_is() -> None:
    ada, bob = review(), review(reviewer="bob")
    no, nor = review(label=None), review(reviewer="bob", label=None)
    assert progress(said(ada), 1) is Progress.LABELLED
    assert progress(said(ada), 2) is Progress.SECOND
    assert progress(said(ada, bob), 2) is Progress.LABELLED
    assert progress(said(no), 1) is Progress.OPEN
    assert progress(said(no, nor), 1) is Progress.SKIPPED
    assert progress(said(no, bob), 2) is Progress.SECOND


def test_who_is_not_asked() -> None:
    every = words(
        [
            review("once", "bob"),
            review("twice", "bob"),
            review("mine", "ada", None),
            review("passed", "bob", None),
            review("given up", "bob", None),
            review("given up", "eve", None),
        ]
    )
    assert closed_for("ada", every, {"twice"}) == {"once", "mine", "given up"}
    assert closed_for("bob", every, {"twice"}) == set(every) - {"mine"}


# ---------------------------------------------------------------- what a reviewer sees


def test_answers_stand_in_an_order_that_says_nothing() -> None:
    first = {shuffled(["a", "b", "a"], f"r{n}", "ada")[0] for n in range(20)}
    assert first == {"a", "b"}
    assert len(shuffled(["a", "b", "a"], "r", "ada")) == 2
    differ = sum(
        shuffled(["a", "b"], f"r{n}", "ada") != shuffled(["a", "b"], f"r{n}", "bob")
        for n in range(200)
    )
    assert 60 < differ < 140


# ---------------------------------------------------------------- agreement


def pairs(table: list[list[int]]) -> list[tuple[str, str]]:
    return [
        (str(a), str(b)) for a, row in enumerate(table) for b, n in enumerate(row) for _ in range(n)
    ]


def test_kappa_and_its_interval_are_those_of_sas() -> None:
    """PROC FREQ, as statsmodels publishes it with its tests: 0.4842, 0.2137 to 0.7547."""
    found = agreement(pairs([[0, 4, 1], [0, 8, 0], [0, 1, 5]]))
    assert (found.kappa, found.low, found.high) == pytest.approx((0.4842, 0.2137, 0.7547), abs=1e-4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2))
def test_kappa_is_that_of_scikit_learn(labels: list[tuple[str, str]]) -> None:
    found = agreement(labels)
    if found.kappa is None:
        assert len({label for pair in labels for label in pair}) == 1
        return
    assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*labels, strict=True)))
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.kappa <= found.high


def test_one_label_alone_says_nothing_of_agreement() -> None:
    assert agreement([("a", "a")] * 9).kappa is None
    assert agreement([]).kappa is None


def test_agreement_by_instructions_and_by_reviewers() -> None:
    every = [
        said(review(reviewer="bob", label="refund"), review(label="refund")),
        said(review(label="refund"), review(reviewer="bob", label="billing")),
        said(review(instructions="2"), review(reviewer="eve", instructions="2")),
        said(review(), review(reviewer="bob", label=None)),
        said(review(picked="disagreement", propensity=None), review(reviewer="bob", picked="x")),
    ]
    found = doubly_reviewed(every)
    assert {name: (one.requests, one.same) for name, one in by_instructions(found).items()} == {
        "1": (2, 1),
        "2": (1, 1),
    }
    assert {name: one.requests for name, one in by_reviewers(found).items()} == {
        "ada and bob": 2,
        "ada and eve": 1,
    }
    assert found[1].labels == ("refund", "billing")


# ---------------------------------------------------------------- what follows


def reviewed(request_id: str, *reviews: Feedback, version: int = 1, time: int = NOON) -> Reviewed:
    return Reviewed(request_id, time, version, "delivery", words(reviews).get(request_id, {}))


def test_accuracy_of_each_version_is_that_of_its_drawn_answers() -> None:
    right = [reviewed(f"a{n}", review(f"a{n}", label="delivery")) for n in range(8)]
    wrong = [reviewed(f"b{n}", review(f"b{n}", label="refund")) for n in range(2)]
    other = [reviewed("c", review("c", label="delivery"), version=2)]
    chosen = [
        reviewed(f"d{n}", review(f"d{n}", propensity=None, picked="confidence")) for n in range(50)
    ]
    passed = [reviewed("e", review("e", label=None))]
    found = accuracies([*right, *wrong, *other, *chosen, *passed], TASK)
    assert found[1].labelled == 10
    assert (found[1].accuracy, found[1].low, found[1].high) == pytest.approx(
        (0.8, 0.490, 0.943), abs=0.001
    )
    assert found[2].labelled == 1


def test_a_share_that_was_changed_weighs_answers_by_their_chance() -> None:
    seldom = [
        reviewed(f"a{n}", review(f"a{n}", label="delivery", propensity=0.1)) for n in range(10)
    ]
    often = [reviewed(f"b{n}", review(f"b{n}", propensity=0.5)) for n in range(50)]
    (found,) = accuracies([*seldom, *often], TASK).values()
    assert found.accuracy == pytest.approx(0.5), "both stand for a hundred answers"
    plain = accuracies([*seldom, *often[:10]], TASK)[1]
    assert found.high - found.low > 0.3, "sixty answers of such weights are worth 33"
    assert plain.accuracy > found.accuracy


def stats(drawn_: dict[int, tuple[Drawn, Drawn]], every: list[Reviewed], now: int) -> Statistics:
    return statistics(drawn_, every, Rules("triage", 1.0, 0.0, 14 * DAY_MS), TASK, now)


def test_how_far_a_week_is() -> None:
    now = WEEK + 5 * DAY_MS
    every = [
        reviewed("a", review("a", time=NOON + 3 * HOUR_MS)),
        reviewed("b", review("b", label=None, time=NOON + HOUR_MS)),
        reviewed("c", review("c", label=None), review("c", "bob", None)),
        reviewed("p", review("p", picked="confidence", propensity=None), time=NOON),
    ]
    found = stats({WEEK: (Drawn(10, 1), Drawn(10, 1))}, every[:3], now)
    (week,) = found.weeks
    assert (week.drawn, week.without_text, week.labelled, week.skipped) == (10, 1, 1, 1)
    assert (week.open, week.second, week.missed) == (7, 0, 0), "one that one person skipped is open"
    assert week.wait_hours == pytest.approx(1.0, abs=0.01)


def test_what_is_too_old_is_missed_and_not_open() -> None:
    now = WEEK + 30 * DAY_MS
    every = [reviewed("a", review("a")), reviewed("b", review("b", label=None))]
    (week,) = stats({WEEK: (Drawn(10, 1), Drawn(0, 0))}, every, now).weeks
    assert (week.labelled, week.open, week.missed) == (1, 0, 8)


def test_what_one_of_two_labelled_is_not_missed_once_it_is_too_old() -> None:
    """Its label is in the estimates: they lack nothing."""
    rules = Rules("triage", 1.0, 1.0, 14 * DAY_MS)
    drawn_ = {WEEK: (Drawn(1, 0), Drawn(1, 0))}, {WEEK: (Drawn(1, 0), Drawn(0, 0))}
    every = [reviewed("a", review("a"))]
    (young,) = statistics(drawn_[0], every, rules, TASK, WEEK + 5 * DAY_MS).weeks
    found = statistics(drawn_[1], every, rules, TASK, WEEK + 30 * DAY_MS)
    (old,) = found.weeks
    assert (young.second, young.labelled, young.missed) == (1, 0, 0)
    assert (old.second, old.labelled, old.missed) == (0, 1, 0)
    assert found.accuracy[1].labelled == 1


def test_a_week_of_which_half_is_too_old() -> None:
    now = WEEK + 17 * DAY_MS  # the first three days
    every = [reviewed("a", review("a")), reviewed("b", review("b"), time=WEEK + 4 * DAY_MS)]
    (week,) = stats({WEEK: (Drawn(10, 0), Drawn(6, 0))}, every, now).weeks
    assert (week.labelled, week.open, week.missed) == (2, 5, 3)


def test_weeks_begin_on_monday() -> None:
    assert monday(NOON) == NOON, "2026-01-05 is one"
    assert monday(NOON - 1) == NOON - 7 * DAY_MS
    assert monday(NOON + 6 * DAY_MS) == NOON
