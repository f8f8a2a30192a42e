"""What becomes of a record: a row, a dead letter, or nothing. Pure.

`inferences` and `feedback` come from apps and are checked field by field; what services write is
checked for what the store cannot hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftgate import dead_letters, limits
from driftgate.bus import Record
from driftgate.codec import Codec
from driftgate.errors import BadInput
from driftgate.events import DLQ
from driftgate.topology import INGEST
from services.ingest_logger import rules
from services.ingest_logger.rows import Fields, Row, Table, place
from services.ingest_logger.rules import Context


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


Result = Stored | Dead | Skipped


def validate_record(record: Record, table: Table, codec: Codec, context: Context) -> Result:
    """One record in, what becomes of it out."""
    if record.value is None and codec.topics[record.topic].cleanup == "compact":
        return Skipped()
    is_dead_letter = record.topic.endswith(DLQ)
    try:
        if not is_dead_letter:
            limits.check_size(record.key, record.value)
        event = codec.decode(record.topic, record.value)
        table.check(event)
        check(record.topic, event, context)
    except BadInput as error:
        # A broken dead letter has no further dead-letter topic: its own row keeps its bytes.
        return Stored(row_of_broken(record, error)) if is_dead_letter else Dead(error)
    return Stored(table.row(record, as_stored(record.topic, event, context)))


def check(topic: str, event: Fields, context: Context) -> None:
    """
    Raises:
        BadInput
    """
    if topic in limits.RULES:
        limits.check(topic, event)
    for rule in rules.RULES.get(topic, ()):
        rule.check(event, context)


def as_stored(topic: str, event: Fields, context: Context) -> Fields:
    """The event without what may not be stored of it."""
    changes: Mapping[str, rules.Change] = rules.CHANGES.get(topic, {})
    return {**event, **{field: change.one(event, context) for field, change in changes.items()}}


def row_of_broken(record: Record, error: BadInput) -> Row:
    """The row of a record on a dead-letter topic that is no dead letter."""
    told = dead_letters.dead_letter(record, error, INGEST, record.timestamp).as_dict()
    source = {f"source_{name}": value for name, value in place(record).items()}
    return told | place(record) | source
