"""Ingestion on the fake bus and the engine in process: what is stored, joined and given up."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import fastavro
import pytest
from ingesting import (
    DEADLINE_S,
    JSON,
    KEY,
    NOON,
    TEXTS,
    Harness,
    behind,
    declaration,
    feedback,
    inference,
    later,
    memory_harness,
    model_yaml,
    outcome,
    tick,
    whole,
    writing_yaml,
)

from driftgate.batches import Batch
from driftgate.bus import Position
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.edits import distance
from driftgate.errors import BusUnavailable, StoreUnavailable
from driftgate.events import DAY_MS
from driftgate.machine_clock import machine_ms
from driftgate.store import Store, migrate
from driftgate.subjects import subject_hash
from services.ingest_logger import (
    blocked_partitions,
    ingest,
    memory,
    poller,
    queries,
    retention,
    steps,
)
from services.ingest_logger.declared import Declared
from services.ingest_logger.fence import Fenced
from services.ingest_logger.partitions import Partitions, StoreAhead
from services.ingest_logger.rows import Table
from services.ingest_logger.rules import RULES
from services.ingest_logger.validator import Validator

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture(scope="module")
def engine() -> Iterator[Store]:
    store = Store.in_process()
    store.command("CREATE DATABASE IF NOT EXISTS ingest_unit")
    store.command("USE ingest_unit")
    migrate(store, SCHEMAS / "store")
    yield store
    store.command("DROP DATABASE ingest_unit")
    store.close()


@pytest.fixture
def store(engine: Store) -> Store:
    tables = "SELECT name FROM system.tables WHERE database = 'ingest_unit' AND engine LIKE '%Tree'"
    for row in engine.query(tables):
        if row["name"] != "migrations":
            engine.command(f"TRUNCATE TABLE {row['name']}")
    for name in with_ttl(engine):
        engine.command(f"ALTER TABLE {name} REMOVE TTL")
    return engine


def with_ttl(store: Store) -> list[str]:
    """Tables from which rows are removed."""
    return [r["name"] for r in store.query(retention.IN_FORCE) if " TTL " in r["engine_full"]]


@pytest.fixture
def world(store: Store, codec: Codec, tmp_path: Path) -> Harness:
    return memory_harness(store, codec, tmp_path)


def ends(world: Harness) -> dict[Position, int]:
    found = world.bus.ends(world.codec.topics.names())
    return {position: end for position, end in found.items() if end}


def outcome_ids(world: Harness) -> list[str]:
    return [row["outcome_id"] for row in world.rows("outcomes")]


@pytest.mark.parametrize("first", ["inferences", "feedback"])
@pytest.mark.parametrize("together", [True, False])
def test_feedback_meets_its_answer_in_either_order(
    world: Harness, first: str, together: bool
) -> None:
    events = {"inferences": inference(version=4), "feedback": feedback()}
    for topic in (first, *(events.keys() - {first})):
        world.send(topic, events[topic])
        if not together:
            world.settle()
    world.settle()
    (row,) = world.rows("outcomes")
    assert (row["outcome_id"], row["version"], row["was_correct"]) == ("f-r1", 4, False)
    assert row["slices"] == {"language": "en"}


def test_each_of_two_feedback_makes_an_outcome(world: Harness) -> None:
    world.send("feedback", feedback(feedback_id="early"))
    world.send("inferences", inference())
    world.settle()
    world.send("feedback", feedback(feedback_id="late", kind="rating", label=None, rating=0.0))
    world.settle()
    assert sorted(outcome_ids(world)) == ["early", "late"]


def test_an_outcome_is_stored_with_how_it_was_obtained(world: Harness) -> None:
    world.send("inferences", inference(subject="p1", propensity=0.95))
    review = {"kind": "review", "reviewer": "ana", "propensity": 0.03, "instructions": "2"}
    world.send("feedback", feedback(**review))
    measured = {"kind": "metric", "label": None, "metric": "resolved", "value": 1.0}
    world.send("feedback", feedback(feedback_id="f2", **measured))
    world.send("feedback", feedback(feedback_id="f3", kind="retraction", label=None, retracts="f2"))
    world.settle()
    found = {row["outcome_id"]: row for row in world.rows("outcomes")}
    for row in found.values():
        assert (row["subject"], row["heard"]) == (subject_hash(KEY.encode(), "p1"), 0.95)
    assert {name: found["f-r1"][name] for name in review} == review
    assert {name: found["f2"][name] for name in measured} == measured
    assert found["f3"]["retracts"] == "f2"
    assert [found[each]["was_correct"] for each in ("f-r1", "f2", "f3")] == [False, None, None]


def test_an_answer_that_was_accepted_with_its_phone_number_was_not_edited(
    world: Harness, tmp_path: Path
) -> None:
    repo = declaration(tmp_path / "writer", world.artifacts, writing_yaml("writer", TEXTS))
    world.send("models", repo)
    answer = "Please call +49 30 1234567 today."
    told = {"tokens_in": 20, "tokens_out": 9, "finish_reason": "stop", "prompt": "ab" * 32}
    told |= {"first_token_ms": 12.5, "logprob": -0.5}
    world.send("inferences", inference(model="writer", output=answer, **told))
    for name, edited in {
        "same": answer,
        "grouped": answer.replace("30 1234567", "30 123-4567"),
        "other": answer.replace("4567", "4568"),
    }.items():
        edit = {"kind": "edit", "label": None, "edited": edited}
        world.send("feedback", feedback(model="writer", feedback_id=name, **edit))
    world.settle()
    (row,) = world.rows("inferences")
    assert {name: row[name] for name in told} == told
    found = {row["outcome_id"]: row for row in world.rows("outcomes")}
    assert [found[name]["edit_distance"] for name in ("same", "grouped")] == [0, 0]
    assert [found[name]["was_correct"] for name in ("same", "grouped", "other")] == [1, 1, 0]
    other = found["other"]
    assert other["edit_distance"] == distance(row["output"], other["edited"]) > 0
    assert "1234" not in row["output"] + other["edited"]
    pairs = world.store.query("SELECT outcome_id, prompt, edit_distance FROM training_pairs")
    assert {(pair["outcome_id"], pair["prompt"]) for pair in pairs} == {
        (name, told["prompt"]) for name in found
    }


def test_bad_edits_are_dead_letters_and_the_others_go_on(world: Harness, tmp_path: Path) -> None:
    repo = declaration(tmp_path / "extract", world.artifacts, writing_yaml("extract", JSON))
    world.send("models", repo)
    world.send("inferences", inference(model="extract", output='{"team": "billing", "n": 1}'))
    for name, edited in {
        "blank": " ",
        "long": '"' + "x" * 100_000 + '"',
        "no-json": "{team: billing}",
        "no-ticket": '{"n": 1}',
        "good": '{"n": 2, "team": "billing"}',
    }.items():
        edit = {"kind": "edit", "label": None, "edited": edited}
        world.send("feedback", feedback(model="extract", feedback_id=name, **edit))
    world.settle()
    assert world.dead() == [
        ("feedback", reason) for reason in ("empty", "too_large", "bad_format", "bad_format")
    ]
    (row,) = world.rows("outcomes")
    assert (row["outcome_id"], row["was_correct"], row["changed"]) == (
        "good",
        False,
        {"n": "changed"},
    )


def test_feedback_is_about_the_live_answer_that_was_stored_first(world: Harness) -> None:
    shadow = inference(version=9, role="shadow", propensity=0.0)
    world.send("inferences", shadow, inference(version=1), inference(version=2))
    world.settle()
    world.send("feedback", feedback())
    world.settle()
    assert [row["version"] for row in world.rows("outcomes")] == [1]


def test_an_answer_repeated_after_its_feedback_makes_no_second_outcome(world: Harness) -> None:
    world.send("inferences", inference())
    world.send("feedback", feedback())
    world.settle()
    world.send("inferences", inference(version=2))
    world.settle()
    assert outcome_ids(world) == ["f-r1"]


def test_a_feedback_sent_again_leaves_one_outcome_even_much_later(world: Harness) -> None:
    world.send("inferences", inference())
    for again in (feedback(), feedback(label="billing", time=later(3))):
        world.send("feedback", again)
        world.settle()
        world.restart()
    assert len(world.rows("feedback")) == 2
    assert [row["label"] for row in world.rows("outcomes")] == ["refund"]


def test_of_outcomes_that_were_sent_twice_the_first_is_stored(world: Harness, codec: Codec) -> None:
    """In one poll and in two, among others and alone, beside an insert that lies behind them."""
    first, second, third = (outcome(feedback(f"r{n}"), inference(f"r{n}")) for n in range(3))
    for sent in ([first, first, second], [second, first], [third]):
        world.send("outcomes", *sent)
        world.settle()
        (counts,) = world.store.query("SELECT count() AS n, uniq(outcome_id) AS ids FROM outcomes")
        assert counts["n"] == counts["ids"]
    assert counts["n"] == 3
    assert behind(world.bus, codec, world.store) == {}


def test_the_same_request_id_of_two_models_is_two_requests(world: Harness, tmp_path: Path) -> None:
    other = declaration(tmp_path / "other", world.artifacts, model_yaml("other"))
    world.send("models", other)
    world.send("inferences", inference(model="other", version=5))
    world.send("feedback", feedback())
    world.settle()
    assert outcome_ids(world) == []


# Each step of a poll: where it is, and its name.
STEPS: dict[str, tuple[type, str]] = {
    "validation": (Validator, "__call__"),
    "dead letters": (steps.SendDeadLetters, "run"),
    "rows": (steps.StoreRows, "run"),
    "one insert": (steps.StoreRows, "insert"),
    "outcomes": (steps.SendOutcomes, "run"),
    "orphans": (steps.GiveUpOrphans, "run"),
    "retention": (steps.SetRetention, "run"),
    "marks": (steps.StoreMarks, "run"),
    "commit": (Partitions, "commit"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("before", [True, False])
def test_a_crash_at_any_step_loses_and_doubles_nothing(
    world: Harness, monkeypatch: pytest.MonkeyPatch, step: str, before: bool
) -> None:
    world.settle()
    world.send("inferences", *(inference(f"r{n}") for n in range(20)))
    world.send_raw("inferences", b"poison")
    world.send("inferences", *(inference(f"s{n}") for n in range(20)))
    world.send("feedback", *(feedback(f"r{n}") for n in range(10)))
    owner, name = STEPS[step]
    work = getattr(owner, name)

    def crash(self: object, *given: object) -> object:
        if not before:
            work(self, *given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owner, name, crash)
        world.step()
    world.restart()
    world.settle()
    (counts,) = world.store.query(
        "SELECT count() AS rows, uniqExact(topic, partition, offset) AS places FROM inferences"
    )
    assert counts == {"rows": 40, "places": 40}
    letters = world.rows("dead_letters", "DISTINCT source_topic, source_partition, source_offset")
    assert len(letters) == 1
    assert sorted(outcome_ids(world)) == sorted(f"f-r{n}" for n in range(10))
    assert world.bus.committed("ingest-logger") == ends(world)


@pytest.mark.parametrize("step", ["validation", "one insert"])
def test_what_was_read_after_a_poll_that_failed_is_not_stored(
    world: Harness, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world.settle()
    monkeypatch.setattr(ingest, "BULK_RECORDS", 1)  # every poll is stored beside the next ones
    (owner, name), going_on, tries = STEPS[step], threading.Event(), list[object]()
    work = getattr(owner, name)

    def fail_first(self: object, *given: object) -> object:
        tries.append(given)
        if len(tries) > 1:
            return work(self, *given)
        going_on.wait(DEADLINE_S)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail_first)
        for request_id in ("r1", "s1"):
            world.send("inferences", inference(request_id))
            world.step()
        going_on.set()
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                world.ingest.finish()
    assert world.rows("inferences") == []
    world.restart()
    world.settle()
    assert sorted(row["request_id"] for row in world.rows("inferences")) == ["r1", "s1"]


def gated(monkeypatch: pytest.MonkeyPatch, step: str) -> tuple[threading.Event, threading.Event]:
    """A step from now on says that it began, and waits until it may go on."""
    (owner, name), begun, going_on = STEPS[step], threading.Event(), threading.Event()
    work = getattr(owner, name)

    def slow(self: object, *given: object) -> object:
        begun.set()
        going_on.wait(DEADLINE_S)
        return work(self, *given)

    monkeypatch.setattr(owner, name, slow)
    return begun, going_on


def test_what_is_validated_when_its_partition_goes_is_left_to_the_next_owner(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    monkeypatch.setattr(ingest, "BULK_RECORDS", 1)
    monkeypatch.setattr(ingest, "FLUSH_SECONDS", 0.0)
    before = queries.marks(world.store)
    _, going_on = gated(monkeypatch, "validation")
    world.send("inferences", inference("r1"))
    world.step()
    world.ingest.revoked(world.ingest.partitions.positions())
    going_on.set()
    world.ingest.finish()
    assert (world.rows("inferences"), queries.marks(world.store)) == ([], before)
    world.restart()
    world.settle()
    assert [row["request_id"] for row in world.rows("inferences")] == ["r1"]


def test_a_partition_that_comes_back_while_it_is_stored_begins_anew(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before could be stored a second time: the fence tells processes apart."""
    world.settle()
    monkeypatch.setattr(ingest, "BULK_RECORDS", 1)
    monkeypatch.setattr(ingest, "FLUSH_SECONDS", 0.0)
    begun, going_on = gated(monkeypatch, "one insert")
    world.send("inferences", inference("r1"))
    world.step()
    assert begun.wait(DEADLINE_S)
    here = world.ingest.partitions.positions()
    world.ingest.revoked(here)
    with pytest.raises(Fenced, match="came back before"):
        world.ingest.assigned(here)
    going_on.set()
    with pytest.raises(Fenced, match="went to another process"):
        world.ingest.finish()
    world.restart()
    world.settle()
    assert [row["request_id"] for row in world.rows("inferences")] == ["r1"]


def test_a_backlog_is_taken_in_polls_of_so_many_records_or_bytes(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    monkeypatch.setattr(poller, "GATHER_FROM_RECORDS", 1)
    monkeypatch.setattr(poller, "GATHER_BYTES", 2000)
    poll = poller.Poller.poll

    def one_by_one(self: poller.Poller, seconds: float, _: int) -> list[Batch]:
        return poll(self, seconds, 1)

    monkeypatch.setattr(poller.Poller, "poll", one_by_one)
    world.send("inferences", *(inference(f"r{n}", input="x" * 500) for n in range(9)))
    world.step()
    assert 2 <= len(world.rows("inferences")) <= 4
    world.settle()
    assert len(world.rows("inferences")) == 9


def test_a_process_starts_slowly_so_that_a_crash_loop_progresses(world: Harness) -> None:
    world.settle()
    world.restart()
    world.send("inferences", *(inference(f"r{n}") for n in range(3 * poller.FIRST_RECORDS)))
    stored = []
    for _ in range(2):
        world.step()
        stored.append(len(world.rows("inferences", "offset")))
    assert stored == [poller.FIRST_RECORDS, 3 * poller.FIRST_RECORDS]


def test_the_store_says_where_to_go_on_not_the_group(world: Harness) -> None:
    world.send("inferences", *(inference(f"r{n}") for n in range(9)))
    world.settle()
    world.bus.groups["ingest-logger"] = dict.fromkeys(ends(world), 0)  # type: ignore[attr-defined]
    world.restart()
    world.step()
    assert len(world.rows("inferences")) == 9
    assert world.bus.committed("ingest-logger") == ends(world)


def test_an_insert_whose_answer_was_lost_is_made_once(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    append, lost = Store.append_columns, []

    def answer_lost(self: Store, table: str, *rest: object, **named: object) -> None:
        append(self, table, *rest, **named)  # type: ignore[arg-type]
        if table == "inferences" and not lost:
            lost.append(table)
            raise StoreUnavailable("no answer")

    monkeypatch.setattr(Store, "append_columns", answer_lost)
    world.send("inferences", inference())
    world.settle()
    assert lost
    assert len(world.rows("inferences")) == 1


def test_what_was_declared_before_an_answer_is_known_when_it_is_read(
    world: Harness, tmp_path: Path
) -> None:
    world.settle()
    world.ingest.consumer.pause([Position("models", 0)])
    more = model_yaml(labels=["billing", "delivery", "refund", "warranty"])
    world.send("models", declaration(tmp_path / "more", world.artifacts, more))
    world.send("inferences", inference(output="warranty"))
    world.step()
    assert [row["output"] for row in world.rows("inferences")] == ["warranty"]


def test_an_unreadable_declaration_is_given_up_and_the_last_good_one_holds(
    world: Harness,
) -> None:
    bad = {"model": "triage", "repo_hash": "", "repo_uri": "sha256:00", "actor": "a", "time": 1}
    world.send("models", bad)
    world.send("inferences", inference())
    world.settle()
    assert world.dead() == [("models", "unhandled")]
    assert len(world.rows("inferences")) == 1


def test_feedback_whose_answer_never_came_is_given_up_once_and_joined_if_it_comes(
    world: Harness, codec: Codec
) -> None:
    world.send("feedback", feedback(), feedback("r2"))
    world.send("inferences", inference("r2"))
    for day in (1, 13):
        world.send("clock", tick(later(day)))
        world.settle()
    assert world.dead() == []
    for day in (15, 16, 17):
        world.send("clock", tick(later(day)))
        world.settle()
        world.restart()
    (letter,) = world.rows("dead_letters", "*, unhex(hex(value)) = value AS same")
    (stored,) = world.rows("feedback", where="request_id = 'r1'")
    assert (letter["source_topic"], letter["reason"]) == ("feedback", "unknown_request")
    assert letter["source_offset"] == stored["offset"]
    assert "'r1'" in letter["message"]
    assert "14 days" in letter["message"]
    (sent,) = world.bus.logs[Position("feedback.dlq", 0)]  # type: ignore[attr-defined]
    original = codec.decode("feedback.dlq", sent.value)
    assert codec.decode("feedback", original["value"]) == whole(codec, "feedback", feedback())
    world.send("inferences", inference(time=later(16)))
    world.settle()
    assert sorted(outcome_ids(world)) == ["f-r1", "f-r2"]


def test_ticks_move_the_clock_that_times_are_compared_with(world: Harness) -> None:
    world.send("clock", tick(later(0)))
    world.send("inferences", inference(time=later(365)), inference(time=0), inference("good"))
    world.settle()
    assert sorted(world.dead()) == [("inferences", "bad_time")] * 2
    world.restart()
    world.send("inferences", inference(time=later(365)))
    world.settle()
    assert len(world.dead()) == 3, "the clock stands where it stood, also after a restart"


def test_a_partition_of_too_many_dead_letters_is_not_read_on_and_the_others_are(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    for _ in range(1200):
        world.send_raw("verdicts", b"poison")
    world.send("inferences", inference())
    for _ in range(2):
        world.step()
        (told,) = world.ingest.blocked.reasons().values()
        assert re.match(r"verdicts-0: (1\d{3}) of the last \1 records", told)
        assert "zero byte" in told
        assert world.health.detail["blocked"] == {"verdicts-0": told}
        assert world.bus.logs[Position("verdicts.dlq", 0)] == []  # type: ignore[attr-defined]
        world.restart()
    assert len(world.rows("inferences")) == 1
    assert queries.marks(world.store).get(Position("verdicts", 0), 0) == 0
    monkeypatch.setattr(blocked_partitions, "BLOCKED_SECONDS", 0)
    world.step()
    world.ingest.blocked.limit.share = 1.0
    world.settle()
    assert len(world.dead()) == 1200, "what was held back is handled once the cause is gone"


def blocked_with_more_on_its_way(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> threading.Event:
    """A partition is blocked, and of its next 1,200 records, which are good and were polled before
    the client was told, nothing is validated until the event is set."""
    world.settle()
    monkeypatch.setattr(ingest, "BULK_RECORDS", 1)  # every poll is validated beside the next one
    monkeypatch.setattr(blocked_partitions, "BLOCKED_SECONDS", 0)
    good = world.codec.encode("feedback", feedback())
    for _ in range(1200):
        world.send_raw("feedback", b"poison")
    world.ingest.pipeline.submit(world.ingest.poller.gather())
    world.ingest.finish()
    for _ in range(1200):
        world.send_raw("feedback", good)
    assert len(world.ingest.blocked.reasons()) == 1
    _, going_on = gated(monkeypatch, "validation")
    world.step()
    world.ingest.blocked.limit.share = 1.0
    return going_on


def test_of_a_blocked_partition_nothing_that_was_polled_meanwhile_is_handled(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = blocked_with_more_on_its_way(world, monkeypatch)
    before = queries.marks(world.store)
    going_on.set()
    world.ingest.finish()
    assert (world.rows("feedback"), queries.marks(world.store)) == ([], before)
    world.settle()
    assert (len(world.dead()), len(world.rows("feedback"))) == (1200, 1200)


def test_a_blocked_partition_is_read_on_when_nothing_of_it_is_on_its_way(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, finish = blocked_with_more_on_its_way(world, monkeypatch), ingest.Ingest.finish

    def waited_for(self: ingest.Ingest, leave: int = 0) -> None:
        going_on.set()
        finish(self, leave)

    monkeypatch.setattr(ingest.Ingest, "finish", waited_for)
    world.settle()
    assert (len(world.dead()), len(world.rows("feedback"))) == (1200, 1200)


def test_a_few_hundred_dead_letters_stop_nothing(
    store: Store, codec: Codec, tmp_path: Path
) -> None:
    world = memory_harness(store, codec, tmp_path)
    for _ in range(400):
        world.send_raw("verdicts", b"poison")
    world.settle()
    assert len(world.dead()) == 400


def test_all_pass_to_the_dead_letters_where_the_operator_says_so(
    store: Store, codec: Codec, tmp_path: Path
) -> None:
    world = memory_harness(store, codec, tmp_path, dead_letter_limit=1.0)
    for _ in range(1100):
        world.send_raw("verdicts", b"poison")
    world.settle()
    assert len(world.dead()) == 1100


def test_a_dead_letter_has_a_time_even_before_the_first_tick(world: Harness) -> None:
    """Kafka's: with none it would be as old as 1970, and removed with the oldest."""
    columns = "toUnixTimestamp64Milli(first_seen) AS at"
    world.send_raw("verdicts", b"poison")
    world.settle()
    (letter,) = world.rows("dead_letters", columns)
    assert abs(letter["at"] - machine_ms()) < DAY_MS
    world.send("clock", tick(NOON))
    world.send_raw("verdicts", b"poison")
    world.settle()
    assert [letter["at"] for letter in world.rows("dead_letters", columns)][1] == NOON


def test_a_record_larger_than_a_dead_letter_may_be_is_parked(world: Harness, codec: Codec) -> None:
    huge = b"\x00" * 9_900_000
    world.send_raw("feedback", huge)
    world.settle()
    (record,) = world.bus.logs[Position("feedback.dlq", 0)]  # type: ignore[attr-defined]
    letter = codec.decode("feedback.dlq", record.value)
    assert letter["reason"] == "too_large"
    assert letter["value"] is None
    uri = letter["message"].rpartition(" ")[2]
    assert world.artifacts.get(uri) == huge


def test_no_bytes_stop_ingestion(world: Harness, codec: Codec) -> None:
    """Damaged copies of good records: each is a row or a dead letter."""
    chance = random.Random(5)
    world.send("clock", tick(later(1)))
    world.settle()
    topics = ["inferences", "feedback", "routing.acks", "feedback.dlq"]
    letter = {"topic": "feedback", "partition": 0, "offset": 1, "key": b"k", "value": b"\xff\x00"}
    letter |= {"reason": "empty", "message": "m", "schema_id": None, "service": "s"}
    ack = {"router": "r", "model": "m", "epoch": 1, "status": "serving", "digests": ["d"]}
    events = [inference(), feedback(), ack | {"reason": None, "time": later(0)}]
    events.append(letter | {"first_seen": later(0)})
    good = [codec.encode(topic, event) for topic, event in zip(topics, events, strict=True)]
    sent = 0
    for turn in range(400):
        for topic, value in zip(topics, good, strict=True):
            damaged = bytearray(value)
            for _ in range(chance.randint(1, 3)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            world.send_raw(topic, bytes(damaged), chance.randbytes(4))
            sent += topic != "feedback.dlq"
        if turn % 40 == 0:
            world.step()
    world.settle()
    tables = "SELECT topic, partition, offset FROM "
    rows = " UNION ALL ".join(tables + t for t in ("inferences", "feedback", "routing_acks"))
    (stored,) = world.store.query(f"SELECT count() AS n FROM ({rows})")
    places = "DISTINCT source_topic, source_partition, source_offset"
    dead = world.rows("dead_letters", places, "source_topic != 'feedback.dlq'")
    assert stored["n"] + len([d for d in dead if d["source_topic"] in topics]) >= sent


def test_a_topic_that_was_made_anew_is_refused(world: Harness) -> None:
    world.send("inferences", inference())
    world.settle()
    for log in world.bus.logs.values():  # type: ignore[attr-defined]
        log.clear()
    world.restart()
    with pytest.raises(StoreAhead, match="made anew"):
        world.step()


def test_a_member_that_does_not_hear_the_ticks_of_a_world_refuses_no_time(world: Harness) -> None:
    world.send("clock", tick(later(0)))
    world.settle()
    world.ingest.revoked([Position("clock", 0)])
    world.send("inferences", inference(time=later(9)))
    world.settle()
    assert world.dead() == []


def test_a_member_that_does_not_hear_the_ticks_knows_the_time_that_runs_on(
    world: Harness,
) -> None:
    """It takes a newer tick from the store before it refuses a time by an older one."""
    now = machine_ms()
    world.send("clock", tick(now - 3 * DAY_MS, pace=1.0))
    world.settle()
    world.ingest.revoked([Position("clock", 0)])
    event = {"topic": "clock", "partition": 0, "offset": 1} | tick(now, pace=1.0)
    world.store.append("clock", [event])
    times = {"good": now, "old": now - 401 * DAY_MS, "ahead": now + 2 * DAY_MS}
    world.send("inferences", *(inference(name, time=time) for name, time in times.items()))
    world.settle()
    assert [row["request_id"] for row in world.rows("inferences")] == ["good"]
    assert world.dead() == [("inferences", "bad_time")] * 2


def test_time_is_known_between_ticks_and_after_a_restart(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the pace that the last tick says: a day has passed on a clock of that pace."""
    world.send("clock", tick(NOON, pace=1000.0))
    world.settle()
    for _ in range(2):
        monkeypatch.setattr(
            world.ingest.ticks.clock, "machine", lambda: machine_ms() + DAY_MS // 1000
        )
        assert 0 <= world.ingest.ticks.now() - later(1) < later(1) - NOON
        world.restart()
        world.step()


@pytest.mark.parametrize("pace", [0.0, 60.0, 1.0])
def test_rows_are_removed_only_where_time_is_the_machine_clock_s(
    world: Harness, pace: float
) -> None:
    """Elsewhere the store would compare the rows' times with a clock that is not theirs."""
    world.settle()
    world.send("clock", tick(NOON, pace))
    world.settle()
    assert len(with_ttl(world.store)) == (5 if pace == 1.0 else 0)


def test_every_example_of_every_stored_subject_is_stored(world: Harness, codec: Codec) -> None:
    names = [name for name in codec.topics.stored() if name not in RULES]
    sent = []
    for name in names:
        subject = codec.topics[name].subject
        schema = codec.schemas.newest[subject].schema
        for path in sorted((SCHEMAS / subject / "examples").glob("v1-*.json")):
            line = json.dumps(json.loads(path.read_text()))  # one event a line
            (event,) = fastavro.json_reader(io.StringIO(line), schema)
            world.send(name, event)
            sent.append(name)
    world.settle()
    tables = {Table.of(name, codec).name for name in names}
    stored = [row["topic"] for table in tables for row in world.rows(table, "topic")]
    assert sorted(stored) == sorted(sent)


def test_rows_hold_what_was_sent(world: Harness) -> None:
    world.send("inferences", inference(subject="p1", slices={"language": "es"}))
    world.settle()
    (row,) = world.rows("inferences", "*, toUnixTimestamp64Milli(time) AS time")
    hidden = subject_hash(KEY.encode(), "p1")
    sent = inference(subject=hidden, slices={"language": "es"})
    assert {name: row[name] for name in sent} == sent


def test_a_bus_that_was_away_is_waited_for(world: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(world.bus, MemoryBus)
    world.send("inferences", inference())
    poll, calls = world.ingest.consumer.poll_batches, []

    def comes_back(timeout: float, limit: int) -> object:
        world.bus.down = not calls  # type: ignore[attr-defined]
        calls.append(timeout)
        return poll(timeout, limit)

    monkeypatch.setattr(world.ingest.consumer, "poll_batches", comes_back)
    world.step()
    assert len(calls) == 2
    assert len(world.rows("inferences")) == 1


def add_field(app: Codec, subject: str, name: str) -> None:
    """Registers a version of a subject with one more text, which may be missing."""
    raw = app.schemas.newest[subject].raw
    field = {"name": name, "type": ["null", "string"], "default": None, "doc": "New."}
    app.registry.add(subject, json.dumps({**raw, "fields": [*raw["fields"], field]}))


def test_a_new_version_of_a_schema_is_stored_without_a_restart(
    store: Store, tmp_path: Path
) -> None:
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    world = memory_harness(store, Codec.load(schemas), tmp_path)
    world.send("inferences", inference("old"))
    world.settle()

    app = Codec.load(schemas)
    add_field(app, "inference", "region")
    for request_id in ("new", "newer"):
        event = inference(request_id, region="north")
        world.send_raw("inferences", app.encode("inferences", event), request_id.encode())
    world.settle()
    world.send("inferences", inference("old again", region=None))
    world.settle()
    found = {row["request_id"]: row["region"] for row in world.rows("inferences")}
    assert found == {"old": None, "new": "north", "newer": "north", "old again": None}
    assert world.dead() == []
    store.command("ALTER TABLE inferences DROP COLUMN region")


def test_a_new_schema_is_not_forgotten_where_the_bus_is_away_as_it_comes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    world = memory_harness(store, Codec.load(schemas), tmp_path)
    world.settle()
    app = Codec.load(schemas)
    add_field(app, "inference", "zone")
    refresh, away = Declared.refresh, [BusUnavailable("away")]

    def once_away(self: Declared) -> bool:
        if away:
            raise away.pop()
        return refresh(self)

    monkeypatch.setattr(Declared, "refresh", once_away)
    world.send_raw("inferences", app.encode("inferences", inference(zone="north")))
    world.settle()
    assert [row["zone"] for row in world.rows("inferences")] == ["north"]
    assert world.dead() == []
    store.command("ALTER TABLE inferences DROP COLUMN zone")


def test_memory_is_given_back_now_and_then(world: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(None))
    world.step()
    world.step()
    assert len(given) == 1
    monkeypatch.setattr(memory, "GIVE_BACK_SECONDS", 0.0)
    world.restart()
    world.step()
    world.step()
    assert len(given) == 3


def test_a_schema_that_a_tick_made_known_has_its_columns_before_it_is_used(
    store: Store, codec: Codec, tmp_path: Path
) -> None:
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    world = memory_harness(store, Codec.load(schemas), tmp_path)
    world.settle()
    app = Codec.load(schemas)
    for subject in ("tick", "command"):
        add_field(app, subject, "mood")
    (example, *_) = sorted((SCHEMAS / "command" / "examples").glob("*.json"))
    command = json.loads(example.read_text()) | {"time": NOON, "mood": "good"}
    world.send_raw("commands", app.encode("commands", command))
    world.send_raw("clock", app.encode("clock", tick(NOON) | {"mood": "bad"}))
    world.settle()
    assert [row["mood"] for row in world.rows("commands")] == ["good"]
    assert [row["mood"] for row in world.rows("clock")] == ["bad"]
    for table in ("commands", "clock"):
        store.command(f"ALTER TABLE {table} DROP COLUMN mood")
