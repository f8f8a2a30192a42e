"""Avro in the Confluent wire format: a zero byte, the schema id in four bytes, the Avro body."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from driftgate.dead_letters import MALFORMED, UNKNOWN_SCHEMA
from driftgate.errors import BadConfig, BadInput
from driftgate.events import Event, Topics

MAGIC = b"\x00"
UNREADABLE = (
    EOFError,
    ValueError,
    IndexError,
    TypeError,
    MemoryError,
    OverflowError,
    SchemaResolutionError,
)


@dataclass(frozen=True, slots=True)
class Version:
    """One line of `registry.lock`."""

    id: int
    subject: str
    number: int
    schema: Any
    raw: Any

    @property
    def header(self) -> bytes:
        return MAGIC + self.id.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Schemas:
    """Every version of every subject, as `registry.lock` names them."""

    by_id: dict[int, Version]
    newest: dict[str, Version]

    @classmethod
    def load(cls, folder: Path) -> Schemas:
        """Reads `registry.lock` and the schemas it names.

        Raises:
            BadConfig: a schema file is missing, or is not the one that was registered.
        """
        by_id: dict[int, Version] = {}
        newest: dict[str, Version] = {}
        for line in (folder / "registry.lock").read_text().splitlines():
            if line.startswith("#") or not line.strip():
                continue
            number, subject, version, digest = line.split()
            path = folder / subject / f"v{version}.avsc"
            if not path.exists():
                raise BadConfig(f"{path} is in registry.lock but not on disk: restore it")
            text = path.read_bytes()
            if hashlib.sha256(text).hexdigest() != digest:
                raise BadConfig(f"{path} was changed after it was registered: add a new version")
            raw = json.loads(text)
            try:
                parsed = fastavro.parse_schema(without_logical_types(raw))
            except SchemaParseException as error:
                raise BadConfig(f"{path}: {error}") from error
            found = Version(int(number), subject, int(version), parsed, raw)
            by_id[found.id] = found
            newest[subject] = found
        return cls(by_id, newest)


def without_logical_types(schema: Any) -> Any:
    """The schema with timestamps as the plain ints that they are on the wire."""
    match schema:
        case dict():
            return {
                key: without_logical_types(value)
                for key, value in schema.items()
                if key != "logicalType"
            }
        case list():
            return [without_logical_types(item) for item in schema]
    return schema


@dataclass(frozen=True, slots=True)
class Codec:
    """Events to bytes and back, by topic. Encodes in the newest version of the subject; decodes
    any version as the newest."""

    schemas: Schemas
    topics: Topics

    @classmethod
    def load(cls, folder: Path) -> Codec:
        return cls(Schemas.load(folder), Topics.load(folder))

    def encode(self, topic: str, event: Event) -> bytes:
        """The record value of an event.

        Raises:
            BadInput: a field is missing, unknown or of the wrong type.
        """
        version = self.schemas.newest[self.topics[topic].subject]
        buffer = BytesIO()
        buffer.write(version.header)
        try:
            fastavro.schemaless_writer(buffer, version.schema, event, strict_allow_default=True)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise BadInput(MALFORMED, topic, dict(event), f"{version.subject}: {error}") from error
        return buffer.getvalue()

    def decode(self, topic: str, value: bytes | None) -> dict[str, Any]:
        """The event in a record value. Timestamps are ints, milliseconds.

        Raises:
            BadInput: not the wire format, an unknown schema id, or bytes that do not follow it.
        """
        if value is None or len(value) < 5 or value[:1] != MAGIC:
            raise BadInput(MALFORMED, "value", value, "a zero byte, four of schema id, Avro")
        subject = self.topics[topic].subject
        schema_id = int.from_bytes(value[1:5], "big")
        writer = self.schemas.by_id.get(schema_id)
        if writer is None or writer.subject != subject:
            known = sorted(v.id for v in self.schemas.by_id.values() if v.subject == subject)
            raise BadInput(UNKNOWN_SCHEMA, "schema id", schema_id, f"one of {known} ({subject})")
        reader = self.schemas.newest[subject]
        buffer = BytesIO(value)
        buffer.seek(5)
        try:
            event = fastavro.schemaless_reader(
                buffer, writer.schema, None if reader is writer else reader.schema
            )
        except UNREADABLE as error:
            wanted = f"a body of {subject} version {writer.number} ({error or 'it ends too early'})"
            raise BadInput(MALFORMED, "value", value, wanted) from error
        if buffer.read(1):
            raise BadInput(MALFORMED, "value", value, f"nothing after the body of {subject}")
        return event


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces and non-finite numbers as strings: the same value gives
    the same text, which hashes and audit entries are made of."""
    return json.dumps(finite(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def finite(value: Any) -> Any:
    """`value` with NaN and infinities as strings, tuples and sets as lists."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {str(key): finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case set() | frozenset():
            return sorted(finite(item) for item in value)
    return value


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
