"""What the store teaches: the latest word on each answer, dated by the answer, and how the row was
obtained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trainer_harness import MODEL, answer, moment, outcome

from driftgate.events import DAY_MS, HOUR_MS
from driftgate.model_repo import ModelYaml, parse
from driftgate.split import held_out
from driftgate.store import Store, migrate
from driftgate.tasks import task_of
from services.trainer.curation import Row
from services.trainer.rows import logged_rows, measured

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
NOW = 1_767_571_200_000
YAML = f"""
model: {MODEL}
task: {{kind: text-classification, labels: [refund, delivery]}}
base: {{name: all-MiniLM-L6-v2}}
data: {{recent_days: 28, max_rows: 40, min_rows: 5}}
monitors: []
gate: {{min_accuracy: 0.8, waived: [regression, probes]}}
rollout: {{stages: [{{name: full, percent: 100}}]}}
"""
TRAINED = next(f"trained-{n}" for n in range(99) if not held_out(f"trained-{n}", 0.25))
TESTED = next(f"tested-{n}" for n in range(99) if held_out(f"tested-{n}", 0.25))


def config(profile: str = "complaints") -> ModelYaml:
    share = "review: {share: 0.1}\n" if "review" in profile else ""
    return parse(f"{YAML}feedback: {{profile: [{profile}]}}\n{share}")


@pytest.fixture
def store() -> Store:
    store = Store.in_process()
    migrate(store, SCHEMAS / "store")
    for table in ("inferences", "outcomes"):
        store.command(f"TRUNCATE TABLE {table}")
    return store


def asked(number: int, days_ago: float, subject: str = TRAINED) -> dict[str, Any]:
    return {
        "id": f"r-{number}",
        "text": f"where is parcel {number}",
        "label": "delivery",
        "time": NOW - round(days_ago * DAY_MS),
        "subject": subject,
        "slices": {},
    }


def put(store: Store, *rows: dict[str, Any]) -> None:
    """Answers: delivery, each of them."""
    store.append("inferences", [answer(row, at) for at, row in enumerate(rows)])


def say(store: Store, *said: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Words on answers, each a minute after the one before."""
    rows = []
    for at, (row, told) in enumerate(said):
        time = moment(row["time"] + at * 60_000)
        silent = dict.fromkeys(("label", "was_correct", "propensity", "picked"))
        times = {"outcome_id": f"f-{at}", "feedback_time": time, "time": time}
        rows.append(outcome(row, at, **silent | times | told))
    store.append("outcomes", rows)


def rows(store: Store, profile: str = "complaints") -> dict[str, Row]:
    declared = config(profile)
    found = logged_rows(store, MODEL, NOW, declared, task_of(declared.task))
    assert len({row.id for row in found}) == len(found)
    return {row.id: row for row in found}


REFUND = {"label": "refund", "was_correct": False}
RIGHT = {"kind": "rating", "rating": 1.0, "was_correct": True}


def test_the_latest_word_teaches_and_what_was_taken_back_does_not(store: Store) -> None:
    first, second, third, fourth = (asked(n, 3) for n in range(4))
    put(store, first, second, third, fourth)
    say(
        store,
        (first, REFUND),
        (first, RIGHT),  # a rating does not outrank a correction
        (second, RIGHT),
        (second, {"kind": "review", **REFUND, "propensity": 0.1}),
        (third, REFUND),
        (third, {"kind": "retraction"}),
        (fourth, {"kind": "rating", "rating": 0.5}),
    )
    found = rows(store)
    assert {name: row.target for name, row in found.items()} == {"r-0": "refund", "r-1": "refund"}
    assert [(row.word, row.propensity, row.heard_right) for row in found.values()] == [
        ("correction", None, False),
        ("review", 0.1, False),
    ]


def test_a_late_word_is_dated_by_the_answer(store: Store) -> None:
    old = asked(0, 40)
    put(store, old)
    late = moment(NOW - HOUR_MS)
    say(store, (old, REFUND | {"feedback_time": late, "time": late}))
    assert rows(store)["r-0"].time == old["time"]
    declared = config()
    counts = measured(store, MODEL, NOW, declared.data, task_of(declared.task))
    assert counts.coverage == 0.0, "it belongs to no recent answer"


def test_what_was_picked_for_its_value_is_learned_from_and_not_tested_on(store: Store) -> None:
    ours, theirs = asked(0, 3, TRAINED), asked(1, 3, TESTED)
    put(store, ours, theirs)
    picked = {"kind": "review", **REFUND, "picked": "disagreement"}
    say(store, (ours, RIGHT), (theirs, RIGHT), (ours, picked), (theirs, picked))
    found = rows(store)
    assert (found["r-0"].target, found["r-0"].word) == ("refund", "review")
    assert (found["r-1"].target, found["r-1"].word) == ("delivery", "rating")


def test_where_silence_means_right_answers_that_nobody_objected_to_are_rows(store: Store) -> None:
    accepted, corrected, fresh = asked(0, 10), asked(1, 11), asked(2, 1)
    put(store, accepted, corrected, fresh)
    say(store, (corrected, REFUND))
    assert set(rows(store, "complaints")) == {"r-1"}
    found = rows(store, "corrections")
    assert set(found) == {"r-0", "r-1"}, "who has three days may still object to r-2"
    silent = found["r-0"]
    assert (silent.target, silent.word, silent.heard_right) == ("delivery", "silence", True)


def test_silence_means_nothing_before_anybody_ever_spoke(store: Store) -> None:
    """Most often the app did not send feedback yet."""
    before, reviewed, first, later = asked(0, 20), asked(1, 20), asked(2, 10), asked(3, 9)
    put(store, before, reviewed, first, later)
    drawn = reviewed, {"kind": "review", **REFUND, "propensity": 0.1}
    say(store, drawn)
    assert set(rows(store, "corrections, review")) == {"r-1"}
    say(store, drawn, (first, REFUND))
    assert set(rows(store, "corrections, review")) == {"r-1", "r-2", "r-3"}


def test_who_objects_at_once_is_learned_from_and_not_tested_on(store: Store) -> None:
    """For a test, those who object late would be lacking."""
    ours, theirs = asked(0, 1, TRAINED), asked(1, 1, TESTED)
    put(store, ours, theirs)
    say(store, (ours, REFUND), (theirs, REFUND))
    assert set(rows(store, "corrections")) == {"r-0"}


def test_of_many_answers_a_part_is_taken_whatever_was_said_of_them(store: Store) -> None:
    many = [asked(n, 10, f"p-{n}") for n in range(640)]
    put(store, *many)
    say(store, *((row, REFUND) for row in many[::4]))
    found = rows(store, "corrections")
    assert len(found) == 160
    assert sum(row.word == "correction" for row in found.values()) == pytest.approx(40, abs=15)
    assert set(rows(store, "corrections")) == set(found)


def test_the_share_of_wrong_answers_follows_from_the_random_reviews_alone(store: Store) -> None:
    asking = [asked(n, 3) for n in range(6)]
    put(store, *asking)
    review = {"kind": "review", "label": "delivery", "was_correct": True, "propensity": 0.1}
    wrong = review | REFUND
    say(
        store,
        (asking[0], review),
        (asking[1], wrong | {"propensity": 0.05}),  # stands for twice as many
        (asking[2], review),
        (asking[3], wrong | {"picked": "disagreement"}),
        (asking[4], REFUND),
    )
    declared = config("complaints, review")
    counts = measured(store, MODEL, NOW, declared.data, task_of(declared.task))
    assert (counts.reviewed, counts.reviewed_wrong) == (3, 0.5)
    assert counts.coverage == pytest.approx(5 / 6, abs=1e-4)
