"""What is refused at the edge, and how the reason is told."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ingesting import (
    JSON,
    NOON,
    TEXTS,
    context,
    feedback,
    inference,
    later,
    model_yaml,
    outcome,
    writing,
)

from driftgate.bus import Record
from driftgate.codec import Codec
from driftgate.errors import BadInput
from driftgate.model_repo import parse
from services.ingest_logger.rows import Table
from services.ingest_logger.rules import Context
from services.ingest_logger.validate import Dead, Skipped, Stored, validate_record

CONTEXT = context(
    {
        "triage": parse(model_yaml()),
        "writer": writing("writer", TEXTS),
        "extract": writing("extract", JSON),
    }
)
LONG = "é" * 100_000


def edit(model: str, edited: str | None, **changes: Any) -> dict[str, Any]:
    return feedback(model=model, kind="edit", label=None, edited=edited) | changes


def result(codec: Codec, topic: str, value: bytes | None, context: Context = CONTEXT) -> Any:
    record = Record(topic, 0, 7, b"key", value)
    return validate_record(record, Table.of(topic, codec), codec, context)


def refusal(
    codec: Codec, topic: str, event: dict[str, Any], context: Context = CONTEXT
) -> BadInput:
    found = result(codec, topic, codec.encode(topic, event), context)
    assert isinstance(found, Dead), found
    return found.error


@pytest.mark.parametrize(
    ("event", "reason", "words"),
    [
        (inference(confidence=float("nan")), "bad_number", ["confidence", "nan", "0 to 1"]),
        (inference(confidence=1.5), "bad_number", ["confidence", "1.5"]),
        (inference(confidence=float("-inf")), "bad_number", ["confidence", "-inf"]),
        (inference(propensity=2.0), "bad_number", ["propensity"]),
        (inference(latency_ms=float("inf")), "bad_number", ["latency_ms"]),
        (inference(latency_ms=-1.0), "bad_number", ["latency_ms"]),
        (inference(tokens=-1), "bad_number", ["tokens"]),
        (inference(version=0), "bad_number", ["version", "at least 1"]),
        (inference(tokens_in=-1), "bad_number", ["tokens_in", "-1", "at least 0"]),
        (inference(tokens_out=-1), "bad_number", ["tokens_out", "-1", "at least 0"]),
        (inference(logprob=0.5), "bad_number", ["logprob", "0.5", "at most 0"]),
        (inference(logprob=float("-inf")), "bad_number", ["logprob", "-inf", "finite"]),
        (inference(first_token_ms=-1.0), "bad_number", ["first_token_ms", "-1.0"]),
        (inference(finish_reason="eos"), "malformed", ["finish_reason", "'eos'", "'length'"]),
        (inference(output=" "), "unknown_label", ["output", "' '"]),
        (inference(model="writer", output=LONG), "too_large", ["output", "50,000 characters"]),
        (inference(model="writer", input=LONG), "too_large", ["input", "50,000 characters"]),
        (inference(features={"words": float("nan")}), "bad_number", ["features.words"]),
        (inference(input=""), "empty", ["input", "''", "not blank"]),
        (inference(input=" \n"), "empty", ["input"]),
        (inference(request_id=""), "empty", ["request_id"]),
        (inference(output="refnud"), "unknown_label", ["output", "refnud", "'refund'"]),
        (inference(model="triag"), "unknown_model", ["model", "'triag'", "'triage'"]),
        (inference(time=0), "bad_time", ["time", "1970-01-01", "2024-12-01", "2026-01-06"]),
        (inference(time=later(365)), "bad_time", ["2027-01-05", "ahead_hours 26"]),
        (inference(time=2**62), "bad_time", ["time"]),
        (inference(time=-(2**62)), "bad_time", ["time"]),
    ],
)
def test_a_bad_inference_is_refused_with_field_value_and_expectation(
    codec: Codec, event: dict[str, Any], reason: str, words: list[str]
) -> None:
    error = refusal(codec, "inferences", event)
    assert error.reason == reason
    assert [word for word in words if word not in str(error)] == []


@pytest.mark.parametrize(
    ("event", "reason", "words"),
    [
        (feedback(label=None), "empty", ["label", "kind is correction"]),
        (feedback(kind="review", label=None), "empty", ["label"]),
        (feedback(kind="review", label=None, reviewer="ana"), "empty", ["reviewer and reason"]),
        (feedback(propensity=0.0), "bad_number", ["propensity", "0.0", "above 0"]),
        (feedback(propensity=1.5), "bad_number", ["propensity", "1.5", "1 at most"]),
        (feedback(kind="metric", value=1.0), "empty", ["metric", "kind is metric"]),
        (feedback(kind="metric", metric="resolved"), "empty", ["value", "metric and value"]),
        (feedback(kind="metric", metric=" ", value=1.0), "empty", ["metric", "not blank"]),
        (feedback(metric="resolved", value=float("-inf")), "bad_number", ["value", "finite"]),
        (feedback(kind="rating"), "empty", ["rating"]),
        (feedback(kind="edit"), "empty", ["edited"]),
        (feedback(kind="rating", rating=float("nan")), "bad_number", ["rating"]),
        (feedback(kind="rating", rating=4.0), "bad_number", ["rating", "4.0", "0 to 1"]),
        (feedback(label="billling"), "unknown_label", ["label", "'billling'", "'billing'"]),
        (feedback(feedback_id=""), "empty", ["feedback_id"]),
        (feedback(request_id=" "), "empty", ["request_id"]),
        (feedback(model="other"), "unknown_model", ["model", "'other'"]),
        (feedback(time=0), "bad_time", ["time", "1970-01-01"]),
        (edit("writer", ""), "empty", ["edited", "''", "some text"]),
        (edit("writer", LONG), "too_large", ["edited", "50,000 characters"]),
        (edit("writer", "x", reason=LONG), "too_large", ["reason", "50,000 characters"]),
        (edit("writer", "x", label="refund"), "unknown_label", ["label", "'refund'", "edited"]),
        (edit("extract", "{'team': 1}"), "bad_format", ["edited", "ticket.json", "not JSON"]),
        (edit("extract", '{"team": 7}'), "bad_format", ["edited", "ticket.json", "team"]),
    ],
)
def test_bad_feedback_is_refused_with_field_value_and_expectation(
    codec: Codec, event: dict[str, Any], reason: str, words: list[str]
) -> None:
    error = refusal(codec, "feedback", event)
    assert error.reason == reason
    assert [word for word in words if word not in str(error)] == []


@pytest.mark.parametrize(
    "event",
    [
        feedback(kind="review", label=None, reviewer="ana", reason="skipped: not readable"),
        feedback(kind="review", propensity=0.03, reviewer="ana", instructions="1"),
        feedback(kind="metric", label=None, metric="refunded", value=-3.5),
        feedback(kind="retraction", label=None),
        feedback(kind="retraction", label=None, retracts="f-r0"),
    ],
)
def test_feedback_that_says_what_its_kind_is_about_is_stored(
    codec: Codec, event: dict[str, Any]
) -> None:
    found = result(codec, "feedback", codec.encode("feedback", event))
    assert isinstance(found, Stored)
    assert {name: found.row[name] for name in event} == event


def test_a_placeholder_says_the_same_value_in_input_output_edit_and_reason(codec: Codec) -> None:
    asked = inference(
        model="writer", input="Call +49 30 1234567", output="We call +49-30-1234567 or 030 7654321"
    )
    told = edit("writer", "We call +49 30 1234567.", reason="not 030 7654321")
    answer = result(codec, "inferences", codec.encode("inferences", asked)).row
    said = result(codec, "feedback", codec.encode("feedback", told)).row
    one, other = re.findall(r"\[PHONE-[0-9a-f]{4}\]", answer["output"])
    assert one != other
    assert (answer["input"], answer["output"]) == (f"Call {one}", f"We call {one} or {other}")
    assert (said["edited"], said["reason"]) == (f"We call {one}.", f"not {other}")
    assert answer["input_hash"] == asked["input_hash"]


def test_a_classifier_keeps_its_placeholders_and_its_labels(codec: Codec) -> None:
    named = "call 030 1234567"
    own = context({"triage": parse(model_yaml(labels=[named, "other"]))})
    asked = inference(input="Call 030 1234567", output=named)
    row = result(codec, "inferences", codec.encode("inferences", asked), own).row
    assert (row["input"], row["output"]) == ("Call [PHONE]", named)
    told = feedback(label=named, edited="030 1234567", reason="030 1234567")
    row = result(codec, "feedback", codec.encode("feedback", told), own).row
    assert (row["label"], row["edited"], row["reason"]) == (named, "[PHONE]", "[PHONE]")


def test_a_distance_that_is_none_is_refused(codec: Codec) -> None:
    given = outcome(feedback(), inference()) | {"edit_distance": 1.5}
    error = refusal(codec, "outcomes", given)
    assert (error.reason, error.field, error.value) == ("bad_number", "edit_distance", 1.5)


def test_unreadable_bytes_are_refused(codec: Codec) -> None:
    good = codec.encode("inferences", inference())
    for value, reason in [
        (b"", "malformed"),
        (None, "malformed"),
        (b"{}", "malformed"),
        (good[:-3], "malformed"),
        (good + b"x", "malformed"),
        (b"\x00\x00\x00\xff\xff" + good[5:], "unknown_schema"),
        (codec.encode("feedback", feedback()), "unknown_schema"),
        (b"\x00" * 5_000_000, "too_large"),
    ]:
        found = result(codec, "inferences", value)
        assert isinstance(found, Dead)
        assert found.error.reason == reason


def test_before_the_first_tick_no_time_is_refused(codec: Codec) -> None:
    value = codec.encode("inferences", inference(time=0))
    assert isinstance(result(codec, "inferences", value, replace(CONTEXT, now=0)), Stored)


def test_good_times_reach_to_the_bounds(codec: Codec) -> None:
    for time in (later(-400), NOON, later(26 / 24)):
        value = codec.encode("inferences", inference(time=time))
        assert isinstance(result(codec, "inferences", value), Stored)


def test_a_text_that_may_not_be_kept_is_not_stored(codec: Codec) -> None:
    hidden = context({"triage": parse(model_yaml(keep_text=False))})
    found = result(codec, "inferences", codec.encode("inferences", inference()), hidden)
    assert found.row["input"] is None
    assert found.row["input_hash"] == "ab"


def test_the_deletion_of_a_key_is_no_fault_on_a_compacted_topic(codec: Codec) -> None:
    assert result(codec, "routing", None) == Skipped()
    assert isinstance(result(codec, "verdicts", None), Dead)


def test_a_model_repo_that_cannot_be_read_is_told_on_its_declaration(codec: Codec) -> None:
    event = {"model": "m", "repo_hash": "", "repo_uri": "sha256:x", "actor": "a", "time": NOON}
    error = refusal(codec, "models", event, context({}, {"sha256:x": "it is not stored"}))
    assert error.reason == "unhandled"
    assert "it is not stored" in str(error)


def test_numbers_beyond_the_store_are_refused_on_every_topic(codec: Codec) -> None:
    event = {"world": "w", "time": 2**50, "positions": {}}
    assert refusal(codec, "clock", event).reason == "bad_time"


def test_a_broken_dead_letter_is_stored_as_it_is(codec: Codec) -> None:
    found = result(codec, "feedback.dlq", b"junk")
    assert isinstance(found, Stored)
    assert found.row["source_topic"] == found.row["topic"] == "feedback.dlq"
    assert (found.row["source_offset"], found.row["value"]) == (7, b"junk")


def test_every_topic_has_a_row_for_every_example(codec: Codec) -> None:
    for name, topic in codec.topics.by_name.items():
        columns = Table.of(name, codec).columns
        fields = [f["name"] for f in codec.schemas.newest[topic.subject].raw["fields"]]
        assert [column.field for column in columns] == fields
