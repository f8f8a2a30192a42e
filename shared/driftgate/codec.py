"""Avro in the Confluent wire format: a zero byte, the schema id in four bytes, the Avro body."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError

from driftgate.dead_letters import MALFORMED, UNKNOWN_SCHEMA
from driftgate.errors import BadConfig, BadInput, RegistryUnavailable
from driftgate.events import EVENTS, AnyEvent, Fields, Topics, topic_of
from driftgate.schema_copy import CopiedRegistry
from driftgate.schema_registry import HttpRegistry
from driftgate.schemas import MAGIC, LockFile, Registry, Schemas

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
class Codec:
    """Events to bytes and back, by topic. Encodes in the newest version of the subject; decodes
    any version as the newest."""

    registry: Registry
    topics: Topics

    @classmethod
    def load(cls, folder: Path, registry: str = "", copy: Path | None = None) -> Codec:
        """Topics and schemas of a folder. Ids are those of its `registry.lock`, or those of the
        Schema Registry at the URL `registry`; while that is away, those of its copy, if one is
        kept at `copy`.

        Raises:
            BadConfig: a schema is missing, changed, not Avro, or does not go with older versions.
            RegistryUnavailable
        """
        lock, topics = LockFile(folder), Topics.load(folder)
        if not registry:
            return cls(lock, topics)
        subjects = {topic.subject for topic in topics.by_name.values()}
        join = partial(HttpRegistry, registry, subjects, lock.schemas.by_id.values())
        return cls(CopiedRegistry(join, copy) if copy else join(), topics)

    @property
    def schemas(self) -> Schemas:
        """All versions known now. Take it once where two look-ups must agree."""
        return self.registry.schemas

    def refresh(self, schema_id: int | None = None) -> bool:
        """Reads the registry again and says whether more schema ids are known now. Costs a look
        at the lock file, or requests over HTTP: one when `schema_id` names an id that no one
        registered, one a subject without it.

        Raises:
            RegistryUnavailable: it is away, wrong, or just edited; whether the id exists is not
                known.
        """
        try:
            return self.registry.refresh(schema_id)
        except (BadConfig, OSError, ValueError) as wrong:  # may be mended while we wait
            raise RegistryUnavailable(f"schema id {schema_id}: {wrong}") from wrong

    def encode(self, topic: str, event: Fields) -> bytes:
        """The record value of an event.

        Raises:
            BadInput: a field is missing, unknown or of the wrong type.
        """
        return self._encoded(topic, event, strict_allow_default=True)

    def value(self, event: AnyEvent) -> bytes:
        """The record value of an event, in the newest version that the registry has: fields that
        only the class has are left out, those that only the schema has get their default.

        Raises:
            BadInput: a field is of the wrong type.
        """
        return self._encoded(topic_of(event), event.as_dict())

    def record(self, event: AnyEvent) -> tuple[str, bytes | None, bytes]:
        """Topic, key and value of an event.

        Raises:
            BadInput: as `value`.
        """
        topic = topic_of(event)
        return topic, self.topics.key(topic, event), self.value(event)

    def decode(self, topic: str, value: bytes | None) -> dict[str, Any]:
        """The event in a record value. Timestamps are ints, milliseconds.

        Raises:
            BadInput: not the wire format, an unknown schema id, or bytes that do not follow it.
        """
        if value is None or len(value) < 5 or value[:1] != MAGIC:
            raise BadInput(MALFORMED, "value", value, "a zero byte, four of schema id, Avro")
        subject = self.topics[topic].subject
        schema_id = int.from_bytes(value[1:5], "big")
        schemas = self.schemas
        writer = schemas.by_id.get(schema_id)
        if writer is None or writer.subject != subject:
            known = [version.id for version in schemas.versions(subject)]
            refused = schemas.refused.get(schema_id)
            why = f"; that one is refused: {refused}" if refused else ""
            raise BadInput(
                UNKNOWN_SCHEMA, "schema id", schema_id, f"one of {known} ({subject}){why}"
            )
        reader = schemas.newest[subject]
        buffer = BytesIO(value)
        buffer.seek(5)
        try:
            event = fastavro.schemaless_reader(
                buffer, writer.schema, None if reader is writer else reader.schema
            )
        except UNREADABLE as error:
            # fastavro names the buffer's address in memory.
            why = re.sub(r" from <.*", ": it ends too early", str(error)) or "it ends too early"
            wanted = f"a body of {subject} version {writer.number} ({why})"
            raise BadInput(MALFORMED, "value", value, wanted) from error
        if buffer.read(1):
            raise BadInput(MALFORMED, "value", value, f"nothing after the body of {subject}")
        return event

    def read(self, topic: str, value: bytes | None) -> dict[str, Any]:
        """As `decode`, after a look into the registry when the schema id is not known.

        Raises:
            BadInput: as `decode`.
            RegistryUnavailable: as `refresh`.
        """
        try:
            return self.decode(topic, value)
        except BadInput as error:
            if error.reason != UNKNOWN_SCHEMA:
                raise
            self.refresh(error.value)
        return self.decode(topic, value)

    def event(self, topic: str, value: bytes | None) -> AnyEvent:
        """As `read`, as the class of the topic.

        Raises:
            BadInput, RegistryUnavailable: as `read`.
        """
        return EVENTS[topic].of(self.read(topic, value))

    def _encoded(self, topic: str, event: Fields, **strictness: bool) -> bytes:
        version = self.schemas.newest[self.topics[topic].subject]
        buffer = BytesIO()
        buffer.write(version.header)
        try:
            fastavro.schemaless_writer(buffer, version.schema, event, **strictness)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise BadInput(MALFORMED, topic, dict(event), f"{version.subject}: {error}") from error
        return buffer.getvalue()


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
