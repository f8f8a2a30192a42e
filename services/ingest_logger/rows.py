"""From an event to the row of its topic's table, as its Avro schema says. Pure.

A table's columns are the fields of the subject, after the place of the record on Kafka. What is
nested deeper than a map or list of plain values becomes JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from driftgate.bus import Record
from driftgate.codec import Codec, canonical
from driftgate.dead_letters import BAD_NUMBER, BAD_TIME
from driftgate.errors import BadInput
from driftgate.events import DLQ
from driftgate.limits import TIMES

# An event of any subject by field. The classes of events know the fields of one version; a row
# keeps those of newer versions too.
Fields = Mapping[str, Any]
# A row by column.
Row = Mapping[str, Any]

TIME = pa.timestamp("ms", "UTC")
PLAIN: Mapping[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "enum": pa.string(),
}
# A dead letter's fields topic, partition and offset are the place of the record that could not be
# handled; the columns of these names are the place of the letter itself.
SOURCE = {"topic": "source_topic", "partition": "source_partition", "offset": "source_offset"}
DEAD_LETTERS = "dead_letters"
PLACE = [("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())]

INT32 = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a subject.

    Attributes:
        kind: its Avro type, without null.
        arrow: the type that it is stored as.
    """

    field: str
    name: str
    kind: str
    arrow: pa.DataType
    is_time: bool
    is_json: bool

    @property
    def storable(self) -> range | None:
        """What the store can hold of a number: Avro's ints and times may be larger."""
        if self.is_time:
            return TIMES
        return INT32 if self.kind == "int" else None

    def check(self, value: Any) -> None:
        """
        Raises:
            BadInput: bad_number or bad_time, the value is out of range.
        """
        if self.storable is None or value is None or value in self.storable:
            return
        if self.is_time:
            raise BadInput(BAD_TIME, self.field, value, "milliseconds since 1970 before 2300")
        raise BadInput(BAD_NUMBER, self.field, value, "an int of 32 bits")


@dataclass(frozen=True, slots=True)
class Table:
    """Where a topic's records are stored."""

    topic: str
    name: str
    columns: tuple[Column, ...]
    schema: pa.Schema

    @classmethod
    def of(cls, topic: str, codec: Codec) -> Self:
        """The table of a topic."""
        renamed = SOURCE if topic.endswith(DLQ) else {}
        subject = codec.topics[topic].subject
        fields = codec.schemas.newest[subject].raw["fields"]
        columns = tuple(column(field, renamed) for field in fields)
        schema = pa.schema([*PLACE, *((at.name, at.arrow) for at in columns)])
        return cls(topic, table_name(topic), columns, schema)

    def check(self, event: Fields) -> None:
        """
        Raises:
            BadInput: a number or time that the store cannot hold.
        """
        for at in self.columns:
            at.check(event[at.field])

    def row(self, record: Record, event: Fields) -> Row:
        """The row of an event that passed `check`."""
        return place(record) | {
            at.name: canonical(event[at.field]) if at.is_json else event[at.field]
            for at in self.columns
        }

    def arrow(self, rows: Sequence[Row]) -> pa.Table:
        """Rows by column."""
        return pa.table(
            [
                pa.array([as_arrow(row[field.name]) for row in rows], field.type)
                for field in self.schema
            ],
            self.schema,
        )


def table_name(topic: str) -> str:
    """Dead letters of all topics share one table."""
    return DEAD_LETTERS if topic.endswith(DLQ) else topic.replace(".", "_")


def as_arrow(value: Any) -> Any:
    """Arrow takes a map as pairs."""
    return list(value.items()) if isinstance(value, dict) else value


def place(record: Record) -> dict[str, Any]:
    """Where a record lay."""
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def column(field: Mapping[str, Any], renamed: Mapping[str, str]) -> Column:
    """The column of an Avro field, of another name where `renamed` gives one."""
    schema = without_null(field["type"])
    kind = schema["type"] if isinstance(schema, dict) else schema
    is_time = isinstance(schema, dict) and schema.get("logicalType") == "timestamp-millis"
    name = field["name"]
    arrow = TIME if is_time else arrow_type(schema)
    return Column(name, renamed.get(name, name), kind, arrow, is_time, not is_flat(schema))


def arrow_type(schema: Any) -> pa.DataType:
    """What a field's values are stored as; JSON text where the store has no type for them."""
    if not is_flat(schema):
        return pa.string()
    match schema:
        case {"type": "map", "values": inner}:
            return pa.map_(pa.string(), PLAIN[inner])
        case {"type": "array", "items": inner}:
            return pa.list_(PLAIN[inner])
        case {"type": kind}:
            return PLAIN[kind]
    return PLAIN[schema]


def without_null(schema: Any) -> Any:
    """The schema of a nullable field's value."""
    if isinstance(schema, list):
        (schema,) = (branch for branch in schema if branch != "null")
    return schema


def is_flat(schema: Any) -> bool:
    """Whether the store has a type for it: a plain value, or a map or list of plain values."""
    match schema:
        case {"type": "map", "values": inner} | {"type": "array", "items": inner}:
            return isinstance(inner, str) and inner in PLAIN
        case {"type": kind}:
            return kind in PLAIN
    return schema in PLAIN
