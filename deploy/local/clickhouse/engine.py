"""The chDB engine of one directory, with ClickHouse's sessions on top.

chDB lets one process open a directory and any number of connections inside it. A connection keeps
`USE`, `SET` and temporary tables to itself, so a request without a session gets a fresh one, which
takes 0.2 ms, and a session is a connection that is kept.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any

from chdb import _chdb

from deploy.local.clickhouse.form import ExternalTable
from deploy.local.clickhouse.refusal import Refusal
from deploy.local.clickhouse.request import Request, SessionOptions
from deploy.local.clickhouse.statement import Insert
from driftgate.sql import quoted, quoted_name

MEBIBYTE = 2**20
MERGE_THREADS, MERGE_NICENESS = "MergeMutate", 10
MERGERS = 2
NAMING_S = 1.0  # a thread gives itself its name, some time after it was made
# A laptop's share: every cache of the engine small, a query may not take the machine.
ENGINE_OPTIONS = {
    "mark_cache_size": 64 * MEBIBYTE,
    "index_mark_cache_size": 16 * MEBIBYTE,
    "primary_index_cache_size": 16 * MEBIBYTE,
    "query_condition_cache_size": 8 * MEBIBYTE,
    "compiled_expression_cache_size": 16 * MEBIBYTE,
    "max_server_memory_usage": 2048 * MEBIBYTE,
    "max_memory_usage": 1536 * MEBIBYTE,
    "max_threads": 2,
    "background_pool_size": MERGERS,
    "implicit_select": 0,
}
# An insert's settings stand behind its file, where it has one.
_BEFORE_SETTINGS = re.compile(rb"\s(?=SETTINGS\s)", re.IGNORECASE)
_NAMES_SET = re.compile(rb"([A-Za-z_]\w*)\s*=")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole result, with ClickHouse's counts of the work."""

    body: bytes
    has_result: bool
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    result_rows: int
    elapsed_ns: int


@dataclass(slots=True)
class _Loan:
    """A session's setting while a request's URL overrides it."""

    own: str
    now: str | None


class Connection:
    """One chDB connection. Not for two threads at once."""

    def __init__(self, location: str) -> None:
        self._chdb = _chdb.connect(location)  # type: ignore[attr-defined]
        self._own_database = self._database = "default"
        self._loans: dict[str, _Loan] = {}

    def close(self) -> None:
        self._chdb.close()

    def prepare(self, request: Request) -> None:
        """Apply what holds for this request only and take back what held for the last."""
        self._use(request.database or self._own_database)
        self._lend(request.settings)
        for table in request.tables:
            self._fill(table)

    def tidy(self, request: Request) -> None:
        """Drop the request's own tables."""
        for table in request.tables:
            self._run(f"DROP TEMPORARY TABLE IF EXISTS {quoted_name(table.name)}")

    def answer(self, request: Request) -> Answer:
        """Run the statement to its end."""
        reads = self._check(request)
        insert = request.insert
        if insert is not None:
            return self._insert(insert, request.parameters)
        result = self._run(request.statement, request.default_format, request.parameters)
        self._remember(request)
        body = result.bytes() or b""
        return Answer(
            body=body,
            has_result=reads or bool(body),
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            elapsed_ns=int(result.elapsed() * 1e9),
        )

    def pieces(self, request: Request) -> Iterator[bytes]:
        """Run a reading statement; its result block by block. Closing the iterator cancels it."""
        self._check(request)
        stream = self._try(
            self._chdb.send_query,
            request.statement,
            request.default_format,
            params=request.parameters,
        )
        try:
            while (piece := self._try(self._chdb.streaming_fetch_result, stream)) is not None:
                if not piece.rows_read():
                    return
                yield piece.bytes()
        finally:
            with suppress(RuntimeError):
                self._chdb.streaming_cancel_query(stream)

    def _insert(self, insert: Insert, parameters: dict[str, str]) -> Answer:
        """Insert data by way of a file: chDB's streaming insert says "ok" where a write fails."""
        with NamedTemporaryFile(prefix="insert-") as file:
            file.write(insert.data)
            file.flush()
            result = self._run(from_file(insert, file.name), parameters=parameters)
        return Answer(
            body=b"",
            has_result=False,
            read_rows=result.rows_written(),
            read_bytes=result.bytes_written(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_written(),
            elapsed_ns=int(result.elapsed() * 1e9),
        )

    def _check(self, request: Request) -> bool:
        """Whether the statement only reads. The engine runs a batch, ClickHouse's HTTP does not."""
        if request.verb == "INSERT":
            reads, count = False, 1
        else:
            what = self._chdb.classify_query(request.statement)
            reads, count = what["query_class"].name == "READ_ONLY", what["statement_count"]
        if count > 1:
            raise Refusal("SYNTAX_ERROR", "Syntax error: Multi-statements are not allowed.")
        if not request.verb:
            raise Refusal("SYNTAX_ERROR", "Syntax error: Empty query.")
        if request.read_only and not reads and request.verb not in ("SET", "USE"):
            raise Refusal(
                "READONLY",
                "Cannot execute query in readonly mode. "
                "For queries over HTTP, method GET implies readonly. Use method POST instead.",
            )
        return reads

    def _remember(self, request: Request) -> None:
        """After USE and SET what they named is the session's own."""
        if request.verb == "USE":
            result = self._run("SELECT currentDatabase() FORMAT TSVRaw")
            self._own_database = self._database = result.bytes().decode().rstrip("\n")
        elif request.verb == "SET":
            for name in _NAMES_SET.findall(request.statement):
                self._loans.pop(name.decode(), None)

    def _use(self, database: str) -> None:
        if database != self._database:
            self._run(f"USE {quoted_name(database)}")
            self._database = database

    def _lend(self, settings: dict[str, str]) -> None:
        back = {name: loan.own for name, loan in self._loans.items() if name not in settings}
        new = {
            name: value
            for name, value in settings.items()
            if name not in self._loans or self._loans[name].now != value
        }
        for name, own in self._current([name for name in new if name not in self._loans]).items():
            self._loans[name] = _Loan(own, None)
        change = back | new
        if not change:
            return
        for name in change:
            self._loans[name].now = None
        self._run("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in change.items()))
        for name, value in new.items():
            self._loans[name].now = value
        for name in back:
            del self._loans[name]

    def _current(self, names: list[str]) -> dict[str, str]:
        if not names:
            return {}
        columns = ", ".join(f"toString(getSetting({quoted(name)}))" for name in names)
        result = self._run(f"SELECT arrayJoin([{columns}]) FORMAT TSVRaw")
        return dict(zip(names, result.bytes().decode().split("\n"), strict=False))

    def _fill(self, table: ExternalTable) -> None:
        name = quoted_name(table.name)
        self._run(f"CREATE TEMPORARY TABLE {name} ({table.columns})")
        self._insert(
            Insert(f"INSERT INTO {name}".encode(), table.format, memoryview(table.data)), {}
        )

    def _run(
        self,
        statement: str | bytes,
        output_format: str = "TabSeparated",
        parameters: dict[str, str] | None = None,
    ) -> Any:
        return self._try(self._chdb.query, statement, output_format, params=parameters or {})

    @staticmethod
    def _try(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except RuntimeError as error:
            raise Refusal.of(error) from None


@dataclass(slots=True)
class _Session:
    connection: Connection
    busy: bool = True
    expires: float = field(default=0.0)


class Engine:
    """The owner of a chDB directory. All methods may be called from any thread."""

    def __init__(self, directory: Path) -> None:
        options = "&".join(f"{name}={value}" for name, value in ENGINE_OPTIONS.items())
        self._location = f"{directory}?{options}"
        self._sessions: dict[str, _Session] = {}
        self._lock = Lock()
        # The engine lives as long as one connection does; its background merges run in it.
        self._keeper = self._open()
        request = "SELECT version(), timezone() FORMAT TSVRaw"
        text = self._keeper._run(request).bytes().decode()
        self.version, self.timezone = text.rstrip("\n").split("\t")
        # The engine makes the threads that merge with its first table.
        self._keeper._run("CREATE TEMPORARY TABLE first (n Int8) ENGINE = MergeTree ORDER BY n")
        self._keeper._run("DROP TEMPORARY TABLE first")
        yield_to_queries()

    @contextmanager
    def connection(self, options: SessionOptions | None) -> Iterator[Connection]:
        """A connection of one's own, or the session's until the block ends.

        Raises:
            Refusal: the session is in use, or had to exist and does not.
        """
        if options is None:
            connection = self._open()
            try:
                yield connection
            finally:
                connection.close()
            return
        session = self._enter(options)
        try:
            yield session.connection
        finally:
            with self._lock:
                session.busy = False
                session.expires = time.monotonic() + options.timeout_s

    def close(self) -> None:
        with self._lock:
            for session in self._sessions.values():
                session.connection.close()
            self._sessions.clear()
            self._keeper.close()

    def _open(self) -> Connection:
        return Connection(self._location)

    def _enter(self, options: SessionOptions) -> _Session:
        with self._lock:
            self._forget_expired()
            session = self._sessions.get(options.id)
            if session is None:
                if options.must_exist:
                    raise Refusal("SESSION_NOT_FOUND", f"Session {options.id} not found.")
                session = self._sessions[options.id] = _Session(self._open())
            elif session.busy:
                raise Refusal(
                    "SESSION_IS_LOCKED", f"Session {options.id} is locked by a concurrent client."
                )
            session.busy = True
            return session

    def _forget_expired(self) -> None:
        now = time.monotonic()
        for name, session in list(self._sessions.items()):
            if not session.busy and session.expires < now:
                session.connection.close()
                del self._sessions[name]


def yield_to_queries() -> None:
    """Merges take what inserts and queries leave of the processors; where there are too many parts,
    the engine makes inserts wait. (A server has the setting `os_threads_nice_value_merge_mutate`,
    which chDB does not heed.)"""
    done: set[Path] = set()
    deadline = time.monotonic() + NAMING_S
    while sys.platform == "linux" and len(done) < MERGERS and time.monotonic() < deadline:
        for thread in Path("/proc/self/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                if thread.joinpath("comm").read_text().strip() == MERGE_THREADS:
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), MERGE_NICENESS)
                    done.add(thread)
        time.sleep(0.01)


def from_file(insert: Insert, path: str) -> bytes:
    """The statement that reads its data from a file."""
    head = insert.head
    if insert.source is not None:
        # `input('a Int8')` becomes `file('path', 'Native', 'a Int8')`.
        inside = head.index(b"(", insert.source.stop) + 1
        file = f"file({quoted(path)}, {quoted(insert.format)}, ".encode()
        return head[: insert.source.start] + file + head[inside:]
    into, *settings = _BEFORE_SETTINGS.split(head, maxsplit=1)
    parts = [into, f"FROM INFILE {quoted(path)}".encode(), *settings]
    return b"\n".join([*parts, f"FORMAT {insert.format}".encode()])
