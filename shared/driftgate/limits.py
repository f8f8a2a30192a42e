"""What the events of apps may hold: the client refuses the rest at the call, ingestion when the
record arrives. Pure.

Each field has one rule in `RULES`; whoever checks whole columns reads the same table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastavro.validation import ValidationError, validate

from driftgate.dead_letters import BAD_NUMBER, BAD_TIME, EMPTY, MALFORMED, TOO_LARGE
from driftgate.errors import BadInput, nearest, shown
from driftgate.events import DAY_MS, HOUR_MS, Feedback, Inference, Outcome
from driftgate.model_repo import Data
from driftgate.schemas import Version

MAX_RECORD_BYTES = 1_000_000
# What DateTime64(3) can hold of the time since 1970: to the end of the year 2299.
TIMES = range(10_413_792_000_000)
MAX_WORD = 200
MAX_SLICES = 32


@dataclass(frozen=True, slots=True)
class NotBlank:
    """A text of more than white space."""

    def check(self, field: str, value: str) -> None:
        if not value.strip():
            raise BadInput(EMPTY, field, value, "a text that is not blank")


@dataclass(frozen=True, slots=True)
class Within:
    """A number of the closed range. The infinities and NaN are in none."""

    low: float
    high: float = math.inf

    def check(self, field: str, value: float) -> None:
        if not (self.low <= value <= self.high and math.isfinite(value)):
            raise BadInput(BAD_NUMBER, field, value, self.wanted)

    @property
    def wanted(self) -> str:
        if self.high == math.inf:
            return f"a finite number of at least {self.low}"
        if self.low == -math.inf:
            return f"a finite number of at most {self.high}"
        return f"a number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Chance:
    """The probability of something that has happened: above 0, and 1 at most."""

    def check(self, field: str, value: float) -> None:
        if not 0 < value <= 1:
            raise BadInput(BAD_NUMBER, field, value, "a number above 0, and 1 at most")


@dataclass(frozen=True, slots=True)
class Finite:
    """A number of any sign; neither an infinity nor NaN."""

    def check(self, field: str, value: float) -> None:
        if not math.isfinite(value):
            raise BadInput(BAD_NUMBER, field, value, "a finite number")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these words."""

    words: tuple[str, ...]

    def check(self, field: str, value: str) -> None:
        if value not in self.words:
            wanted = f"one of {', '.join(map(repr, self.words))}"
            raise BadInput(MALFORMED, field, value, wanted)


@dataclass(frozen=True, slots=True)
class FiniteValues:
    """A map to finite numbers."""

    def check(self, field: str, value: Mapping[str, float]) -> None:
        for name, number in value.items():
            Finite().check(f"{field}.{name}", number)


Rule = NotBlank | Within | Chance | Finite | OneOf | FiniteValues

# Why a written answer ended; empty where nothing is written.
FINISHED = ("", "stop", "length", "cancelled")

# By topic, then by field. A null passes.
RULES: Mapping[str, Mapping[str, Rule]] = {
    Inference.TOPIC: {
        "request_id": NotBlank(),
        "model": NotBlank(),
        "input_hash": NotBlank(),
        "input": NotBlank(),
        "confidence": Within(0, 1),
        "propensity": Within(0, 1),
        "latency_ms": Within(0),
        "cost": Within(0),
        "tokens": Within(0),
        "tokens_in": Within(0),
        "tokens_out": Within(0),
        "finish_reason": OneOf(FINISHED),
        "first_token_ms": Within(0),
        "logprob": Within(-math.inf, 0),
        "epoch": Within(0),
        "version": Within(1),
        "features": FiniteValues(),
    },
    Feedback.TOPIC: {
        "feedback_id": NotBlank(),
        "request_id": NotBlank(),
        "model": NotBlank(),
        "rating": Within(0, 1),
        "propensity": Chance(),
        "metric": NotBlank(),
        "value": Finite(),
    },
    Outcome.TOPIC: {"edit_distance": Within(0, 1)},
}

# By kind of feedback, what it says: all fields of one of these sets. A retraction says enough by
# its kind. A reviewer who passes a request over says why.
SAYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "rating": (("rating",),),
    "correction": (("label",),),
    "edit": (("edited",),),
    "review": (("label",), ("edited",), ("reviewer", "reason")),
    "metric": (("metric", "value"),),
}


def check(topic: str, event: Mapping[str, Any]) -> None:
    """Holds an event of the right types to the rules of its topic, one of `RULES`. A field that has
    a default may be left out.

    Raises:
        BadInput: names the field, its value and what was expected.
    """
    for field, rule in RULES[topic].items():
        value = event.get(field)
        if value is not None:
            rule.check(field, value)
    if topic == Feedback.TOPIC:
        check_kind(event)


def check_kind(feedback: Mapping[str, Any]) -> None:
    """A feedback has what its kind is about.

    Raises:
        BadInput: names the first field that is missing.
    """
    ways = SAYS.get(feedback["kind"], ((),))
    missing = [[name for name in way if feedback.get(name) is None] for way in ways]
    if all(missing):
        wanted = ", or ".join(" and ".join(way) for way in ways)
        raise BadInput(EMPTY, missing[0][0], None, f"{wanted}, since kind is {feedback['kind']}")


def check_length(field: str, text: str | None, longest: int | None) -> None:
    """
    Raises:
        BadInput: a text has more characters than its task takes.
    """
    if text is not None and longest is not None and len(text) > longest:
        raise BadInput(TOO_LARGE, field, text, f"at most {longest:,} characters")


def check_size(key: bytes | None, value: bytes | None) -> None:
    """Raises: BadInput."""
    size = len(key or b"") + len(value or b"")
    if size > MAX_RECORD_BYTES:
        raise BadInput(TOO_LARGE, "value", size, f"at most {MAX_RECORD_BYTES} bytes with its key")


def check_time(time: int, data: Data, now: int) -> None:
    """Neither older than the rows that are kept nor further ahead than clocks go wrong. `time` and
    `now` in ms; `now` is 0 while it is not known.

    Raises:
        BadInput
    """
    oldest, newest = time_range(data, now)
    if not oldest <= time <= newest:
        wanted = (
            f"from {date(oldest)} to {date(newest)} (data.keep_days {data.keep_days}, "
            f"data.ahead_hours {data.ahead_hours}; it is {date(now)})"
        )
        raise BadInput(BAD_TIME, "time", date(time), wanted)


def time_range(data: Data, now: int) -> tuple[int, int]:
    """The earliest and the latest time that is taken, ms; any while the time is not known."""
    if not now:
        return TIMES.start, TIMES.stop - 1
    return now - data.keep_days * DAY_MS, now + data.ahead_hours * HOUR_MS


def date(ms: int) -> str:
    """A time in UTC, to the second; as it is where no calendar has it."""
    if ms not in TIMES:
        return f"{ms} ms since 1970"
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---------------------------------------------------------------- what Avro's decoder ensures later


def check_event(
    topic: str, version: Version, event: Mapping[str, Any], data: Data, now: int
) -> None:
    """All of this page that an event has to keep before it is encoded. version: of its subject.

    Raises:
        BadInput: ingestion would refuse it.
    """
    check_types(version, event)
    check_texts(event)
    check(topic, event)
    check_time(event["time"], data, now)


def check_types(version: Version, event: Mapping[str, Any]) -> None:
    """An event has fields of its subject only, of their types.

    Raises:
        BadInput: names the field, its value and what was expected.
    """
    names = [field["name"] for field in version.raw["fields"]]
    for name in event.keys() - set(names):
        wanted = f"a field of subject {version.subject}: {nearest(name, names)}"
        raise BadInput(MALFORMED, name, event[name], wanted)
    try:
        validate(event, version.schema)
    except ValidationError as error:
        first = error.errors[0]
        wanted = " or ".join(in_words(one.schema) for one in error.errors)
        raise BadInput(MALFORMED, first.field.rpartition(".")[2], first.datum, wanted) from None


def in_words(schema: Any) -> str:
    """An Avro type, for people."""
    match schema:
        case {"type": "enum", "symbols": symbols}:
            return f"one of {', '.join(symbols)}"
        case {"type": "map", "values": inner}:
            return f"a map to {in_words(inner)}"
        case {"type": inner}:
            return in_words(inner)
    return TYPES.get(schema, str(schema))


TYPES = {
    "string": "a text",
    "int": "an int of 32 bits",
    "long": "an int of 64 bits",
    "double": "a number",
    "null": "None",
}


def check_texts(event: Mapping[str, Any]) -> None:
    """Every text of an event can be written as UTF-8, keys of maps too.

    Raises:
        BadInput: as `check_text`.
    """
    for field, value in event.items():
        if isinstance(value, str):
            check_text(field, value)
        elif isinstance(value, Mapping):
            for name, item in value.items():
                check_text(field, name)
                if isinstance(item, str):
                    check_text(f"{field}[{shown(name)}]", item)


def check_text(field: str, text: Any) -> None:
    """
    Raises:
        BadInput: it is no text, or holds half of a surrogate pair, as one does that was cut between
            UTF-16 units.
    """
    if not isinstance(text, str):
        raise BadInput(MALFORMED, field, text, "a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        wanted = f"Unicode text (character {error.start} is a lone surrogate)"
        raise BadInput(MALFORMED, field, text, wanted) from None


def check_words(request_id: str, subject: str, slices: Mapping[str, str]) -> None:
    """Holds what a request is routed by to its sizes.

    Raises:
        BadInput: names the field, its value and what was expected.
    """
    if len(slices) > MAX_SLICES:
        raise BadInput(TOO_LARGE, "slices", len(slices), f"at most {MAX_SLICES} slices")
    named = ((f"slices[{shown(name)}]", name, value) for name, value in slices.items())
    for field, *words in (("request_id", request_id), ("subject", subject), *named):
        for word in words:
            check_text(field, word)
        if sum(map(len, words)) > MAX_WORD:
            wanted = f"at most {MAX_WORD} characters"
            raise BadInput(TOO_LARGE, field, "".join(words), wanted)
