"""The first part of the pipeline: what becomes of each record of a poll, by what is registered,
declared and known of the time. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from driftgate.batches import Batch
from driftgate.bus import Position
from driftgate.codec import Codec
from driftgate.dead_letters import (
    BAD_FORMAT,
    BAD_TIME,
    UNKNOWN_LABEL,
    UNKNOWN_MODEL,
    UNKNOWN_SCHEMA,
)
from driftgate.errors import BadInput
from driftgate.events import HOUR_MS, Model
from driftgate.schemas import Schemas
from driftgate.store import Store
from services.ingest_logger.blocked_partitions import BlockedPartitions
from services.ingest_logger.columns import ValidatedBatch, validate_batch
from services.ingest_logger.declared import Declared
from services.ingest_logger.partitions import Partitions
from services.ingest_logger.pipeline import Poll
from services.ingest_logger.retry import Retry
from services.ingest_logger.rows import Table
from services.ingest_logger.rules import Context
from services.ingest_logger.schema_evolution import add_columns
from services.ingest_logger.ticks import Ticks

# What is unknown for one of these reasons may have become known a moment ago.
MAY_BE_NEW = frozenset({UNKNOWN_MODEL, UNKNOWN_LABEL, UNKNOWN_SCHEMA, BAD_FORMAT})


class Catalog:
    """What is registered and declared. Each part is read again by itself and with its own retries,
    since only its first success finds anything new.

    Attributes:
        tables: by topic; every field of every schema has its column in the store.
    """

    def __init__(self, codec: Codec, store: Store, declared: Declared, retry: Retry) -> None:
        self.tables: dict[str, Table] = {}
        self.declared = declared
        self._codec, self._store, self._retry = codec, store, retry
        self._schemas: Schemas | None = None

    def learn(self, schema_ids: Iterable[int | None] = (None,)) -> bool:
        """Reads schemas and declarations again; says whether there was anything new."""
        for schema_id in schema_ids:
            self._retry(partial(self._codec.refresh, schema_id))
        new_schemas = self.learn_schemas()
        return self._retry(self.declared.refresh) or new_schemas

    def learn_schemas(self) -> bool:
        """Gives every field of the codec's schemas its column; says whether there was a new one."""
        return self._retry(self._add_columns)

    def _add_columns(self) -> bool:
        schemas = self._codec.schemas
        if schemas is self._schemas:
            return False
        tables = {topic: Table.of(topic, self._codec) for topic in self._codec.topics.stored()}
        for table in {table.name: table for table in tables.values()}.values():
            add_columns(self._store, table, self._codec)
        self.tables, self._schemas = tables, schemas
        return True


class Validator:
    """Called with one poll after the other."""

    def __init__(
        self,
        codec: Codec,
        catalog: Catalog,
        ticks: Ticks,
        partitions: Partitions,
        blocked: BlockedPartitions,
        subject_key: bytes,
        retry: Retry,
    ) -> None:
        self._codec, self._catalog, self._ticks = codec, catalog, ticks
        self._partitions, self._blocked = partitions, blocked
        self._subject_key, self._retry = subject_key, retry
        self._hour = 0  # when what is done once an hour was done last, ms

    def __call__(self, polled: Sequence[Batch]) -> Poll:
        batches = [batch for batch in polled if self._is_open(batch.position)]
        self._retry(lambda: self._ticks.hear(batches))
        if not self._ticks.are_known:
            self._retry(self._ticks.look_up)
        if any(batch.position.topic == Model.TOPIC for batch in batches):
            self._catalog.learn()
        validated = self._validated(batches)
        if self._knows_more(error for batch in validated for _, error in batch.dead):
            validated = self._validated(batches)
        admitted = self._blocked.admit(validated)
        now = self._ticks.clock.now()
        is_hourly = self._ticks.are_heard and now - self._hour >= HOUR_MS
        if is_hourly:
            self._hour = now
            self._catalog.learn()
        return Poll(
            admitted,
            self._catalog.declared.models,
            now,
            is_hourly,
            self._ticks.pace,
        )

    def _is_open(self, position: Position) -> bool:
        return position in self._partitions and position not in self._blocked

    def _validated(self, batches: Sequence[Batch]) -> list[ValidatedBatch]:
        self._catalog.learn_schemas()
        declared, tables = self._catalog.declared, self._catalog.tables
        context = Context(
            declared.models,
            declared.maskers,
            self._subject_key,
            self._ticks.now(),
            declared.refused,
        )
        return [
            validate_batch(batch, tables[batch.position.topic], self._codec, context)
            for batch in batches
        ]

    def _knows_more(self, errors: Iterable[BadInput]) -> bool:
        """Before records are refused, for what may be known by now: looks again, and says whether
        anything is known that was not."""
        found = list(errors)
        schema_ids = {
            error.value if error.reason == UNKNOWN_SCHEMA else None
            for error in found
            if error.reason in MAY_BE_NEW
        }
        has_learned = bool(schema_ids) and self._catalog.learn(schema_ids)
        if any(error.reason == BAD_TIME for error in found) and not self._ticks.are_heard:
            has_learned |= self._retry(self._ticks.look_up)
        return has_learned
