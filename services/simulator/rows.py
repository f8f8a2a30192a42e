"""Reads labelled text as a world's rows. Pure but for the reading of files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pandas as pd

from driftgate.errors import BadConfig, nearest, shown

# A table's own name for what is asked or answered, where it is not `text`, `label`, `time`.
ALIASES = {
    "text": ("text", "message", "query", "utterance", "headline", "title", "body"),
    "label": ("label", "category", "intent", "class", "target"),
    "time": ("time", "date", "timestamp", "created_at", "datetime"),
    "subject": ("subject", "customer", "customer_id", "user", "user_id"),
}
READERS = {
    ".csv": pd.read_csv,
    ".jsonl": lambda path, **kw: pd.read_json(path, lines=True, dtype=False, **kw),
    ".parquet": lambda path, **_: pd.read_parquet(path),
}
# A column with more values than this tells rows apart rather than parts of traffic.
MAX_SLICE_VALUES = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text. `time` in ms; None while the world has no dates."""

    text: str
    label: str
    time: int | None = None
    subject: str | None = None
    slices: dict[str, str] = field(default_factory=dict)

    def at(self, time: int) -> Row:
        return replace(self, time=time)


def read_rows(path: Path) -> list[Row]:
    """Rows of a CSV, JSONL or Parquet file, or of all such files in a folder.

    Raises:
        BadConfig: no file to read, a needed column is missing, or a value cannot be used; names
            file, column, row and what was expected.
    """
    files = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.suffix in READERS)
    if not files:
        raise BadConfig(f"{path}: expected a CSV, JSONL or Parquet file, or a folder of such files")
    return [row for file in files for row in rows_of(table(file), file)]


def table(path: Path) -> pd.DataFrame:
    """A file as a table of strings, empty where nothing stands."""
    reader = READERS.get(path.suffix)
    if reader is None:
        raise BadConfig(f"{path}: expected one of {', '.join(READERS)}")
    try:
        text = {"dtype": str, "keep_default_na": False} if path.suffix == ".csv" else {}
        return reader(path, **text)  # type: ignore[operator]
    except (ValueError, OSError) as error:
        raise BadConfig(f"{path}: {error}") from error


def rows_of(frame: pd.DataFrame, path: Path) -> list[Row]:
    """Rows of one table."""
    names = {wanted: column_of(frame, wanted) for wanted in ALIASES}
    for needed in ("text", "label"):
        if names[needed] is None:
            hint = nearest(needed, [str(c) for c in frame.columns])
            raise BadConfig(
                f"{path}: column `{needed}` is missing (also taken: "
                f"{', '.join(ALIASES[needed][1:])}); {hint}"
            )
    times = dates(frame[names["time"]], path) if names["time"] else [None] * len(frame)
    slices = [
        str(column)
        for column in frame.columns
        if column not in names.values()
        and 1 < frame[column].astype(str).nunique() <= MAX_SLICE_VALUES
    ]
    found = []
    first = 2 if path.suffix == ".csv" else 1  # a CSV file's first line is its header
    for number, (record, time) in enumerate(
        zip(frame.to_dict("records"), times, strict=True), first
    ):
        text, label = clean(record[names["text"]]), clean(record[names["label"]])
        for column, value in ((names["text"], text), (names["label"], label)):
            if not value:
                raise BadConfig(f"{path}:{number}: column `{column}` is empty, expected some text")
        subject = clean(record[names["subject"]]) if names["subject"] else None
        own = {name: value for name in slices if (value := clean(record[name]))}
        found.append(Row(text, label, time, subject or None, own))
    return found


def column_of(frame: pd.DataFrame, wanted: str) -> str | None:
    """The column that holds what is wanted, by its name or an alias."""
    by_name = {str(column).strip().lower(): column for column in frame.columns}
    return next((by_name[alias] for alias in ALIASES[wanted] if alias in by_name), None)


def dates(column: Any, path: Path) -> list[int]:
    """Milliseconds of a column of dates; ISO 8601 without a zone is UTC, numbers are milliseconds
    since 1970."""
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().all():
        return [int(number) for number in numbers]
    parsed = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
    bad = parsed.isna()
    if bad.any():
        at = int(bad.idxmax())
        raise BadConfig(
            f"{path}:{at + 2}: column `{column.name}` is {shown(column[at])}, "
            "expected a date such as 2026-01-05 or 2026-01-05T09:30:00Z"
        )
    return [int(moment.astimezone(UTC).timestamp() * 1000) for moment in parsed]


def clean(value: Any) -> str:
    """A cell as text, without surrounding space."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def with_length_slice(rows: Sequence[Row]) -> list[Row]:
    """Rows that have no slices get one, so that a part of traffic can be protected: whether the
    text is shorter than the median."""
    if any(row.slices for row in rows):
        return list(rows)
    lengths = sorted(len(row.text) for row in rows)
    median = lengths[len(lengths) // 2]
    return [
        replace(row, slices={"length": "short" if len(row.text) < median else "long"})
        for row in rows
    ]
