"""The review queue as the store answers it, on ClickHouse's engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ingesting import NOON, inference, model_yaml

from driftgate import buckets
from driftgate.buckets import bucket
from driftgate.errors import BadConfig, BadInput
from driftgate.events import DAY_MS, HOUR_MS, Feedback
from driftgate.model_repo import parse
from driftgate.review import drawn, salt
from driftgate.store import Store, migrate
from services.console.review_event import Desk, Word, review_of
from services.console.review_queue import Queue, refuse_without_sample
from services.console.review_words import numbered

SCHEMAS = Path(__file__).parents[2] / "schemas"
OFFSETS = count()
NOW = NOON + 5 * DAY_MS
SAMPLE = """
feedback: {{profile: [complaints, review]}}
review: {{share: {share}, twice: {twice}, days: 14, instructions: "3"}}
"""
AWKWARD = [
    "", " ", "a", "hello", "ñandú", "日本語 🙂", "é", "e\u0301", "quo'te", 'dou"ble',
    "back\\slash", "\\0", "nul\0inside", "\0", "tab\tline\nfeed\r", "{id:String}", "%s%d", "NULL",
    "-1", "0" * 1000, "r-" + "x" * 255, "\ufeffmark",
    "\U0010ffff", "ends in space ", "/", "review/triage/",
]  # fmt: skip


def declared(share: float = 0.5, twice: float = 0.0) -> Any:
    return parse(model_yaml() + SAMPLE.format(share=share, twice=twice))


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store.in_process()
    found.command("CREATE DATABASE review_unit")
    found.command("USE review_unit")
    migrate(found, SCHEMAS / "store")
    yield found
    found.command("DROP DATABASE review_unit")
    found.close()


def queue(store: Store, **changes: float) -> Queue:
    return Queue(store, declared(**changes), NOW)


def add(store: Store, *events: dict[str, Any], table: str = "inferences") -> None:
    place = {"topic": table, "partition": 0}
    store.append(table, [{**place, "offset": next(OFFSETS), **event} for event in events])


def say(store: Store, *reviews: Feedback) -> None:
    add(store, *(one.as_dict() | {"metric": None} for one in reviews), table="feedback")


@pytest.fixture(autouse=True)
def _columns(store: Store) -> None:
    """As ingestion adds those that no view names."""
    for name, kind in (("metric", "String"), ("value", "Float64")):
        store.command(f"ALTER TABLE feedback ADD COLUMN IF NOT EXISTS {name} Nullable({kind})")


def asked(number: int, **changes: Any) -> dict[str, Any]:
    return inference(f"r-{number}", **{"time": NOW - HOUR_MS, "input": f"text {number}"} | changes)


def all_of(found: Queue, reviewer: str) -> list[str]:
    """Everything that the queue asks, in its order."""
    done: list[str] = []
    while question := found.next(reviewer, skip=done):
        done.append(question.request_id)
    return done


def numbers(ids: list[str]) -> set[int]:
    return {int(one.removeprefix("r-")) for one in ids}


# ---------------------------------------------------------------- the draw


def test_the_store_draws_whom_python_draws(store: Store) -> None:
    ids = AWKWARD + [f"{n:x}" for n in range(5000)]
    sql = buckets.SQL.format(salt="{salt:String}", key="id")
    for mine in (salt("support-triage"), salt("ñ'\\"), ""):
        rows = store.query(
            f"SELECT arrayJoin({{ids:Array(String)}}) AS id, {sql} AS bucket", ids=ids, salt=mine
        )
        assert [row["bucket"] for row in rows] == [bucket(mine, one) for one in ids]


def test_the_queue_asks_about_the_sample_and_nothing_else(store: Store) -> None:
    add(store, *(asked(n) for n in range(40)))
    add(store, *(asked(n, time=NOW - 15 * DAY_MS) for n in range(40, 60)))
    add(store, *(asked(n, input=None) for n in range(60, 80)))
    add(store, *(asked(n, role="shadow") for n in range(80, 100)))
    add(store, *(asked(n, model="another") for n in range(100, 120)))
    mine = {n for n in range(40) if drawn("triage", f"r-{n}", 0.5)}
    assert numbers(all_of(queue(store), "ada")) == mine
    assert all_of(queue(store, share=0.00001), "ada") == []


def test_the_oldest_day_comes_first_and_each_reviewer_has_an_order(store: Store) -> None:
    add(store, *(asked(n) for n in range(30)))
    add(store, *(asked(n, time=NOW - 2 * DAY_MS) for n in range(30, 60)))
    found = queue(store, share=1.0)
    ada, bob = all_of(found, "ada"), all_of(found, "bob")
    assert numbers(ada[:30]) == numbers(bob[:30]) == set(range(30, 60))
    assert ada != bob
    assert sum(a == b for a, b in zip(ada, bob, strict=True)) < 10, "they rarely meet"


# ---------------------------------------------------------------- what is shown


def test_a_reviewer_sees_the_text_and_each_answer_once(store: Store) -> None:
    answers = [(1, "live", "refund"), (2, "shadow", "billing"), (3, "shadow", "refund")]
    add(store, *(asked(1, version=v, role=role, output=out) for v, role, out in answers))
    question = queue(store, share=1.0).next("ada")
    assert question is not None
    assert question.text == "text 1"
    assert sorted(question.answers) == ["billing", "refund"]
    assert question.slices == {"language": "en"}
    assert question.labels == ("billing", "delivery", "refund")
    assert question.instructions == "3"
    assert not {"confidence", "version", "versions"} & set(question.__slots__)


def test_what_is_worth_a_look_is_not_of_the_sample(store: Store) -> None:
    add(store, *(asked(n, confidence=n / 100) for n in range(40)))
    add(store, *(asked(n, version=2, role="shadow", output="refund") for n in range(20)))
    found = queue(store)
    others = {n for n in range(40) if not drawn("triage", f"r-{n}", 0.5)}
    apart = found.next("ada", "disagreement")
    unsure = found.next("ada", "confidence")
    assert apart is not None
    assert unsure is not None
    assert apart.picked == "disagreement"
    assert numbers([apart.request_id]) <= others & set(range(20))
    assert numbers([unsure.request_id]) == {min(others)}


# ---------------------------------------------------------------- what is said


def reviewed(
    store: Store, found: Queue, request_id: str, reviewer: str, word: Word, time: int = NOW
) -> Feedback:
    made = review_of(Desk(found, reviewer, ""), request_id, word, time)
    say(store, made)
    return made


def test_a_review_carries_the_chance_of_the_draw(store: Store) -> None:
    add(store, *(asked(n) for n in range(20)))
    found = queue(store)
    mine = next(n for n in range(20) if drawn("triage", f"r-{n}", 0.5))
    made = reviewed(store, found, f"r-{mine}", "ada", Word("refund", reason="plain"))
    assert (made.propensity, made.picked, made.instructions) == (0.5, None, "3")
    assert (made.reviewer, made.label, made.reason) == ("ada", "refund", "plain")
    assert f"r-{mine}" not in all_of(found, "ada")
    assert f"r-{mine}" not in all_of(found, "bob")
    again = review_of(Desk(found, "ada", ""), f"r-{mine}", Word("refund", reason="plain"), NOW)
    assert again.feedback_id == made.feedback_id, "the same word is the same feedback"
    later = review_of(Desk(found, "ada", ""), f"r-{mine}", Word("refund", reason="plain"), NOW + 1)
    assert later.feedback_id != made.feedback_id


def test_two_reviewers_are_asked_where_two_are_wanted(store: Store) -> None:
    add(store, asked(1))
    found = queue(store, share=1.0, twice=1.0)
    reviewed(store, found, "r-1", "ada", Word("refund"))
    assert all_of(found, "ada") == []
    assert all_of(found, "bob") == ["r-1"]
    reviewed(store, found, "r-1", "bob", Word("billing"))
    assert all_of(found, "eve") == []


def test_what_was_not_drawn_has_to_be_picked(store: Store) -> None:
    add(store, *(asked(n) for n in range(20)), asked(50, input=None))
    add(store, asked(60, time=NOW - 15 * DAY_MS))
    found = queue(store)
    desk = Desk(found, "ada", " --state x")
    other = next(f"r-{n}" for n in range(20) if not drawn("triage", f"r-{n}", 0.5))
    mine = next(f"r-{n}" for n in range(20) if drawn("triage", f"r-{n}", 0.5))
    with pytest.raises(BadConfig, match=r"not in the review sample \(review.share 0.5\); --picked"):
        review_of(desk, other, Word("refund"), NOW)
    picked = review_of(desk, other, Word("refund", picked="looks odd"), NOW)
    assert (picked.propensity, picked.picked) == (None, "looks odd")
    with pytest.raises(BadConfig, match="leave --picked out"):
        review_of(desk, mine, Word("refund", picked="looks odd"), NOW)
    with pytest.raises(BadConfig, match=r"'r-99': no answer of triage.*next triage --state x"):
        review_of(desk, "r-99", Word("refund"), NOW)
    with pytest.raises(BadConfig, match="keep_text"):
        review_of(desk, "r-50", Word("refund"), NOW)
    everybody = Desk(queue(store, share=1.0), "ada", "")
    with pytest.raises(BadConfig, match="older than 14 days"):
        review_of(everybody, "r-60", Word("refund"), NOW)
    with pytest.raises(BadConfig, match="--edit: triage answers 3 labels, expected LABEL"):
        review_of(desk, mine, Word(edited="refund it"), NOW)
    with pytest.raises(BadInput, match=r"request_id.*lone surrogate"):
        review_of(desk, "r-\udcff", Word("refund"), NOW)
    with pytest.raises(BadInput, match="did you mean 'refund'"):
        review_of(desk, mine, Word("refnd"), NOW)


def test_a_word_may_be_replaced_however_old_the_request_is(store: Store) -> None:
    add(store, asked(1))
    found = queue(store, share=1.0)
    reviewed(store, found, "r-1", "ada", Word("refund"))
    late = replace(found, now=NOW + 30 * DAY_MS)
    made = review_of(Desk(late, "ada", ""), "r-1", Word("billing"), late.now)
    assert made.propensity == 1.0
    with pytest.raises(BadConfig, match="older"):
        review_of(Desk(late, "bob", ""), "r-1", Word("billing"), late.now)


def test_a_model_without_a_sample_says_what_to_write() -> None:
    with pytest.raises(BadConfig, match=r"review.share` is 0, expected at least 0.0001.*apply"):
        refuse_without_sample(parse(model_yaml()))


# ---------------------------------------------------------------- how far it is


def test_statistics_of_the_sample(store: Store) -> None:
    add(store, *(asked(n, output="refund") for n in range(10)), asked(50, input=None))
    add(store, *(asked(n, version=2, role="shadow", output="billing") for n in range(10)))
    add(store, asked(0, output="refund"))  # the same answer, sent twice
    found = queue(store, share=1.0, twice=1.0)
    for n in range(4):
        for reviewer in ("ada", "bob"):
            label = "billing" if n == 3 and reviewer == "bob" else "refund"
            reviewed(store, found, f"r-{n}", reviewer, Word(label), NOW + n)
    reviewed(store, found, "r-4", "ada", Word("billing"))
    stats = found.statistics(NOON)
    (week,) = stats.weeks
    assert (week.drawn, week.without_text, week.open, week.second) == (11, 1, 5, 1)
    assert (week.labelled, week.missed, week.skipped) == (4, 0, 0)
    assert (stats.agreement.requests, stats.agreement.same) == (4, 3)
    assert list(stats.by_reviewers) == ["ada and bob"]
    assert set(stats.accuracy) == {1}, "versions that nobody heard have no live answers"
    assert stats.accuracy[1].labelled == 5
    assert stats.accuracy[1].accuracy == pytest.approx(3 / 5), "the last word counts"
    assert stats.wait_hours == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("labels", "rows"), [(2, 2), (10, 10), (77, 26)])
def test_any_number_of_labels_fits_a_screen(labels: int, rows: int) -> None:
    shown = list(numbered([f"label_{n:013d}" for n in range(1, labels + 1)], width=80))
    assert len(shown) == rows
    assert max(map(len, shown)) <= 80
    for number in (1, 2, labels):
        assert any(f"{number:>3}  label_{number:013d}" in line for line in shown)
