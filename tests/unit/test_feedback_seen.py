"""What the check of the feedback profile reads from the store, on ClickHouse's engine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingesting import NOON, feedback, inference, outcome

from driftgate import feedback_seen
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.feedback_check import Reviewed, Seen, check, warnings
from driftgate.store import Store, migrate

SCHEMAS = Path(__file__).parents[2] / "schemas"
OFFSETS = count()
SETTLED = 72 * HOUR_MS
UNTIL = NOON + 10 * DAY_MS


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store.in_process()
    found.command("CREATE DATABASE feedback_unit")
    found.command("USE feedback_unit")
    migrate(found, SCHEMAS / "store")
    yield found
    found.command("DROP DATABASE feedback_unit")
    found.close()


def add(store: Store, table: str, events: list[dict[str, Any]]) -> None:
    place = {"topic": table, "partition": 0}
    store.append(table, [{**place, "offset": next(OFFSETS), **event} for event in events])


def asked(number: int, **changes: Any) -> dict[str, Any]:
    return inference(f"r{number}", **{"subject": f"p{number % 5}", "output": "refund"} | changes)


def said(answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The outcome of a feedback on an answer, as it is joined."""
    given = feedback(answer["request_id"], **{"feedback_id": f"f{next(OFFSETS)}"} | changes)
    more = {name: changes[name] for name in ("propensity", "picked", "reviewer") if name in changes}
    return outcome(given, answer) | {"subject": answer["subject"]} | more


def read(store: Store) -> Seen:
    return feedback_seen.read(store, "triage", NOON, UNTIL, SETTLED)


def test_each_answer_counts_once_by_what_users_said_last(store: Store) -> None:
    answers = [asked(n) for n in range(20)]
    add(store, "inferences", answers)
    add(store, "inferences", [asked(n, role="shadow", version=2) for n in range(20)])
    add(store, "inferences", [asked(50, time=NOON - 1), asked(51, time=UNTIL)])
    add(store, "inferences", [asked(52, model="another")])
    later = NOON + SETTLED
    words = [
        said(answers[0]),  # refund, as was answered
        said(answers[1], label="billing"),
        said(answers[2], kind="rating", label=None, rating=1.0),
        said(answers[2], label="billing", time=NOON + HOUR_MS),
        said(answers[3], label="billing", time=later),
        said(answers[4], kind="review", reviewer="ada", propensity=0.1),
        said(answers[5], kind="metric", label=None, rating=None),
        said(asked(50, time=NOON - 1)),
    ]
    add(store, "outcomes", words)
    seen = read(store)
    assert (seen.answers, seen.told, seen.late) == (20, 3, 1)
    assert (seen.right, seen.wrong, seen.confirmed) == (1, 2, 1)
    assert seen.kinds == {"rating": 1, "correction": 3, "edit": 0}
    assert (seen.people.count, seen.people.told, seen.people.squares) == (3, 3, 3)
    assert seen.people.top_ten == 3
    assert seen.people.top_hundredth == 1
    assert seen.reviewed == [Reviewed("p4", right=True, told=False)]


def test_reviews_that_were_picked_or_passed_over_are_no_evidence(store: Store) -> None:
    answers = [asked(n) for n in range(4)]
    add(store, "inferences", answers)
    drawn = {"kind": "review", "reviewer": "ada", "propensity": 0.1}
    words = [
        said(answers[0], **drawn, label="billing"),
        said(answers[0], label="billing"),
        said(answers[1], **drawn | {"propensity": None}, picked="confidence"),
        said(answers[2], **drawn, label=None),
        said(answers[3], **drawn),
        said(answers[3], **drawn, label="billing", time=NOON + HOUR_MS),
    ]
    add(store, "outcomes", words)
    found = {one.person: (one.right, one.told) for one in read(store).reviewed}
    assert found == {"p0": (False, True), "p3": (False, False)}


def test_sums_by_person_are_those_of_all_answers(store: Store) -> None:
    rng = np.random.default_rng(1)
    answers = [asked(n, confidence=float(rng.random())) for n in range(300)]
    answers += [asked(n, confidence=None) for n in range(300, 310)]
    told = [answer for n, answer in enumerate(answers) if n % 3 == 0]
    add(store, "inferences", answers)
    add(store, "outcomes", [said(answer) for answer in told])
    seen = read(store)
    sure = [answer["confidence"] for answer in answers if answer["confidence"] is not None]
    with_word = [answer["confidence"] for answer in told if answer["confidence"] is not None]
    groups = seen.by_confidence
    assert len(groups) == 5
    assert sum(group.answers for group in groups) == 300
    assert sum(group.told for group in groups) == 100
    assert sum(group.x for group in groups) == pytest.approx(sum(sure))
    assert sum(group.told_x for group in groups) == pytest.approx(sum(with_word))
    assert seen.low.answers == pytest.approx(100, abs=3)
    assert seen.high.answers == pytest.approx(100, abs=3)
    assert seen.low.told + seen.high.told < 100


def test_complaints_that_are_declared_as_labels_are_found_in_the_store(store: Store) -> None:
    """Wrong answers are unsure ones, and get feedback three times as often."""
    rng = np.random.default_rng(2)
    answers, words = [], []
    for n in range(4000):
        right = bool(rng.random() < 0.9)
        confidence = float(rng.uniform(0.6, 1.0) if right else rng.uniform(0.3, 0.9))
        answer = asked(n, subject=f"p{rng.integers(500)}", confidence=confidence)
        label = "refund" if right else "billing"
        answers.append(answer)
        if rng.random() < (0.2 if right else 0.6):
            words.append(said(answer, label=label))
        if rng.random() < 0.1:
            drawn = {"kind": "review", "reviewer": "ada", "propensity": 0.1}
            words.append(said(answer, **drawn, label=label))
    add(store, "inferences", answers)
    add(store, "outcomes", words)
    seen = read(store)
    against = {one.about for one in warnings(check(["labels", "review"], seen))}
    assert against == {"correctness", "confidence"}
    assert not list(warnings(check(["complaints", "review"], seen)))


def test_a_model_without_answers_has_nothing_to_say(store: Store) -> None:
    assert [one.verdict for one in check(["labels"], read(store))] == ["not enough"]
