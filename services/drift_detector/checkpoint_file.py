"""The checkpoint on disk: an SQLite file with the state of each model, and the positions up to
which records are part of it. One transaction replaces what has changed: they agree, whenever the
process is killed, and a model that nothing happened to costs no write."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

FORMAT = 5
"""Formats 1 to 4 were JSON files, which tell theirs by what they hold."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY, state BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS positions (of TEXT, at TEXT, next INTEGER, PRIMARY KEY (of, at))",
)
WAIT_SECONDS = 5.0


def read(path: Path) -> dict[str, Any]:
    """All that was written: the positions by name, and the states as JSON by model.

    Raises:
        FileNotFoundError: nothing was.
        ValueError: it is damaged, or of another release.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with opened(path) as file:
            (found,) = file.execute("PRAGMA user_version").fetchone()
            if found != FORMAT:
                raise ValueError(f"format {found}, expected {FORMAT}")
            positions: dict[str, dict[str, int]] = {}
            for of, at, offset in file.execute("SELECT of, at, next FROM positions"):
                positions.setdefault(of, {})[at] = offset
            states = file.execute("SELECT name, state FROM models")
            models = {name: json.loads(zlib.decompress(state)) for name, state in states}
    except (sqlite3.DatabaseError, zlib.error) as error:
        raise ValueError(str(error)) from error
    return {**positions, "models": models}


def packed(state: bytes) -> bytes:
    """A state's JSON as the file holds it."""
    return zlib.compress(state, 1)


def write(
    path: Path,
    positions: Mapping[str, Mapping[str, int]],
    changed: Mapping[str, bytes],
    models: Iterable[str],
) -> None:
    """Replaces the positions, by name, and the packed states of the models that changed. All but
    `models` are forgotten. When it returns, that survives a power cut.

    Raises:
        OSError: it cannot be written. What was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(of, at, next_) for of, each in positions.items() for at, next_ in each.items()]
    try:
        with opened(path) as file, file:
            file.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                file.execute(table)
            file.execute(f"PRAGMA user_version = {FORMAT}")
            file.execute("DELETE FROM positions")
            file.executemany("INSERT INTO positions VALUES (?, ?, ?)", rows)
            file.executemany("INSERT OR REPLACE INTO models VALUES (?, ?)", changed.items())
            gone = {name for (name,) in file.execute("SELECT name FROM models")} - {*models}
            file.executemany("DELETE FROM models WHERE name = ?", [(name,) for name in gone])
    except sqlite3.DatabaseError as error:
        raise OSError(f"{path}: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = FULL")
        yield file
