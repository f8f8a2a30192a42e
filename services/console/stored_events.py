"""Stored events of one model as the drift-detector hears them, in the order of their time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Any, NoReturn, TypeVar

from driftgate.bus import Position
from driftgate.drift.observations import Observation, of_inference, of_outcome
from driftgate.drift.replay import Event
from driftgate.errors import BadConfig, nearest
from driftgate.events import (
    HOUR_MS,
    Candidate,
    Inference,
    Outcome,
    RetrainRequest,
    Routing,
    Verdict,
)
from driftgate.events.record import plan_of
from driftgate.store import Store

# Rows that are in memory at once, some 100 MB; an hour of more is read whole.
ROWS = 100_000
MODELS = "SELECT DISTINCT model FROM inferences ORDER BY model"
FIRST = """
SELECT count() AS answers, toUnixTimestamp64Milli(min(time)) AS first,
    toUnixTimestamp64Milli(max(time)) AS last
FROM inferences WHERE model = {model:String} AND role = 'live'
"""
HOURS = """
SELECT toUnixTimestamp(toStartOfHour(time, 'UTC')) * 1000 AS hour, count() AS rows FROM
(
    SELECT time FROM inferences WHERE model = {model:String} AND role = 'live'
    UNION ALL SELECT time FROM outcomes WHERE model = {model:String}
)
WHERE time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({until:Int64})
GROUP BY hour ORDER BY hour
"""
THEN = """
    AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({until:Int64})
ORDER BY time, partition, offset
"""
ANSWERS = f"""
SELECT partition, offset, request_id, model, version, input_hash, features, slices, output,
    confidence, latency_ms, cost, finish_reason, logprob, toUnixTimestamp64Milli(time) AS ms
FROM inferences FINAL
WHERE model = {{model:String}} AND role = 'live'{THEN}
"""  # noqa: S608
OUTCOMES = f"""
SELECT partition, offset, outcome_id, request_id, model, version, slices, output, confidence, kind,
    label, rating, edited, was_correct, reviewer, propensity, picked, retracts, edit_distance,
    toUnixTimestamp64Milli(inference_time) AS inference_time,
    toUnixTimestamp64Milli(feedback_time) AS feedback_time, toUnixTimestamp64Milli(time) AS ms
FROM outcomes FINAL
WHERE model = {{model:String}}{THEN}
"""  # noqa: S608

Row = Mapping[str, Any]
Kind = TypeVar("Kind", Routing, Verdict, RetrainRequest, Candidate)


@dataclass(frozen=True, slots=True)
class Stored:
    """Live answers of a model: how many, and when the first and the last were given, ms."""

    answers: int
    first: int
    last: int


def stored(store: Store, model: str) -> Stored:
    """
    Raises:
        BadConfig: no answer of the model is stored.
        StoreRefused, StoreUnavailable
    """
    (found,) = store.query(FIRST, model=model)
    if not found["answers"]:
        refuse(store, model)
    return Stored(**found)


def refuse(store: Store, model: str) -> NoReturn:
    """
    Raises:
        BadConfig: which models there are.
    """
    models = [row["model"] for row in store.query(MODELS)]
    hint = nearest(model, models) if models else "no model has any"
    raise BadConfig(f"model {model!r} has no answers stored: {hint}")


def events(store: Store, model: str, since: int, until: int) -> Iterator[Event]:
    """All from `since` to before `until`, ms; of what services said also what came before.

    Raises:
        StoreRefused, StoreUnavailable
    """
    said: list[Event] = [
        *said_of(store, Routing, model),
        *said_of(store, Verdict, model),
        *said_of(store, RetrainRequest, model),
        *said_of(store, Candidate, model),
    ]
    return merge(sorted(said, key=time_of), observations(store, model, since, until), key=time_of)


def time_of(event: Event) -> int:
    return event.time


def said_of(store: Store, kind: type[Kind], model: str) -> list[Kind]:
    """All events of one type about a model."""
    table = kind.TOPIC.replace(".", "_")
    rows = store.query(
        f"SELECT * FROM {table} FINAL WHERE model = {{model:String}} ORDER BY time, offset",  # noqa: S608
        model=model,
    )
    return [event_of(kind, row) for row in rows]


def event_of(kind: type[Kind], row: Row) -> Kind:
    """An event from its row: what is nested stands in JSON, which is empty in rows that are older
    than their column, and times are dates."""
    nested = plan_of(kind).builders

    def field(name: str, value: Any) -> Any:
        if isinstance(value, datetime):
            return round(value.timestamp() * 1000)
        return json.loads(value) if name in nested and isinstance(value, str) else value

    return kind.of(
        {
            name: field(name, value)
            for name, value in row.items()
            if not (name in nested and value == "")
        }
    )


def observations(store: Store, model: str, since: int, until: int) -> Iterator[Observation]:
    """Answers and what was said of them, some hours at a time."""
    hours = store.query(HOURS, model=model, since=since, until=until)
    for begin, end in spans([(one["hour"], one["rows"]) for one in hours], since, until):
        answers = store.query(ANSWERS, model=model, since=begin, until=end)
        outcomes = store.query(OUTCOMES, model=model, since=begin, until=end)
        seen = (filter(None, map(answer, answers)), filter(None, map(word, outcomes)))
        yield from merge(*seen, key=time_of)


def spans(hours: Sequence[tuple[int, int]], since: int, until: int) -> Iterator[tuple[int, int]]:
    """Spans of whole hours that hold about `ROWS` rows, of hours and their rows."""
    begin, rows = since, 0
    for hour, more in hours:
        if rows and rows + more > ROWS:
            yield begin, hour
            begin, rows = hour, 0
        rows += more
    if rows:
        yield begin, min(until, hours[-1][0] + HOUR_MS)


def answer(row: Row) -> Observation | None:
    place = Position(Inference.TOPIC, row["partition"]), row["offset"]
    return of_inference(Inference.of({**row, "time": row["ms"]}), place)


def word(row: Row) -> Observation | None:
    place = Position(Outcome.TOPIC, row["partition"]), row["offset"]
    return of_outcome(Outcome.of({**row, "time": row["ms"]}), place)
