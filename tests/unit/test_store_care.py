"""Look-ups, roll-ups, views and TTLs of the store, on the engine inside this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ingesting import NOON, feedback, inference, later, model_yaml, outcome

from driftgate import model_repo
from driftgate.bus import Position
from driftgate.events import DAY_MS
from driftgate.model_repo import ModelYaml
from driftgate.store import Store, migrate
from services.ingest_logger import queries, retention

MIGRATIONS = Path(__file__).parents[2] / "schemas" / "store"
OFFSETS = count()


@pytest.fixture
def empty() -> Iterator[Store]:
    """A database of its own."""
    name = f"care_{uuid4().hex[:8]}"
    store = Store.in_process()
    store.command(f"CREATE DATABASE {name}")
    store.command(f"USE {name}")
    yield store
    store.command(f"DROP DATABASE {name}")
    store.close()


@pytest.fixture
def store(empty: Store) -> Store:
    """With every table and view."""
    migrate(empty, MIGRATIONS)
    return empty


def stored(
    store: Store, topic: str, *events: dict[str, Any], partition: int = 0
) -> list[dict[str, Any]]:
    """Puts events into their topic's table, in one insert."""
    place = {"topic": topic, "partition": partition}
    rows = [place | {"offset": next(OFFSETS)} | dict(event) for event in events]
    store.append(topic, rows)
    return rows


def joined(given: dict[str, Any], answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The outcome of a feedback on an answer."""
    return outcome(given, answer) | changes


# ---------------------------------------------------------------- look-ups


def is_indexed(store: Store, request_id: str) -> bool:
    """Whether a look-up finds places by the projection, and what lies there by the order key."""
    places = store.query(f"EXPLAIN {queries.PLACES}", ids=[request_id])
    answers = store.query(f"EXPLAIN indexes = 1 {queries.ANSWERS}", ids=[request_id])
    return "(by_request_hash)" in str(places) and "((topic, partition, offset) in" in str(answers)


def test_the_first_live_answer_counts_across_partitions_and_parts(store: Store) -> None:
    stored(store, "inferences", inference(version=2), partition=1)
    stored(store, "inferences", inference(role="shadow", version=3))
    stored(store, "inferences", inference(version=1))
    stored(store, "inferences", inference(version=4), inference(model="other", version=5))
    found = {row["model"]: row["version"] for row in queries.answers_to(store, ["r1", "r1", "no"])}
    assert found == {"triage": 1, "other": 5}


def test_a_look_up_reads_the_projection_before_and_after_merges(store: Store) -> None:
    for start in range(0, 6000, 2000):
        stored(store, "inferences", *(inference(f"r{n}") for n in range(start, start + 2000)))
    asked = [f"r{n}" for n in range(0, 6000, 1000)]
    for _ in range(2):
        assert is_indexed(store, "r0")
        found = queries.answers_to(store, asked)
        assert sorted(row["request_id"] for row in found) == sorted(asked)
        store.command("OPTIMIZE TABLE inferences FINAL")


def test_answers_stored_before_the_look_up_changed_are_found(empty: Store, tmp_path: Path) -> None:
    for migration in sorted(MIGRATIONS.glob("000[1-8]*.sql")):
        (tmp_path / migration.name).write_bytes(migration.read_bytes())
    migrate(empty, tmp_path)
    stored(empty, "inferences", *(inference(f"r{n}") for n in range(5000)))
    migrate(empty, MIGRATIONS)
    assert [row["request_id"] for row in queries.answers_to(empty, ["r7", "r4999"])] == [
        "r7",
        "r4999",
    ]
    empty.command("OPTIMIZE TABLE inferences FINAL")
    assert is_indexed(empty, "r7")


def test_outcomes_are_found_by_the_projection_before_and_after_merges(store: Store) -> None:
    for start in range(0, 6000, 2000):
        new = (joined(feedback(f"r{n}"), inference()) for n in range(start, start + 2000))
        stored(store, "outcomes", *new)
    for _ in range(2):
        plan = store.query(f"EXPLAIN {queries.OUTCOME_PLACES}", ids=["f-r0"])
        assert "ReadFromMergeTree (by_outcome_hash)" in str(plan)
        found = queries.stored_outcomes(store, ["f-r7", "f-r5999", "f-none"])
        assert found == {"f-r7", "f-r5999"}
        store.command("OPTIMIZE TABLE outcomes FINAL")


def test_outcomes_stored_twice_before_are_once_after_the_upgrade(
    empty: Store, tmp_path: Path
) -> None:
    for migration in sorted(MIGRATIONS.glob("000*.sql")):
        (tmp_path / migration.name).write_bytes(migration.read_bytes())
    migrate(empty, tmp_path)
    asked = (
        "SELECT name FROM system.columns WHERE table = 'outcomes' AND database = currentDatabase()"
    )
    columns = {row["name"] for row in empty.query(asked)}
    outcomes = [
        {
            name: value
            for name, value in joined(feedback(f"r{n}"), inference()).items()
            if name in columns
        }
        for n in range(5)
    ]
    stored(empty, "outcomes", *outcomes, partition=1)
    stored(empty, "outcomes", *outcomes[:2], outcomes[0], partition=0)
    (last,) = stored(empty, "outcomes", outcomes[4], partition=1)
    migrate(empty, MIGRATIONS)
    assert queries.stored_outcomes(empty, ["f-r0", "f-r9"]) == {"f-r0"}
    unfinished = "SELECT * FROM system.mutations WHERE database = currentDatabase() AND NOT is_done"
    deadline = time.monotonic() + 60
    while empty.query(unfinished):
        assert time.monotonic() < deadline
    rows = empty.query("SELECT outcome_id, partition, offset FROM outcomes ORDER BY outcome_id")
    assert [row["outcome_id"] for row in rows] == [f"f-r{n}" for n in range(5)]
    assert [row["partition"] for row in rows] == [0, 0, 1, 1, 1]
    assert last["offset"] not in [row["offset"] for row in rows]


def test_more_ids_than_one_look_up_takes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "LOOKED_UP", 3)
    ids = [f"r{n}" for n in range(10)]
    stored(store, "inferences", *map(inference, ids))
    assert [row["request_id"] for row in queries.answers_to(store, ids)] == ids
    assert queries.answers_to(store, []) == []


def test_the_later_of_feedback_and_answer_finds_the_other(store: Store) -> None:
    (early,) = stored(store, "feedback", feedback("r1"))
    stored(store, "feedback", feedback("r2"))
    answer, _ = stored(store, "inferences", inference("r1"), inference("r2", role="shadow"))
    answers = {Position("inferences", 0): (answer["offset"], answer["offset"] + 1)}
    assert [row["request_id"] for row in queries.feedback_to_join(store, answers)] == ["r1"]
    given = {Position("feedback", 0): (early["offset"], early["offset"])}
    assert [row["time"] for row in queries.feedback_to_join(store, given)] == [early["time"]]
    assert queries.feedback_to_join(store, {Position("clock", 0): (0, 9)}) == []


def test_orphans_have_neither_answer_outcome_nor_letter(store: Store) -> None:
    names = ("lost", "answered", "joined", "told", "young")
    rows = {
        name: stored(store, "feedback", feedback(name, time=later(9 if name == "young" else 0)))[0]
        for name in names
    }
    (answer,) = stored(store, "inferences", inference("answered"))
    stored(store, "outcomes", joined(rows["joined"], answer | {"request_id": "joined"}))
    letter = {
        "source_topic": "feedback",
        "source_partition": 0,
        "source_offset": rows["told"]["offset"],
        "reason": "unknown_request",
        "message": "",
        "service": "ingest-logger",
        "first_seen": NOON,
    }
    stored(store, "dead_letters", letter)
    found = queries.orphans(store, "triage", NOON + DAY_MS)
    assert [row["request_id"] for row in found] == ["lost"]


# ---------------------------------------------------------------- roll-ups


def totals(store: Store, name: str, *columns: str) -> dict[str, tuple[Any, ...]]:
    sums = ", ".join(f"sum({column}) AS {column}" for column in columns)
    rows = store.query(f"SELECT slice, {sums} FROM {name} GROUP BY slice")
    return {row["slice"]: tuple(row[column] for column in columns) for row in rows}


def test_answers_roll_up_by_minute_and_slice(store: Store) -> None:
    both = {"language": "es", "channel": "mail"}
    stored(store, "inferences", *(inference(f"a{n}", slices=both) for n in range(3)))
    stored(store, "inferences", inference("b", confidence=None, time=NOON + 60_000))
    for _ in range(2):
        found = totals(store, "answers_per_minute", "answers", "with_confidence", "confidence_sum")
        assert found == {
            "all": (4, 3, 2.25),
            "language=es": (3, 3, 2.25),
            "channel=mail": (3, 3, 2.25),
            "language=en": (1, 0, None),
        }
        assert len(store.query("SELECT DISTINCT minute FROM answers_per_minute")) == 2
        store.command("OPTIMIZE TABLE inferences FINAL")
    plan = store.query("EXPLAIN SELECT * FROM answers_per_minute WHERE model = 'triage'")
    assert "ReadFromMergeTree (per_minute)" in str(plan)


def test_a_row_stored_twice_and_merged_is_rolled_up_once(store: Store) -> None:
    (row,) = stored(store, "inferences", inference())
    store.append("inferences", [row])
    store.command("OPTIMIZE TABLE inferences FINAL")
    assert totals(store, "answers_per_minute", "answers")["all"] == (1,)


def test_an_outcome_sent_twice_counts_once(store: Store) -> None:
    right = joined(feedback(label="delivery"), inference())
    wrong = joined(feedback("r2"), inference("r2"))
    unknown = joined(feedback("r3", label=None), inference("r3"))
    stored(store, "outcomes", right, wrong, unknown)
    stored(store, "outcomes", right, wrong)
    for _ in range(2):
        assert totals(store, "outcomes_per_minute", "known", "right") == {
            "all": (2, 1),
            "language=en": (2, 1),
        }
        store.command("OPTIMIZE TABLE outcomes FINAL")


# ---------------------------------------------------------------- what people said


def test_an_edited_answer_is_a_training_pair(store: Store) -> None:
    stored(store, "inferences", inference(), inference("r2"))
    edited = joined(feedback(kind="edit", edited="your parcel …", label=None), inference())
    stored(store, "outcomes", edited, joined(feedback("r2"), inference("r2")))
    stored(store, "outcomes", edited)
    (pair,) = store.query("SELECT request_id, input, output, edited FROM training_pairs")
    assert pair == {
        "request_id": "r1",
        "input": "where is my parcel",
        "output": "delivery",
        "edited": "your parcel …",
    }


def test_reviewers_disagree_when_their_last_labels_differ(store: Store) -> None:
    def review(request: str, who: str, label: str, at: int) -> dict[str, Any]:
        changes = {"kind": "review", "reviewer": who, "label": label, "time": NOON + at}
        return feedback(request, feedback_id=f"{request}-{who}-{at}", **changes)

    stored(
        store,
        "feedback",
        review("split", "ana", "billing", 1),
        review("split", "bo", "refund", 2),
        review("agreed", "ana", "billing", 1),
        review("agreed", "bo", "billing", 2),
        review("settled", "ana", "billing", 1),
        review("settled", "bo", "refund", 2),
        review("settled", "ana", "refund", 3),
        feedback("split", label="delivery"),
    )
    rows = store.query("SELECT request_id, labels, reviewers FROM reviewer_disagreements")
    assert rows == [
        {"request_id": "split", "labels": ["billing", "refund"], "reviewers": ["ana", "bo"]}
    ]


def test_ratings_are_told_once_each(store: Store) -> None:
    rated = joined(feedback(kind="rating", rating=0.25, label=None), inference())
    stored(store, "outcomes", rated, joined(feedback("r2"), inference("r2")))
    stored(store, "outcomes", rated)
    assert store.query("SELECT request_id, rating FROM ratings") == [
        {"request_id": "r1", "rating": 0.25}
    ]


# ---------------------------------------------------------------- TTLs


def kept(model: str, days: int) -> ModelYaml:
    return model_repo.parse(model_yaml(model).replace("keep_days: 400", f"keep_days: {days}"))


DECLARED = {"short": kept("short", 30), "triage": kept("triage", 30_000)}


def test_rows_go_when_their_model_says(store: Store) -> None:
    events = (inference(model="short"), inference(), inference(model="undeclared"))
    stored(store, "inferences", *(event | {"time": NOON - 4000 * DAY_MS} for event in events))
    retention.set_ttls(store, DECLARED)
    for statement in ("ALTER TABLE inferences MATERIALIZE TTL", "OPTIMIZE TABLE inferences FINAL"):
        store.command(f"{statement} SETTINGS mutations_sync = 1")
    left = store.query("SELECT model FROM inferences ORDER BY model")
    assert [row["model"] for row in left] == ["triage", "undeclared"]
    assert [row["request_id"] for row in queries.answers_to(store, ["r1"])] == ["r1", "r1"]
    assert totals(store, "answers_per_minute", "answers")["all"] == (2,)


def test_a_ttl_is_not_set_twice(store: Store) -> None:
    assert retention.set_ttls(store, DECLARED) == retention.ttl_statements(DECLARED)
    assert retention.set_ttls(store, DECLARED) == []
    (first, *_) = retention.set_ttls(store, {"short": DECLARED["short"]})
    assert first == (
        "ALTER TABLE inferences MODIFY TTL "
        "toDateTime(time) + toIntervalDay(30) WHERE model = 'short'"
    )


def test_without_models_only_dead_letters_and_counts_go(store: Store) -> None:
    dead, counts = retention.set_ttls(store, {})
    assert dead.startswith("ALTER TABLE dead_letters MODIFY TTL toDateTime(first_seen)")
    assert counts.startswith("ALTER TABLE serving_counts MODIFY TTL toDateTime(time)")


# ---------------------------------------------------------------- the engine's own logs


def test_the_local_engine_keeps_no_logs_of_its_own(store: Store) -> None:
    store.query("SELECT 1")
    logs = "database = 'system' AND name LIKE '%_log' AND engine LIKE '%MergeTree'"
    assert store.query(f"SELECT name FROM system.tables WHERE {logs}") == []
