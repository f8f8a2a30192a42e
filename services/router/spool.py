"""The log of answers on its way to Kafka, on disk: what an app was told survives this process.

A file of SQLite, which syncs the file before a commit returns (`synchronous=FULL`): what `append`
wrote survives a killed process, and a power cut where the disk keeps what it says it kept. Removal
is not synced: after a power cut, what Kafka has already may be sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from driftgate.errors import BadConfig, Retriable
from driftgate.health import Log

PAGE_BYTES = 4096
# So long a start waits for the process before it, which may be ending, s.
OPEN_SECONDS = 15.0
# SQLite says so of a file that holds something else, or that was torn by other hands.
FOREIGN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# SQLite tells more of an error in the bits above these.
PRIMARY = 0xFF
TABLE = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key BLOB, value BLOB
)
"""

Encoded = tuple[str, bytes | None, bytes | None]
"""Topic, key and value of a record."""


class SpoolFull(Retriable):
    """The spool holds as much as it may, or the disk takes no more, or is broken."""


class Damaged(sqlite3.DatabaseError):
    """What SQLite found when it looked through the file."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class Spooled(NamedTuple):
    """A record and its place: places only grow, also over restarts."""

    place: int
    topic: str
    key: bytes | None
    value: bytes | None


@dataclass
class Spool:
    """Records in the order in which they were appended. Safe to share between threads; one process
    at a time has it.

    Attributes:
        most_mb: bound of the file.
    """

    folder: Path
    most_mb: int
    log: Log
    _file: sqlite3.Connection = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """
        Raises:
            BadConfig: the folder cannot be written to, or another process has it.
        """
        try:
            self._file = self._opened()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & PRIMARY not in FOREIGN:
                raise BadConfig(
                    f"spool {self.path}: {error}; expected a folder that this router alone writes"
                ) from error
            self._set_aside(error)
            self._file = self._opened()

    @property
    def path(self) -> Path:
        return self.folder / "events.sqlite"

    def append(self, records: Sequence[Encoded]) -> int:
        """The place of the last of them. Durable when it returns: all of them, or none.

        Raises:
            SpoolFull
        """
        insert = "INSERT INTO events (topic, key, value) VALUES (?, ?, ?)"
        with self._used(), self._commit():
            self._file.executemany(insert, records)
            (last,) = self._file.execute("SELECT max(id) FROM events").fetchone()
        return int(last)

    def after(self, place: int, limit: int) -> list[Spooled]:
        """The first records that come after a place.

        Raises:
            SpoolFull: the file cannot be read.
        """
        query = "SELECT id, topic, key, value FROM events WHERE id > ? ORDER BY id LIMIT ?"
        with self._used():
            return [Spooled(*row) for row in self._file.execute(query, (place, limit))]

    def remove(self, place: int) -> None:
        """All records up to and with a place.

        Raises:
            SpoolFull: the disk has no room to note it.
        """
        with self._used():
            try:
                self._file.execute("PRAGMA synchronous=NORMAL")
                with self._commit():
                    self._file.execute("DELETE FROM events WHERE id <= ?", (place,))
            finally:
                self._file.execute("PRAGMA synchronous=FULL")

    def last(self) -> int:
        """The place that was given last, also where its record is removed; 0 before any."""
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
        with self._lock:
            (last,) = self._file.execute(query).fetchone() or (0,)
        return int(last)

    def count(self) -> int:
        """How many records there are."""
        with self._lock:
            (count,) = self._file.execute("SELECT count(*) FROM events").fetchone()
        return int(count)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    @contextmanager
    def _used(self) -> Iterator[None]:
        """By one thread at a time.

        Raises:
            SpoolFull: the file does not do what it should.
        """
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                raise SpoolFull(f"spool {self.path}: {error}") from error

    @contextmanager
    def _commit(self) -> Iterator[None]:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._file.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.DatabaseError):  # a full disk has rolled back by itself
                self._file.execute("ROLLBACK")
            raise

    def _opened(self) -> sqlite3.Connection:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what people wrote
        file = sqlite3.connect(
            self.path, timeout=OPEN_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            file.execute(f"PRAGMA page_size={PAGE_BYTES}")
            file.execute("PRAGMA locking_mode=EXCLUSIVE")
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=FULL")
            file.execute(f"PRAGMA max_page_count={self.most_mb * 1_000_000 // PAGE_BYTES}")
            file.execute(TABLE)
            (found,) = file.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise Damaged(found)
        except BaseException:
            file.close()
            raise
        return file

    def _set_aside(self, why: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.unreadable")
        self.log.error("spool set aside", path=str(aside), error=repr(why))
        self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists():
                beside.replace(aside.with_name(aside.name + suffix))
