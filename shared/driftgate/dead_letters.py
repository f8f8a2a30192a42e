"""Why a record was given up, as a closed list, and the letter that tells it."""

from __future__ import annotations

from driftgate.bus import Record
from driftgate.errors import BadInput
from driftgate.events import DeadLetter

MALFORMED = "malformed"  # not the Confluent wire format, or the bytes do not follow their schema
UNKNOWN_SCHEMA = "unknown_schema"  # the schema id is in no registry, or belongs to another subject
TOO_LARGE = "too_large"  # more bytes than a record of this topic may have
BAD_TIME = "bad_time"  # before the retention or ahead of the clock
BAD_NUMBER = "bad_number"  # NaN, infinite or out of range
BAD_FORMAT = "bad_format"  # a text without the form that the task asks for, such as valid JSON
EMPTY = "empty"  # a text or an id that may not be empty
UNKNOWN_MODEL = "unknown_model"  # no model repo of that name is in force
UNKNOWN_LABEL = "unknown_label"  # not among the labels of the model repo
UNKNOWN_REQUEST = "unknown_request"  # feedback whose inference never came
UNHANDLED = "unhandled"  # a service could not act on a well-formed event

REASONS = frozenset(
    {
        MALFORMED,
        UNKNOWN_SCHEMA,
        TOO_LARGE,
        BAD_TIME,
        BAD_NUMBER,
        BAD_FORMAT,
        EMPTY,
        UNKNOWN_MODEL,
        UNKNOWN_LABEL,
        UNKNOWN_REQUEST,
        UNHANDLED,
    }
)


def dead_letter(record: Record, error: BadInput, service: str, now: int) -> DeadLetter:
    """The dead letter of a record, with its original bytes. `now` in ms."""
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        reason=error.reason,
        message=str(error),
        schema_id=claimed_schema_id(record.value),
        service=service,
        first_seen=now,
    )


def claimed_schema_id(value: bytes | None) -> int | None:
    """The schema id in the five-byte header, if there is such a header. Ids are signed ints."""
    if value is None or len(value) < 5 or value[0] != 0:
        return None
    claimed = int.from_bytes(value[1:5], "big", signed=True)
    return claimed if claimed >= 0 else None
