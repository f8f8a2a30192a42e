"""Events in the store as ingestion leaves them there, in ClickHouse's engine inside the process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from driftgate.bus import Record
from driftgate.codec import Codec
from driftgate.events import AnyEvent
from driftgate.store import Store, migrate
from services.ingest_logger.rows import Table
from services.ingest_logger.schema_evolution import add_columns

SCHEMAS = Path(__file__).parents[1] / "schemas"


@contextmanager
def store_here() -> Iterator[Store]:
    """An empty database."""
    store, name = Store.in_process(), f"world_{uuid4().hex[:8]}"
    store.command(f"CREATE DATABASE {name}")
    store.command(f"USE {name}")
    migrate(store, SCHEMAS / "store")
    yield store
    store.command(f"DROP DATABASE {name}")
    store.close()


def keep(store: Store, codec: Codec, records: Iterable[Record]) -> None:
    """Stores records of any topics."""
    by_topic: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_topic[record.topic].append(record)
    for topic, found in by_topic.items():
        table = Table.of(topic, codec)
        add_columns(store, table, codec)
        rows = [table.row(record, codec.decode(topic, record.value)) for record in found]
        store.append_columns(table.name, table.arrow(rows), uuid4().hex)


def keep_events(store: Store, codec: Codec, events: Iterable[AnyEvent]) -> None:
    """Stores events as records of one partition."""
    lying = (codec.record(event) for event in events)
    keep(store, codec, [Record(t, 0, at, key, value) for at, (t, key, value) in enumerate(lying)])
