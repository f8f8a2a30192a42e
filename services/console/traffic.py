"""How a model answered, and how much of it is known to be right: from the store's roll-ups alone.

Times are those of the events, to the minute. Only live answers count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from string import Template
from typing import NoReturn

from driftgate.errors import BadConfig, nearest
from driftgate.shares import wilson
from driftgate.store import Store
from services.console.dead_letter_selection import moment

ALL, EACH = "all", ""
MINUTE_S = 60

SPAN = """
SELECT
    toUnixTimestamp(min(minute)) AS first,
    toUnixTimestamp(max(minute)) AS last,
    count() AS minutes
FROM answers_rolled_up
WHERE model = {model:String} AND role = 'live' AND slice = {slice:String}
"""
MODELS = "SELECT DISTINCT model FROM answers_rolled_up WHERE role = 'live' ORDER BY model"
SLICES = """
SELECT DISTINCT slice FROM answers_rolled_up WHERE model = {model:String} AND role = 'live'
"""
ROWS = Template("""
SELECT key, {since:Int64} + at * {step:Int64} AS time, answers, confidence, latency_ms, known, right
FROM
(
    SELECT
        $key AS key,
        intDiv(toUnixTimestamp(minute) - {since:Int64}, {step:Int64}) AS at,
        sum(answers) AS answers,
        sum(confidence_sum) / sum(with_confidence) AS confidence,
        quantilesTDigestMerge(0.5, 0.95, 0.99)(latency_ms_state) AS latency_ms
    FROM answers_rolled_up
    WHERE model = {model:String} AND role = 'live'
      AND minute >= toDateTime({since:Int64}) AND minute < toDateTime({until:Int64})
      AND ({slice:String} = '' OR slice = {slice:String})
    GROUP BY key, at
) AS answered
LEFT JOIN
(
    SELECT
        $key AS key,
        intDiv(toUnixTimestamp(minute) - {since:Int64}, {step:Int64}) AS at,
        sum(known) AS known,
        sum(right) AS right
    FROM outcomes_per_minute
    WHERE model = {model:String}
      AND minute >= toDateTime({since:Int64}) AND minute < toDateTime({until:Int64})
      AND ({slice:String} = '' OR slice = {slice:String})
    GROUP BY key, at
) AS judged USING (key, at)
""")


class By(StrEnum):
    """What a row is about."""

    VERSION = "version"
    SLICE = "slice"
    DAY = "day"


KEYS = {By.VERSION: "version", By.SLICE: "slice", By.DAY: "toDate(minute)"}


@dataclass(frozen=True, slots=True)
class Span:
    """Whole minutes, from `since` to before `until`; seconds since 1970."""

    since: int
    until: int

    @property
    def seconds(self) -> int:
        return self.until - self.since


@dataclass(frozen=True, slots=True)
class Row:
    """Answers of a version, slice or day.

    Attributes:
        time: when the row begins, seconds since 1970.
        confidence: mean; None where no answer has one.
        latency_ms: p50, p95 and p99.
        known: outcomes that say whether the answer was right; `right`: those that say it was.
    """

    key: str
    time: int
    answers: int
    confidence: float | None
    latency_ms: tuple[float, float, float]
    known: int
    right: int

    @property
    def accuracy(self) -> float | None:
        return self.right / self.known if self.known else None

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95 %."""
        return wilson(self.right, self.known)


def span_of(store: Store, model: str, slice_: str, since: str) -> Span:
    """The time to look at: `since` counts back from the end of the newest answer's minute.

    Raises:
        BadConfig: no such answer is stored, or `since` is no time before the newest.
        StoreRefused, StoreUnavailable
    """
    (found,) = store.query(SPAN, model=model, slice=slice_)
    if not found["minutes"]:
        refuse(store, model, slice_)
    until = found["last"] + MINUTE_S
    begin = moment("--since", since, until * 1000) // 1000
    if begin >= until:
        newest = datetime.fromtimestamp(found["last"], UTC).strftime("%Y-%m-%dT%H:%M")
        raise BadConfig(
            f"--since {since!r}: expected a time up to {newest}, the newest answer of {model}"
        )
    return Span(max(begin // MINUTE_S * MINUTE_S, found["first"]), until)


def refuse(store: Store, model: str, slice_: str) -> NoReturn:
    """
    Raises:
        BadConfig: which models or slices there are.
    """
    slices = [row["slice"] for row in store.query(SLICES, model=model)]
    if slices:
        raise BadConfig(f"slice {slice_!r} of {model} has no answers: {nearest(slice_, slices)}")
    models = [row["model"] for row in store.query(MODELS)]
    raise BadConfig(f"model {model!r} has no answers stored; known are {models or 'none'}")


def rows(
    store: Store, model: str, slice_: str, by: By, span: Span, step: int | None = None
) -> Sequence[Row]:
    """Rows of one slice or `EACH`; of the whole span, or one each `step` seconds of it.

    Raises:
        StoreRefused, StoreUnavailable
    """
    sql = ROWS.substitute(key=KEYS[by])
    found = store.query(
        sql,
        model=model,
        slice=slice_,
        since=span.since,
        until=span.until,
        step=step or span.seconds,
    )
    found.sort(key=lambda row: (row["key"] != ALL, row["key"], row["time"]))
    return [
        Row(**row | {"key": str(row["key"]), "latency_ms": tuple(row["latency_ms"])})
        for row in found
    ]
