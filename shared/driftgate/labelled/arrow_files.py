"""Parquet, Arrow and Feather as tables."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ipc

from driftgate.errors import BadConfig
from driftgate.labelled.delimited import distinct
from driftgate.labelled.encoding import BROKEN
from driftgate.labelled.table import Table, of_records

# What pyarrow says of damaged files; `SystemError` of offsets that lead backwards.
DAMAGED = (pa.ArrowException, OSError, SystemError)
IN_MS = pc.CastOptions(pa.timestamp("ms"), allow_time_truncate=True)


def parquet(data: bytes, name: str) -> Table:
    """Raises: BadConfig where it is damaged."""
    try:
        return of_arrow(pq.ParquetFile(io.BytesIO(data)).read(), name)
    except DAMAGED as error:
        raise BadConfig(f"{name}: the Parquet file is damaged: {error}; write it again") from None


def arrow(data: bytes, name: str) -> Table:
    """Arrow as a file (also Feather), or as a stream, as Hugging Face datasets keep it."""
    try:
        if data.startswith(b"ARROW1"):
            return of_arrow(ipc.open_file(pa.py_buffer(data)).read_all(), name)
        return of_arrow(ipc.open_stream(pa.py_buffer(data)).read_all(), name)
    except DAMAGED as error:
        raise BadConfig(f"{name}: the Arrow file is damaged: {error}; write it again") from None


def of_arrow(found: pa.Table, name: str) -> Table:
    """Columns with the names of classes where the schema has them, and dates in ms."""
    classes = class_names(found.schema)
    columns: dict[str, list[Any]] = {}
    moments: dict[str, list[int | None]] = {}
    for called, column in zip(distinct(found.column_names), found.columns, strict=True):
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            in_ms = column.cast(options=IN_MS)
            moments[called] = pc.cast(in_ms, pa.int64()).to_pylist()
            continue
        values = cells_of(column)
        if called in classes:
            values = [class_of(value, classes[called]) for value in values]
        columns[called] = values
    notes = [f"names of classes in column {column!r} from the schema" for column in classes]
    nested = {k: v for k, v in columns.items() if any(isinstance(cell, Mapping) for cell in v)}
    if nested:  # structs become columns with a dot in their names
        size = found.num_rows
        records = ((n + 1, {k: v[n] for k, v in columns.items()}) for n in range(size))
        table = of_records(name, "row", records, notes)
        table.moments = moments
        return table
    return Table(name, "row", columns, list(range(1, found.num_rows + 1)), moments, notes=notes)


def cells_of(column: pa.ChunkedArray) -> list[Any]:
    """A column's values, with bytes as text; what is none has lone surrogates."""
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:  # a column of strings may hold any bytes
        values = column.cast(pa.large_binary()).to_pylist()
    return [cell.decode("utf-8", BROKEN) if isinstance(cell, bytes) else cell for cell in values]


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of classes by column, as Hugging Face writes them into a schema."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return {
        column: list(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, Mapping)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def class_of(value: Any, names: Sequence[str]) -> Any:
    """The name of a class; -1 is none, as in a test set without labels."""
    if not isinstance(value, int) or value < 0:
        return None
    return names[value] if value < len(names) else value
