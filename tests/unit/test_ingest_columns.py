"""By column and record by record: both ways give the same rows and the same dead letters."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from ingesting import JSON, NOON, TEXTS, context, feedback, inference, later, model_yaml, writing

from driftgate.batches import Batch
from driftgate.bus import Position
from driftgate.codec import Codec
from driftgate.model_repo import parse
from services.ingest_logger import columns, decoding
from services.ingest_logger.columns import ValidatedBatch, one_by_one, validate_batch
from services.ingest_logger.rows import Table
from services.ingest_logger.rules import Context
from services.ingest_logger.validate import validate_record

CONTEXT = context(
    {
        "triage": parse(model_yaml()),
        "secret": parse(model_yaml("secret", keep_text=False)),
        "writer": writing("writer", TEXTS),
        "extract": writing("extract", JSON),
    },
    {"sha256:bad": "it is not stored"},
)
NUMBERS = [0.0, 1.0, 0.5, -0.1, 1.1, float("nan"), float("inf"), -float("inf"), 1e308, -0.0]
WORDS = ["mail ana@example.com, 4111 1111 1111 1111", "", " ", "\n\t", "\u00a0", "\u2003", "x"]
WORDS += ["¿dónde?", "包裹", "\u200b", "a\x00b", "\x1c", "!"]
TIMES = [NOON, 0, -1, later(1), later(2), later(-399), later(-401), 2**62, -(2**62), NOON + 1]
MAPS = [{}, {"a": 1.0}, {"a": float("nan")}, {"a": 1.0, "b": float("inf")}, {"é": -2.0, "b": 0.0}]
ANSWERS = [*WORDS, "a" * 50_000, "é" * 50_001, '{"team": "ana@example.com"}', '{"team": 1}']
LABELS = ["billing", "refund", "", "refnud", " delivery"]


def chosen(chance: random.Random, event: dict[str, Any], changes: dict[str, list[Any]]) -> Any:
    """The event with a few of its fields changed; mostly none."""
    for name in chance.sample(sorted(changes), chance.choice([0, 0, 0, 1, 1, 2, 3])):
        event[name] = chance.choice(changes[name])
    return event


def an_inference(chance: random.Random, number: int) -> dict[str, Any]:
    model = chance.choice(["triage", "triage", "secret", "writer", "extract"])
    event = inference(f"r{number}", model=model)
    return chosen(
        chance,
        event,
        {
            "request_id": WORDS,
            "model": ["triag", ""],
            "version": [0, -1, 1, 2**31 - 1],
            "role": ["live", "shadow"],
            "input": [*ANSWERS, None],
            "input_hash": WORDS,
            "features": MAPS,
            "slices": [{}, {"language": "es", "plan": ""}],
            "output": [*LABELS, *ANSWERS],
            "confidence": [*NUMBERS, None],
            "latency_ms": NUMBERS,
            "tokens": [-1, 0, 2**31 - 1],
            "tokens_in": [-1, 0, 2**31 - 1],
            "tokens_out": [-1, 0, 2**31 - 1],
            "finish_reason": ["stop", "length", "cancelled", "", "eos", "Stop"],
            "first_token_ms": [*NUMBERS, None],
            "logprob": [*NUMBERS, -1.5, None],
            "cost": NUMBERS,
            "subject": [None, "", "p1", "é"],
            "epoch": [-1, 0, 2**62],
            "propensity": NUMBERS,
            "time": TIMES,
        },
    )


def a_feedback(chance: random.Random, number: int) -> dict[str, Any]:
    model = chance.choice(["triage", "triage", "writer", "extract"])
    event = feedback(f"r{number}", feedback_id=f"f{number}", model=model)
    if model != "triage":
        event |= {"kind": "rating", "label": None, "rating": 0.0}
    return chosen(
        chance,
        event,
        {
            "feedback_id": WORDS,
            "request_id": WORDS,
            "model": ["triag", "secret"],
            "kind": ["rating", "correction", "edit", "review", "metric", "retraction"],
            "rating": [*NUMBERS, None],
            "label": [*LABELS, None],
            "edited": [*ANSWERS, None],
            "reason": [*ANSWERS, None],
            "reviewer": [None, "ana"],
            "propensity": [*NUMBERS, 0.03, None],
            "picked": [None, "disagreement"],
            "metric": [*WORDS, "resolved", None],
            "value": [*NUMBERS, None],
            "retracts": [None, "f1"],
            "time": TIMES,
        },
    )


def an_outcome(chance: random.Random, number: int) -> dict[str, Any]:
    event = {
        "outcome_id": f"f{number}",
        "request_id": f"r{number}",
        "model": "triage",
        "version": 1,
        "slices": {"language": "en"},
        "output": "refund",
        "confidence": 0.5,
        "kind": "correction",
        "label": "refund",
        "rating": None,
        "edited": None,
        "was_correct": True,
        "inference_time": NOON,
        "feedback_time": NOON,
        "time": NOON,
    }
    changes = {"version": [0, 2**31 - 1], "time": TIMES, "was_correct": [None, False]}
    changes |= {"confidence": NUMBERS, "slices": [{}, {"a": "b"}]}
    changes |= {"edit_distance": [*NUMBERS, None], "changed": [{}, {"team": "changed"}]}
    return chosen(chance, event, changes)


def a_model(chance: random.Random, number: int) -> dict[str, Any]:
    event = {"model": f"m{number}", "repo_hash": "", "repo_uri": "sha256:good", "actor": "ana"}
    changes = {"model": WORDS, "repo_uri": ["sha256:bad", ""], "time": TIMES}
    return chosen(chance, event | {"time": NOON}, changes)


def damaged(chance: random.Random, value: bytes) -> bytes | None:
    """Mostly the value as it is; else none, cut, extended, or with bytes changed."""
    match chance.choices(range(5), [30, 1, 1, 1, 3])[0]:
        case 1:
            return None
        case 2:
            return value[: chance.randrange(len(value))]
        case 3:
            return value + chance.randbytes(chance.randint(1, 9))
        case 4:
            changed = bytearray(value)
            for _ in range(chance.randint(1, 3)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            return bytes(changed)
    return value


MAKERS = {
    "inferences": an_inference,
    "feedback": a_feedback,
    "outcomes": an_outcome,
    "models": a_model,
}


def batch(codec: Codec, topic: str, values: list[bytes | None]) -> Batch:
    offsets = [3 + 2 * number for number in range(len(values))]  # with gaps
    keys = [b"k"] * len(values)
    return Batch.of(Position(topic, 1), offsets, keys, values, [NOON] * len(values))


def by_record(batch: Batch, codec: Codec, context: Context) -> ValidatedBatch:
    """The definition."""
    table = Table.of(batch.position.topic, codec)
    rows, dead = one_by_one(batch, range(len(batch)), table, codec, context)
    return ValidatedBatch.of(batch, table.arrow(rows), dead)


def told(validated: ValidatedBatch) -> tuple[list[str], list[tuple[int, str, str]]]:
    """Rows as text, since NaN is not equal to itself; dead letters by place, reason, message."""
    dead = [(record.offset, error.reason, str(error)) for record, error in validated.dead]
    return [repr(sorted_maps(row)) for row in validated.rows.to_pylist()], dead


def sorted_maps(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, list) else value for name, value in row.items()
    }


@pytest.mark.parametrize("topic", sorted(MAKERS))
@pytest.mark.parametrize("now", [NOON, 0])
def test_thousands_of_random_records_come_out_the_same_both_ways(
    codec: Codec, topic: str, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "GROUP", 300)
    chance = random.Random(f"{topic} {now}")
    values = [damaged(chance, codec.encode(topic, MAKERS[topic](chance, n))) for n in range(2_000)]
    sent = batch(codec, topic, values)
    known = replace(CONTEXT, now=now)
    by_column = validate_batch(sent, Table.of(topic, codec), codec, known)
    assert told(by_column) == told(by_record(sent, codec, known))
    assert 200 < len(by_column.rows) < 1999


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        ("inferences", inference(input="¿dónde?")),
        ("inferences", inference(model="writer", output="¿?", logprob=-0.3, finish_reason="stop")),
        ("inferences", inference(model="writer", output="", finish_reason="cancelled")),
        ("inferences", inference(model="extract", output="no JSON", first_token_ms=9.0)),
        ("feedback", feedback(edited="x")),
        ("feedback", feedback(model="writer", kind="rating", label=None, rating=1.0)),
    ],
)
def test_good_records_take_the_fast_way(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, topic: str, event: dict[str, Any]
) -> None:
    def slow(*_: Any) -> Any:
        raise AssertionError("record by record")

    values = [codec.encode(topic, event)] * 50
    with monkeypatch.context() as patched:
        patched.setattr(columns, "validate_record", slow)
        validated = validate_batch(
            batch(codec, topic, values), Table.of(topic, codec), codec, CONTEXT
        )
    assert len(validated.rows) == 50


def test_one_bad_record_among_many_stands_alone(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[bytes | None] = [
        codec.encode("inferences", inference(f"r{n}")) for n in range(1000)
    ]
    values[617] = values[617][:-3]  # type: ignore[index]
    seen = []
    monkeypatch.setattr(
        columns,
        "validate_record",
        lambda record, *rest: seen.append(record) or validate_record(record, *rest),  # type: ignore[func-returns-value]
    )
    validated = validate_batch(
        batch(codec, "inferences", values), Table.of("inferences", codec), codec, CONTEXT
    )
    assert len(validated.rows) == 999
    assert [record.offset for record, _ in validated.dead] == [3 + 2 * 617]
    assert len(seen) < decoding.SMALLEST_GROUP


def test_maps_in_blocks_with_sizes_as_other_languages_write_them(codec: Codec) -> None:
    """Avro lets a writer give a block's size before it, with its count negative."""
    plain = codec.encode("inferences", inference("r1"))
    entry = b"\x0awords" + plain[plain.index(b"\x0awords") + 6 :][:8]
    sized = b"\x01" + bytes([2 * len(entry)]) + entry
    second = b"\x02" + entry.replace(b"words", b"bytes")
    value = plain.replace(b"\x02" + entry, sized + second)
    sent = batch(codec, "inferences", [value])
    validated = validate_batch(sent, Table.of("inferences", codec), codec, CONTEXT)
    assert validated.rows["features"].to_pylist() == [[("words", 4.0), ("bytes", 4.0)]]
    assert told(validated) == told(by_record(sent, codec, CONTEXT))


@pytest.mark.parametrize(
    ("keys", "good"),
    [
        (["ab", "ab", "ab"], [True, True, True]),
        (["ab", "ba"], [True, True]),
        (["ab", "a", ""], [True, True, True]),
        (["aa", "ab"], [False, True]),
        (["aa", "aa"], [False, False]),
        (["aba", "b", "ab"], [False, True, True]),
        (["", ""], [True, True]),
        ([], []),
    ],
)
def test_maps_in_which_a_key_comes_twice_are_not_sure(keys: list[str], good: list[bool]) -> None:
    maps = pa.array([[(k, 1.0) for k in row] for row in keys], pa.map_(pa.string(), pa.float64()))
    assert columns.has_unique_keys(maps).tolist() == good
