"""What becomes of a record: a row, a dead letter, or nothing. Pure.

`inferences` and `feedback` come from apps and are checked field by field; what services write is
checked for what the store cannot hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from driftgate import dead_letters
from driftgate.bus import Record
from driftgate.codec import Codec
from driftgate.dead_letters import (
    BAD_NUMBER,
    BAD_TIME,
    EMPTY,
    TOO_LARGE,
    UNHANDLED,
    UNKNOWN_LABEL,
    UNKNOWN_MODEL,
)
from driftgate.errors import BadInput, nearest
from driftgate.events import DAY_MS, DLQ, HOUR_MS, Event
from driftgate.model_repo import Data, ModelYaml
from driftgate.personal.masking import Masker
from driftgate.subjects import subject_hash
from driftgate.topology import INGEST
from services.ingest_logger.rows import TIMES, Row, Table, place

MAX_RECORD_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class View:
    """What validation may know besides the record.

    Attributes:
        maskers: of each model; see `maskers_of`.
        subject_key: what the ids of persons are hashed with.
        now: ms; 0 while a simulated world has not ticked, then times are not compared with it.
        refused: by artifact URI, why a declared model repo cannot be used.
    """

    models: Mapping[str, ModelYaml]
    maskers: Mapping[str, Masker]
    subject_key: bytes
    now: int
    refused: Mapping[str, str] = field(default_factory=dict)


def maskers_of(models: Mapping[str, ModelYaml]) -> dict[str, Masker]:
    """What masks the texts of each model."""
    return {name: Masker.of(config.data.mask) for name, config in models.items()}


@dataclass(frozen=True, slots=True)
class Stored:
    """To be stored in its topic's table."""

    row: Row


@dataclass(frozen=True, slots=True)
class Dead:
    """To be given up, with the reason."""

    error: BadInput


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing to store: the deletion of a key on a compacted topic."""


Outcome = Stored | Dead | Skipped


def handle(record: Record, table: Table, codec: Codec, view: View) -> Outcome:
    """One record in, what becomes of it out."""
    if record.value is None and codec.topics[record.topic].cleanup == "compact":
        return Skipped()
    is_letter = record.topic.endswith(DLQ)
    event: Event
    try:
        if not is_letter:
            check_size(record)
        event = codec.decode(record.topic, record.value)
        table.check(event)
        event = CHECKS.get(record.topic, unchanged)(event, view)
    except BadInput as error:
        # A broken dead letter has no further dead-letter topic: its own row keeps its bytes.
        return Stored(row_of_broken(record, error)) if is_letter else Dead(error)
    return Stored(table.row(record, event))


def row_of_broken(letter: Record, error: BadInput) -> Row:
    """The row of a record on a dead-letter topic that is not a dead letter."""
    told = dead_letters.letter(letter, error, INGEST, letter.timestamp).event
    source = {f"source_{name}": value for name, value in place(letter).items()}
    return dict(told) | place(letter) | source


def check_size(record: Record) -> None:
    size = len(record.value or b"") + len(record.key or b"")
    if size > MAX_RECORD_BYTES:
        raise BadInput(TOO_LARGE, "value", size, f"at most {MAX_RECORD_BYTES} bytes with its key")


# ---------------------------------------------------------------- topics that apps write


def inference(event: Event, view: View) -> Event:
    """The event as it may be stored: its text masked, or left out where the model repo says so;
    the person's id hashed."""
    present(event, "request_id", "model", "input_hash", "output")
    if event["input"] is not None:
        present(event, "input")
    share(event["confidence"], "confidence")
    share(event["propensity"], "propensity")
    for name in ("latency_ms", "cost", "tokens", "epoch"):
        at_least(event[name], name, 0)
    at_least(event["version"], "version", 1)
    for name, value in event["features"].items():
        if not math.isfinite(value):
            raise BadInput(BAD_NUMBER, f"features.{name}", value, "a finite number")
    declared = declared_model(event, view)
    known_label(event["output"], "output", declared)
    timely(event["time"], declared.data, view.now)
    text, subject = event["input"], event["subject"]
    if text is not None:
        text = view.maskers[event["model"]].text(text) if declared.data.keep_text else None
    if subject is not None:
        subject = subject_hash(view.subject_key, subject)
    return {**event, "input": text, "subject": subject}


WORDS = ("edited", "reason")  # what people write
FIELD_OF_KIND = {"rating": "rating", "correction": "label", "review": "label", "edit": "edited"}


def feedback(event: Event, view: View) -> Event:
    present(event, "feedback_id", "request_id", "model")
    wanted = FIELD_OF_KIND.get(event["kind"])
    if wanted and event[wanted] is None:
        raise BadInput(EMPTY, wanted, None, f"a {wanted}, since kind is {event['kind']}")
    share(event["rating"], "rating")
    declared = declared_model(event, view)
    if event["label"] is not None:
        known_label(event["label"], "label", declared)
    timely(event["time"], declared.data, view.now)
    masked = view.maskers[event["model"]].text
    return {**event, **{name: masked(event[name]) for name in WORDS if event[name] is not None}}


def model(event: Event, view: View) -> Event:
    if event["repo_uri"] in view.refused:
        wanted = f"a readable model repo ({view.refused[event['repo_uri']]})"
        raise BadInput(UNHANDLED, "repo_uri", event["repo_uri"], wanted)
    return event


def unchanged(event: Event, _: View) -> Event:
    return event


CHECKS: Mapping[str, Callable[[Event, View], Event]] = {
    "inferences": inference,
    "feedback": feedback,
    "models": model,
}


# ---------------------------------------------------------------- fields


def present(event: Event, *names: str) -> None:
    for name in names:
        if not event[name].strip():
            raise BadInput(EMPTY, name, event[name], "a text that is not blank")


def share(value: float | None, name: str) -> None:
    if value is not None and not 0 <= value <= 1:
        raise BadInput(BAD_NUMBER, name, value, "a number from 0 to 1")


def at_least(value: float, name: str, low: int) -> None:
    if not low <= value < math.inf:
        raise BadInput(BAD_NUMBER, name, value, f"a finite number of at least {low}")


def declared_model(event: Event, view: View) -> ModelYaml:
    name = event["model"]
    if name not in view.models:
        hint = nearest(name, list(view.models)) if view.models else "none is declared"
        wanted = f"a model that is declared on topic models: {hint}"
        raise BadInput(UNKNOWN_MODEL, "model", name, wanted)
    return view.models[name]


def known_label(label: str, name: str, declared: ModelYaml) -> None:
    valid = declared.task.labels
    if label not in valid:
        wanted = f"a label of task.labels in {declared.model}'s model.yaml: {nearest(label, valid)}"
        raise BadInput(UNKNOWN_LABEL, name, label, wanted)


def timely(time: int, kept: Data, now: int) -> None:
    """Neither older than the rows that are kept nor further ahead than clocks go wrong."""
    oldest, newest = time_range(kept, now)
    if not oldest <= time <= newest:
        wanted = (
            f"from {date(oldest)} to {date(newest)} (data.keep_days {kept.keep_days}, "
            f"data.ahead_hours {kept.ahead_hours}; it is {date(now)})"
        )
        raise BadInput(BAD_TIME, "time", date(time), wanted)


def time_range(kept: Data, now: int) -> tuple[int, int]:
    """The earliest and the latest time that is taken, ms; any while the time is not known."""
    if not now:
        return TIMES.start, TIMES.stop - 1
    return now - kept.keep_days * DAY_MS, now + kept.ahead_hours * HOUR_MS


def date(ms: Any) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
