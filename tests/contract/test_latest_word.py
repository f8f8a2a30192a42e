"""The rule of the latest word, in Python and in the store: the same word of all that was said."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.events import Outcome
from driftgate.latest_word import RETRACTION, WORDS, latest, latest_sql
from driftgate.store import Store, migrate
from driftgate.tasks import Said
from driftgate.tasks.text_classification import TextClassification

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
TASK = TextClassification(("delivery", "refund"))
ANSWERED = 1_767_571_200_000
MODELS = ("one", "other")


@pytest.fixture(scope="module")
def store() -> Store:
    store = Store.in_process()
    migrate(store, SCHEMAS / "store")
    return store


@st.composite
def said(draw: st.DrawFn) -> list[Outcome]:
    """Words on a few requests, at few times and by few people, so that they often meet."""
    count = draw(st.integers(1, 14))
    return [word(draw, number, count) for number in range(count)]


def word(draw: st.DrawFn, number: int, count: int) -> Outcome:
    kind = draw(st.sampled_from([*WORDS, "metric", RETRACTION, RETRACTION]))
    time = ANSWERED + draw(st.integers(0, 4))
    told = Said(
        draw(st.sampled_from([None, "delivery", "refund"])),
        draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
        draw(st.sampled_from([None, "as it should be"])),
    )
    retracts = st.none() | st.integers(0, count).map(lambda at: f"f-{at}")
    return Outcome(
        outcome_id=f"f-{number}",
        request_id=draw(st.sampled_from(["r-1", "r-2"])),
        model=draw(st.sampled_from(MODELS)),
        version=1,
        output="delivery",
        kind=kind,
        label=told.label,
        rating=told.rating,
        edited=told.edited,
        was_correct=TASK.was_correct("delivery", told) if kind in WORDS else None,
        reviewer=draw(st.sampled_from([None, "mia", "ana"])),
        picked=draw(st.sampled_from([None, None, "disagreement"])),
        retracts=draw(retracts) if kind == RETRACTION else None,
        inference_time=ANSWERED,
        feedback_time=time,
        time=time,
    )


def keep(store: Store, words: list[Outcome]) -> None:
    store.command("TRUNCATE TABLE outcomes")
    place = {"topic": "outcomes", "partition": 0}
    rows = [{**place, "offset": at, **each.as_dict()} for at, each in enumerate(words)]
    store.append("outcomes", rows)


def latest_each(words: list[Outcome], **how: Any) -> dict[tuple[str, str], Outcome]:
    by_request = defaultdict(list)
    for each in words:
        by_request[each.model, each.request_id].append(each)
    found = {request: latest(each, **how) for request, each in by_request.items()}
    return {request: each for request, each in found.items() if each is not None}


@settings(max_examples=150, deadline=None)
@given(said(), st.integers(ANSWERED, ANSWERED + 5), st.booleans(), st.randoms())
def test_python_and_the_store_take_the_same_word(
    store: Store, words: list[Outcome], known: int, estimates: bool, rng: random.Random
) -> None:
    keep(store, words)
    heard = [each for each in words if each.time < known]
    rng.shuffle(heard)
    where = "time < fromUnixTimestamp64Milli({known:Int64})"
    asked = f"SELECT * FROM {latest_sql(where, estimates=estimates)}"
    stored = {(row["model"], row["request_id"]): row for row in store.query(asked, known=known)}
    expected = latest_each(heard, estimates=estimates)
    assert {at: row["outcome_id"] for at, row in stored.items()} == {
        at: each.outcome_id for at, each in expected.items()
    }
    for at, each in expected.items():
        assert (stored[at]["label"], stored[at]["rating"]) == (each.label, each.rating)


@settings(max_examples=60, deadline=None)
@given(said())
def test_the_views_that_settle_something_take_it_too(store: Store, words: list[Outcome]) -> None:
    keep(store, words)
    expected = latest_each(words)
    labels = store.query("SELECT model, request_id, label FROM labels")
    taught = {at: TASK.target(each.output, each) for at, each in expected.items()}
    assert {(row["model"], row["request_id"]): row["label"] for row in labels} == {
        at: target for at, target in taught.items() if target is not None
    }

    store.command("TRUNCATE TABLE inferences")
    place = {"topic": "inferences", "partition": 0}
    answered = [(model, request) for model in MODELS for request in ("r-1", "r-2", "r-3")]
    rows = [
        {
            **place,
            "offset": at,
            "model": model,
            "request_id": request,
            "version": 1,
            "role": "live",
            "output": "delivery",
            "time": ANSWERED,
        }
        for at, (model, request) in enumerate(answered)
    ]
    store.append("inferences", rows)
    log = store.query("SELECT model, request_id, known, was_correct FROM inference_log")
    assert len(log) == len(answered)
    for row in log:
        each = expected.get((row["model"], row["request_id"]))
        assert bool(row["known"]) is (each is not None)
        assert row["was_correct"] == (None if each is None else each.was_correct)


def test_what_was_said_of_one_answer_in_its_life(store: Store) -> None:
    """Rated good, corrected, confirmed by a reviewer, whose word is taken back."""
    base = {"request_id": "r-1", "model": "one", "version": 1, "output": "delivery"}

    def at(number: int, **over: Any) -> Outcome:
        time = ANSWERED + number
        times = {"inference_time": ANSWERED, "feedback_time": time, "time": time}
        return Outcome(outcome_id=f"f-{number}", **base, **times, **over)

    life = [
        at(1, kind="rating", rating=1.0, was_correct=True),
        at(2, kind="correction", label="refund", was_correct=False),
        at(3, kind="review", label="delivery", reviewer="mia", was_correct=True),
        at(4, kind="review", reviewer="ana"),  # she passed it over
        at(5, kind="rating", rating=0.5),
        at(6, kind="retraction", reviewer="mia"),
        at(7, kind="retraction"),
    ]
    labels = []
    for until in range(1, len(life) + 1):
        keep(store, life[:until])
        labels.append([row["label"] for row in store.query("SELECT label FROM labels")])
    assert labels == [
        ["delivery"],
        ["refund"],
        ["delivery"],
        ["delivery"],
        ["delivery"],
        ["refund"],
        [],
    ]
