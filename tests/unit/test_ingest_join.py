"""Which answers feedback proves right."""

from __future__ import annotations

import pytest
from ingesting import feedback, inference

from services.ingest_logger.join import outcomes, was_correct
from services.ingest_logger.rows import Row


def new(_: Row) -> bool:
    return True


@pytest.mark.parametrize(
    ("label", "rating", "right"),
    [
        ("delivery", None, True),
        ("refund", None, False),
        (None, 0.5, True),
        (None, 0.49, False),
        (None, None, None),
        ("refund", 1.0, False),
    ],
)
def test_a_label_decides_then_a_rating(
    label: str | None, rating: float | None, right: bool | None
) -> None:
    assert was_correct("delivery", label, rating) is right


def test_an_outcome_is_known_at_the_later_of_both_times() -> None:
    for asked, told in ((2000, 1000), (1000, 2000)):
        (found,) = outcomes([feedback(time=told)], [inference(time=asked)], new)
        assert found.time == 2000
        assert (found.inference_time, found.feedback_time) == (asked, told)


def test_two_feedback_make_two_outcomes_and_the_same_twice_makes_one() -> None:
    given = [feedback(), feedback(feedback_id="f2"), feedback()]
    found = outcomes(given, [inference()], new)
    assert [outcome.outcome_id for outcome in found] == ["f-r1", "f2"]


def test_what_met_before_is_not_told_again() -> None:
    assert outcomes([feedback()], [inference()], lambda row: False) == []
    found = outcomes([feedback()], [inference()], lambda row: "feedback_id" not in row)
    assert len(found) == 1


def test_feedback_without_an_answer_waits() -> None:
    assert outcomes([feedback("r2")], [inference("r1")], new) == []
    assert outcomes([feedback(model="other")], [inference()], new) == []
