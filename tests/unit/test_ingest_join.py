"""Which answers feedback proves right."""

from __future__ import annotations

from collections.abc import Callable

from ingesting import TASK, feedback, inference

from driftgate.events import Outcome
from driftgate.tasks.text_generation import Declared, TextGeneration
from services.ingest_logger import join
from services.ingest_logger.rows import Row

TASKS = {inference()["model"]: TASK}


def outcomes(
    feedback: list[Row], answers: list[Row], is_new: Callable[[Row], bool]
) -> list[Outcome]:
    return join.outcomes(feedback, answers, is_new, TASKS)


def new(_: Row) -> bool:
    return True


def test_the_task_says_whether_an_answer_was_right() -> None:
    right, wrong = inference(output="refund"), inference(output="delivery")
    for answer, correct in ((right, True), (wrong, False)):
        (found,) = outcomes([feedback(label="refund")], [answer], new)
        assert found.was_correct is correct


def test_of_a_model_that_is_not_declared_any_more_nothing_is_known_to_be_right() -> None:
    (found,) = join.outcomes([feedback(label="refund")], [inference(output="refund")], new, {})
    assert (found.label, found.was_correct) == ("refund", None)


def test_an_edit_tells_how_far_it_lies_and_what_of_json_it_changed() -> None:
    declared = {"kind": "text-generation", "output": "json"}
    tasks = {inference()["model"]: TextGeneration.of(Declared.model_validate(declared))}
    answer = inference(output='{"team": "billing", "order": "A-1"}')
    edit = {"kind": "edit", "label": None, "edited": '{"order": "A-2", "team": "billing"}'}
    (found,) = join.outcomes([feedback(**edit)], [answer], new, tasks)
    assert (found.was_correct, found.changed) == (False, {"order": "changed"})
    assert found.edit_distance == 1 / len('{"order":"A-2","team":"billing"}')
    (found,) = join.outcomes([feedback(kind="rating", label=None, rating=0)], [answer], new, tasks)
    assert (found.was_correct, found.edit_distance, found.changed) == (False, None, {})


def test_what_measures_or_takes_back_says_nothing_of_right_or_wrong() -> None:
    for kind in ("metric", "retraction"):
        (found,) = outcomes([feedback(kind=kind, label="delivery")], [inference()], new)
        assert found.was_correct is None


def test_a_rating_in_the_middle_is_neither_right_nor_wrong() -> None:
    for rating, correct in ((0.5, None), (0.49, False), (0.51, True)):
        given = feedback(kind="rating", label=None, rating=rating)
        (found,) = outcomes([given], [inference()], new)
        assert found.was_correct is correct


def test_an_outcome_carries_how_it_was_obtained() -> None:
    review = {
        "kind": "review",
        "reviewer": "ana",
        "propensity": 0.03,
        "picked": "disagreement",
        "instructions": "2",
    }
    (found,) = outcomes([feedback(**review)], [inference(subject="hashed", propensity=0.95)], new)
    assert {name: getattr(found, name) for name in review} == review
    assert (found.subject, found.heard) == ("hashed", 0.95)
    more = {"metric": "resolved", "value": 0.0, "retracts": "f-0"}
    (found,) = outcomes([feedback(kind="metric", **more)], [inference()], new)
    assert {name: getattr(found, name) for name in more} == more


def test_feedback_of_the_first_schema_makes_an_outcome() -> None:
    (found,) = outcomes([feedback()], [inference(propensity=1.0)], new)
    assert (found.reviewer, found.propensity, found.picked) == (None, None, None)
    assert (found.subject, found.heard) == (None, 1.0)


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
