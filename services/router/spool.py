"""The log of answers on its way to Kafka, on disk: what an app was told survives this process.

A file of SQLite, which syncs the file before a commit returns (`synchronous=FULL`): what `append`
wrote survives a killed process, and a power cut where the disk keeps what it says it kept. Removal
is not synced: after a power cut, what Kafka has already may be sent again.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from driftgate.errors import BadConfig, Retriable
from driftgate.health import Log

PAGE_BYTES = 4096
# So long a start waits for the process before it, which may be ending, s: see `lifecycle`.
OPEN_SECONDS = 20.0
# SQLite says so of a file that holds something else, or that was torn by other hands.
FOREIGN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# And so of a disk that is full, or broken.
NO_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
# SQLite tells more of an error in the bits above these.
PRIMARY = 0xFF
TABLES = (
    """CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key BLOB, value BLOB
    )""",
    # Those that Kafka does not take, and why. Without its row here a record waits again.
    "CREATE TABLE IF NOT EXISTS set_aside (id INTEGER PRIMARY KEY, error TEXT NOT NULL)",
    """CREATE VIEW IF NOT EXISTS waiting AS
        SELECT * FROM events WHERE id NOT IN (SELECT id FROM set_aside)""",
)
REMOVE = "DELETE FROM events WHERE id <= ? AND id NOT IN (SELECT id FROM set_aside)"

Encoded = tuple[str, bytes | None, bytes | None]
"""Topic, key and value of a record."""


class SpoolFull(Retriable):
    """The spool holds as much as it may, or the disk takes no more, or is broken."""


class Damaged(sqlite3.DatabaseError):
    """What SQLite found when it looked through the file."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class NoFolder(sqlite3.OperationalError):
    """The disk has no room for one."""

    sqlite_errorcode = sqlite3.SQLITE_FULL


class Spooled(NamedTuple):
    """A record and its place: places only grow, also over restarts."""

    place: int
    topic: str
    key: bytes | None
    value: bytes | None


@dataclass
class Spool:
    """Records in the order in which they were appended, and beside them those that were set aside
    since Kafka does not take them. Safe to share between threads; one process at a time has it.

    Attributes:
        most_mb: bound of the file.
    """

    folder: Path
    most_mb: int
    log: Log
    _file: sqlite3.Connection | None = None
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Where the disk is full the file is opened when it is used.

        Raises:
            BadConfig: the folder cannot be written to, or another process has it.
        """
        try:
            self._file = self._opened()
        except sqlite3.DatabaseError as error:
            code = error.sqlite_errorcode & PRIMARY
            if code in FOREIGN:
                self._replace(error)
                self._file = self._opened()
            elif code in NO_DISK:
                self.log.error("spool not opened", path=str(self.path), error=str(error))
            else:
                raise BadConfig(
                    f"spool {self.path}: {error}; expected a folder that this router alone writes"
                ) from error

    @property
    def path(self) -> Path:
        return self.folder / "events.sqlite"

    def append(self, records: Sequence[Encoded]) -> int:
        """The place of the last of them. Durable when it returns: all of them, or none.

        Raises:
            SpoolFull
        """
        insert = "INSERT INTO events (topic, key, value) VALUES (?, ?, ?)"
        with self._used() as file, committed(file):
            file.executemany(insert, records)
            (last,) = file.execute("SELECT max(id) FROM events").fetchone()
        return int(last)

    def after(self, place: int, limit: int) -> list[Spooled]:
        """The first waiting records that come after a place.

        Raises:
            SpoolFull: the file cannot be read.
        """
        query = "SELECT id, topic, key, value FROM waiting WHERE id > ? ORDER BY id LIMIT ?"
        with self._used() as file:
            return [Spooled(*row) for row in file.execute(query, (place, limit))]

    def remove(self, place: int, but: Mapping[int, str] | None = None) -> None:
        """All waiting records up to and with a place, but those that are set aside, each with its
        error: all of it, or nothing.

        Raises:
            SpoolFull: the disk has no room to note it.
        """
        aside = but or {}
        with self._used() as file:
            try:
                file.execute("PRAGMA synchronous=NORMAL")
                with committed(file):
                    if aside:
                        insert = "INSERT OR REPLACE INTO set_aside (id, error) VALUES (?, ?)"
                        file.executemany(insert, aside.items())
                    file.execute(REMOVE, (place,))
            finally:
                file.execute("PRAGMA synchronous=FULL")

    def last(self) -> int:
        """The place that was given last, also where its record is removed; 0 before any.

        Raises:
            SpoolFull: as `after`; so do all that follow.
        """
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
        with self._used() as file:
            (last,) = file.execute(query).fetchone() or (0,)
        return int(last)

    def first(self) -> int | None:
        """The place of the first record that waits; None where none does."""
        with self._used() as file:
            (first,) = file.execute("SELECT min(id) FROM waiting").fetchone()
        return None if first is None else int(first)

    def count(self) -> int:
        """How many records wait."""
        with self._used() as file:
            (count,) = file.execute("SELECT count(*) FROM waiting").fetchone()
        return int(count)

    def set_aside(self) -> list[tuple[str, str]]:
        """The key of each record that is set aside, and why it is, the oldest first."""
        query = "SELECT key, error FROM set_aside CROSS JOIN events USING (id) ORDER BY id"
        with self._used() as file:
            return [(as_text(key), error) for key, error in file.execute(query)]

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        """By one thread at a time.

        Raises:
            SpoolFull: the file does not do what it should.
        """
        with self._lock:
            try:
                if self._file is None:
                    self._file = self._opened()
                yield self._file
            except sqlite3.DatabaseError as error:
                raise SpoolFull(f"spool {self.path}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what people wrote
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise BadConfig(f"spool {self.path}: {error}") from error
            raise NoFolder(str(error)) from error
        file = sqlite3.connect(
            self.path, timeout=OPEN_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            file.execute(f"PRAGMA page_size={PAGE_BYTES}")
            file.execute("PRAGMA locking_mode=EXCLUSIVE")
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=FULL")
            file.execute(f"PRAGMA max_page_count={self.most_mb * 1_000_000 // PAGE_BYTES}")
            for table in TABLES:
                file.execute(table)
            (found,) = file.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise Damaged(found)
        except BaseException:
            file.close()
            raise
        return file

    def _replace(self, why: Exception) -> None:
        """By a new one, and keeps the file."""
        aside = self.path.with_name(f"{self.path.name}.unreadable")
        self.log.error("spool set aside", path=str(aside), error=repr(why))
        self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists():
                beside.replace(aside.with_name(aside.name + suffix))


@contextmanager
def committed(file: sqlite3.Connection) -> Iterator[None]:
    """All that is done within, or nothing."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
        file.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.DatabaseError):  # a full disk has rolled back by itself
            file.execute("ROLLBACK")
        raise


def as_text(key: bytes | None) -> str:
    """A record's key, such as a request id, for people."""
    return (key or b"").decode(errors="replace")
