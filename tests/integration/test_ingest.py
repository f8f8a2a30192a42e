"""Ingestion on Apache Kafka and ClickHouse's engine: every kind of bad input among good records."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ingesting import (
    JSON,
    Harness,
    declaration,
    feedback,
    inference,
    model_yaml,
    set_clock,
    start_here,
    whole,
    writing_yaml,
)

from driftgate import edits
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import DAY_MS
from driftgate.store import Store, migrate

pytestmark = pytest.mark.stack
NOW = time.time_ns() // 1_000_000
YEAR = 365 * DAY_MS


@pytest.fixture
def model() -> str:
    return f"m-{uuid4().hex[:8]}"


@pytest.fixture
def world(
    settings: Settings, kafka: KafkaBus, codec: Codec, tmp_path: Path, model: str
) -> Iterator[Harness]:
    """Ingestion into a database of its own, with a model of its own declared."""
    database = f"ingest_{model[2:]}"
    store = Store.connect(settings.store, database)
    migrate(store, settings.schemas / "store")
    start_here(store, kafka, codec)
    artifacts = Artifacts(settings.artifacts)
    own = settings.model_copy(update={"dead_letter_limit": 1.0})
    harness = Harness(kafka, store, codec, artifacts, own)
    set_clock(store, NOW)
    harness.send("models", declaration(tmp_path / "repo", artifacts, model_yaml(model)))
    yield harness
    harness.close()
    store.command(f"DROP DATABASE {database}")
    store.close()


def test_each_kind_of_bad_input_is_a_dead_letter_that_says_why(
    world: Harness, codec: Codec, model: str
) -> None:
    def asked(name: str, **changes: Any) -> bytes:
        event = inference(f"{model}-{name}", model=model, time=NOW) | changes
        return codec.encode("inferences", event)

    def told(name: str, **changes: Any) -> bytes:
        event = feedback(f"{model}-{name}", model=model, time=NOW) | changes
        return codec.encode("feedback", event)

    good = asked("good")
    date = time.strftime("%Y-", time.gmtime(NOW / 1000 + YEAR / 1000))
    bad = [
        ("inferences", b"\0\0\0\xff\xff" + good[5:], "unknown_schema", ["65535", "(inference)"]),
        ("inferences", good[:-9], "malformed", ["value", "inference version"]),
        ("inferences", b'{"json": true}', "malformed", ["value", "zero byte"]),
        ("inferences", b"", "malformed", ["value"]),
        ("inferences", b"\0" * 5_000_000, "too_large", ["value", "at most 1000000 bytes"]),
        ("inferences", asked("old", time=0), "bad_time", ["time", "1970-01-01", "keep_days 400"]),
        ("inferences", asked("new", time=NOW + YEAR), "bad_time", ["time", date, "ahead_hours 26"]),
        ("inferences", asked("nan", confidence=float("nan")), "bad_number", ["confidence", "nan"]),
        ("inferences", asked("empty", input=""), "empty", ["input", "''", "not blank"]),
        ("inferences", asked("label", output="refnd"), "unknown_label", ["output", "'refund'"]),
        ("inferences", asked("model", model=model + "x"), "unknown_model", [repr(model)]),
        ("feedback", told("label", label="ship"), "unknown_label", ["label", "'ship'", "task.lab"]),
        ("feedback", told("nolabel", label=None), "empty", ["label", "kind is correction"]),
        ("feedback", told("rate", rating=float("inf")), "bad_number", ["rating", "inf"]),
    ]
    key = model.encode()
    for number, (topic, value, _, _) in enumerate(bad):
        make = inference if topic == "inferences" else feedback
        world.send(topic, make(f"{model}-before-{number}", model=model, time=NOW))
        world.send_raw(topic, value, key)
    world.settle()

    letters = world.store.query(
        "SELECT source_topic, source_offset, unhex(hex(value)) = value AS same, hex(value) AS hex,"
        " reason, message FROM dead_letters WHERE key = {key:String}"
        " ORDER BY source_topic = 'feedback', source_offset",
        key=model,
    )
    assert [(letter["source_topic"], letter["reason"]) for letter in letters] == [
        (topic, reason) for topic, _, reason, _ in bad
    ]
    for letter, (_, value, _, words) in zip(letters, bad, strict=True):
        assert [word for word in words if word not in letter["message"]] == []
        assert bytes.fromhex(letter["hex"]) == value, "the original bytes can be replayed"
    counts = "count() AS n, uniqExact(topic, partition, offset) AS places"
    for topic, sent in (("inferences", 11), ("feedback", 3)):
        (row,) = world.store.query(f"SELECT {counts} FROM {topic} WHERE model = '{model}'")
        assert row == {"n": sent, "places": sent}


def test_feedback_without_an_answer_is_given_up_and_told(
    world: Harness, codec: Codec, model: str
) -> None:
    request_id = f"{model}-lost"
    event = feedback(request_id, model=model, time=NOW - 15 * DAY_MS)
    world.send("feedback", event)
    world.settle()
    for _ in range(2):  # a restart looks for what is overdue; the second finds it told
        world.restart()
        while not world.health.ready:
            world.step()
        world.settle()
    (letter,) = world.store.query(
        "SELECT reason, message, hex(value) AS hex FROM dead_letters WHERE key = {key:String}",
        key=request_id,
    )
    assert letter["reason"] == "unknown_request"
    assert request_id in letter["message"]
    said = codec.decode("feedback", bytes.fromhex(letter["hex"]))
    assert said == whole(codec, "feedback", event)


def test_feedback_meets_its_answer_over_kafka(world: Harness, model: str) -> None:
    events = {
        "feedback": [feedback(f"{model}-{n}", model=model, time=NOW) for n in range(40)],
        "inferences": [inference(f"{model}-{n}", model=model, time=NOW) for n in range(60)],
    }
    world.send("feedback", *events["feedback"][:20])
    world.settle()
    world.send("inferences", *events["inferences"])
    world.settle()
    world.send("feedback", *events["feedback"][20:])
    world.settle()
    found = world.rows("outcomes", "outcome_id, was_correct", f"model = '{model}'")
    assert sorted(row["outcome_id"] for row in found) == sorted(
        event["feedback_id"] for event in events["feedback"]
    )
    (known,) = world.store.query(
        "SELECT count() AS answers, countIf(known) AS known FROM inference_log "
        "WHERE model = {model:String}",
        model=model,
    )
    assert known == {"answers": 60, "known": 40}


def test_a_phone_number_has_one_placeholder_in_input_answer_edit_and_outcome(
    world: Harness, model: str, tmp_path: Path
) -> None:
    """The edit replaces one of two numbers, so it counts as one."""
    writer = f"{model}-writes"
    repo = declaration(tmp_path / "writer", world.artifacts, writing_yaml(writer, JSON))
    world.send("models", repo)
    asked = "I am at +49 30 1234567, not at 030/7654321."
    said = {"team": "delivery", "phone": "030 7654321", "note": "late:\n+49-30-1234567"}
    right = said | {"phone": "+49 30 1234567"}
    base = {"model": writer, "time": NOW}
    world.send(
        "inferences",
        inference(f"{model}-w", **base, input=asked, output=json.dumps(said), logprob=-0.25),
    )
    edit = {"kind": "edit", "label": None, "edited": json.dumps(right), "reason": "+49 301234567"}
    world.send("feedback", feedback(f"{model}-w", **base, **edit))
    world.settle()
    (row,) = world.rows("inferences", where=f"model = '{writer}'")
    (told,) = world.rows("feedback", where=f"model = '{writer}'")
    (found,) = world.rows("outcomes", where=f"model = '{writer}'")
    placeholder = told["reason"]
    assert re.fullmatch(r"\[PHONE-[0-9a-f]{4}\]", placeholder)
    answer, edited = json.loads(row["output"]), json.loads(told["edited"])
    assert row["input"] == f"I am at {placeholder}, not at {answer['phone']}."
    assert answer["note"] == edited["note"] == f"late:\n{placeholder}"
    assert answer["phone"] != edited["phone"] == placeholder
    assert (row["logprob"], row["tokens_out"]) == (-0.25, 0)
    assert (found["output"], found["edited"]) == (row["output"], told["edited"])
    assert (found["was_correct"], found["changed"]) == (False, {"phone": "changed"})
    assert found["edit_distance"] == edits.of_json(row["output"], told["edited"]).distance > 0
