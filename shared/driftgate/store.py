"""The store port: ClickHouse, through clickhouse-connect.

In production and in the local stack over HTTP; in unit tests the same engine inside the process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.datatypes.base import ClickHouseType
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, ProgrammingError

from driftgate import metrics
from driftgate.errors import BadConfig, StoreRefused, StoreUnavailable
from driftgate.sql import quoted

Rows = Sequence[Mapping[str, Any]]
T = TypeVar("T")

# ClickHouse's error codes after which the same statement may succeed: time-outs, too many
# queries or parts, memory and disk limits, a read-only table, an aborted or cancelled query.
RETRIABLE_CODES = frozenset({159, 164, 202, 209, 210, 236, 241, 242, 243, 252, 319, 394, 425, 999})
# One block, hence atomic, however many rows an insert has.
INSERT_SETTINGS: dict[str, Any] = {"async_insert": 0, "max_insert_block_size": 10_000_000}
# The same where an insert selects: blocks are joined up to so many rows, of any size.
SELECTING_SETTINGS = INSERT_SETTINGS | {
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 0,
    "max_insert_threads": 1,
    # No insert holds an order key twice, so there is nothing that a merge would do to its rows. In
    # return FINAL looks at each row of a part that was not merged yet.
    "optimize_on_insert": 0,
}


class Store:
    """One database. Safe to share between threads."""

    def __init__(self, client: Client, in_process: bool = False) -> None:
        self._client = client
        self._in_process = in_process
        self._types: dict[tuple[str, ...], Sequence[ClickHouseType]] = {}
        self._structures: dict[tuple[str, ...], str] = {}

    @classmethod
    def connect(cls, url: str, database: str = "default", timeout_seconds: int = 300) -> Store:
        """Over HTTP. The database is created when it does not exist. A call whose answer stays
        away for `timeout_seconds` fails.

        Raises:
            StoreUnavailable: nothing answers at `url`.
        """
        parts = urlsplit(url)

        def client(name: str) -> Client:
            return clickhouse_connect.get_client(
                host=parts.hostname or "127.0.0.1",
                port=parts.port or 8123,
                username=parts.username or "default",
                password=parts.password or "",
                secure=parts.scheme == "https",
                database=name,
                send_receive_timeout=timeout_seconds,
                autogenerate_session_id=False,
                form_encode_query_params=True,  # a URL has no room for long lists
            )

        def both() -> Client:
            first = client("default")
            first.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
            first.close()
            return client(database)

        return cls(guarded("connect", both))

    @classmethod
    def in_process(cls, path: Path | None = None) -> Store:
        """The engine inside this process, in memory or in a folder."""
        where: dict[str, Any] = {} if path is None else {"path": str(path)}
        return cls(clickhouse_connect.get_client(interface="chdb", **where), in_process=True)

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query. Parameters are bound by the server: `{name:Type}`.

        Raises:
            StoreRefused, StoreUnavailable
        """
        found = guarded("query", lambda: self._client.query(sql, parameters=parameters or None))
        return list(found.named_results())

    def append(self, table: str, rows: Rows, token: str = "") -> None:
        """Inserts rows at once: all or none. Every row has the columns of the first. An insert
        that is tried again under the same token is made once, even if the first try is still
        under way.

        Raises:
            StoreRefused, StoreUnavailable
        """
        if not rows:
            return
        names = list(rows[0])
        # Without a token of its own, an insert of the same rows would count as the same insert.
        settings = INSERT_SETTINGS | {"insert_deduplication_token": token or uuid4().hex}
        values = [[row[name] for name in names] for row in rows]
        guarded("insert", lambda: self._insert(table, names, values, settings))
        metrics.ROWS.labels(table).inc(len(rows))
        metrics.BATCH.observe(len(rows))

    def _insert(
        self, table: str, names: list[str], values: Sequence[Any], settings: dict[str, Any]
    ) -> None:
        """The client asks for a table's column types before an insert; here once, not each time."""
        known = self._types.get((table, *names))
        if known is None:
            known = self._client.create_insert_context(table, names).column_types
            self._types[(table, *names)] = known
        self._client.insert(
            table, values, column_names=names, column_types=known, settings=settings
        )

    def append_columns(
        self, table: str, rows: pa.Table, token: str, condition: str = "true", note: str = ""
    ) -> None:
        """Inserts an Arrow table at once, as `append` does with `token`, of the rows for which an
        SQL condition holds; it is evaluated by the server when the insert begins. No two rows may
        share an order key. `note` stands in the statement as a comment, by which a running insert
        is found.

        Raises:
            StoreRefused, StoreUnavailable
        """
        names = ", ".join(f"`{name}`" for name in rows.column_names)
        settings = SELECTING_SETTINGS | {"insert_deduplication_token": token}
        structure = quoted(guarded("describe", lambda: self._structure(table, rows.column_names)))

        def into(source: str) -> str:
            head = f"{table} ({names}) /* {note} */"
            return f"{head} SELECT {names} FROM {source} WHERE {condition}"  # noqa: S608

        if self._in_process:  # where an insert's data come from a file
            with NamedTemporaryFile(prefix="insert-") as file:
                file.write(stream_of(rows))
                file.flush()
                statement = into(f"file({quoted(file.name)}, ArrowStream, {structure})")
                insert = f"INSERT INTO {statement}"
                guarded("insert", lambda: self._client.command(insert, settings=settings))
        else:
            target, data = into(f"input({structure})"), stream_of(rows)
            guarded(
                "insert",
                lambda: self._client.raw_insert(
                    target, insert_block=data, settings=settings, fmt="ArrowStream"
                ),
            )
        metrics.ROWS.labels(table).inc(len(rows))
        metrics.BATCH.observe(len(rows))

    def _structure(self, table: str, names: Sequence[str]) -> str:
        """Names and types of a table's columns, as table functions take them."""
        known = self._structures.get((table, *names))
        if known is None:
            rows = self._client.query(f"DESCRIBE TABLE {table}").named_results()
            types = {row["name"]: row["type"] for row in rows}
            known = ", ".join(f"`{name}` {types[name]}" for name in names)
            self._structures[(table, *names)] = known
        return known

    def command(self, sql: str) -> None:
        """A statement without rows.

        Raises:
            StoreRefused, StoreUnavailable
        """
        guarded("command", lambda: self._client.command(sql))

    def close(self) -> None:
        self._client.close()


def stream_of(rows: pa.Table) -> bytes:
    """Arrow's stream format, compressed: copying costs more."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def guarded(call: str, work: Callable[[], T]) -> T:
    """Runs a call of the client; its errors become ours, retriable or not by ClickHouse's code."""
    with metrics.STORE_SECONDS.labels(call).time():
        try:
            return work()
        except ClickHouseError as error:
            code = code_of(error)
            if code is None and isinstance(error, DataError | ProgrammingError):
                raise StoreRefused(0, f"{call}: {error}") from error
            if code is None or code in RETRIABLE_CODES:
                raise StoreUnavailable(f"{call}: {error}") from error
            raise StoreRefused(code, f"{call}: {error}") from error
        except OSError as error:
            raise StoreUnavailable(f"{call}: {error}") from error


def code_of(error: ClickHouseError) -> int | None:
    """ClickHouse's code in an error, or None when no server said it."""
    code = getattr(error, "code", None)
    if isinstance(code, int) and code > 0:
        return code
    found = re.search(r"\bcode:? (\d+)", str(error), re.IGNORECASE)
    return int(found[1]) if found else None


def migrate(store: Store, folder: Path) -> list[str]:
    """Applies the numbered SQL files of `folder` that the database has not seen, in order.
    Returns their names. Forward only: an applied file may not change.

    Raises:
        BadConfig: a file was changed after it was applied.
    """
    store.command(
        "CREATE TABLE IF NOT EXISTS migrations (name String, sha256 String, "
        "applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = MergeTree ORDER BY name"
    )
    known = {row["name"]: row["sha256"] for row in store.query("SELECT * FROM migrations")}
    applied = []
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text()
        digest = hashlib.sha256(text.encode()).hexdigest()
        if known.get(path.name, digest) != digest:
            raise BadConfig(f"{path} was changed after it was applied: write a new migration")
        if path.name in known:
            continue
        for statement in statements(text):
            store.command(statement)
        store.append("migrations", [{"name": path.name, "sha256": digest}])
        applied.append(path.name)
    return applied


def statements(text: str) -> list[str]:
    """The statements of a SQL file: each ends with a semicolon at a line's end."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" ;\n")]
