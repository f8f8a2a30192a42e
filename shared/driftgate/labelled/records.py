"""JSON Lines, JSON, Parquet, Arrow, spreadsheets, fastText and folders of texts as tables."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ipc

from driftgate.errors import BadConfig
from driftgate.labelled import exports
from driftgate.labelled.delimited import distinct, header, usual
from driftgate.labelled.table import Record, Table, of_records

FASTTEXT = "__label__"
NESTED = 3  # so deep inside a JSON document the list of rows is looked for
# Beside the text and the label of a pair, as CLINC150 has them.
PAIR = ("text", "label")


def json_lines(text: str, name: str) -> Table:
    """One JSON object a line."""
    records: list[tuple[int, Any]] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append((number, json.loads(line)))
        except ValueError as error:
            bad.append((number, f"is not JSON ({error})"))
    table = table_of(name, "line", records)
    table.left_out += bad
    return table


def json_document(text: str, name: str) -> Table:
    """A JSON document that holds rows: a list of them, or an object in which such lists stand.

    Raises:
        BadConfig: it is not JSON, or holds no rows.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadConfig(f"{name}: is not JSON: {error}; mend it there, or save it as CSV") from None
    lists = list(row_lists(document))
    if not lists:
        raise BadConfig(
            f"{name}: no list of rows is found in it; expected "
            '[{"text": …, "label": …}, …], one such object a line, or columns as lists'
        )
    rows = [row for _, found in lists for row in found]
    table = table_of(name, "row", list(enumerate(rows, 1)))
    if len(lists) > 1:
        table.notes.append(f"rows of {', '.join(place for place, _ in lists)}")
    return table


def row_lists(node: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """Every list of rows in a document, with its key."""
    if isinstance(node, list):
        if node and all(isinstance(row, (Mapping, list)) for row in node):
            yield (
                place or "the document",
                [
                    row["row"]
                    if isinstance(row, Mapping) and set(row) >= {"row", "row_idx"}
                    else row
                    for row in node
                ],
            )
    elif isinstance(node, Mapping):
        columns = by_column(node)
        if columns:
            yield place or "the document", columns
        elif depth < NESTED:
            for name, value in node.items():
                yield from row_lists(value, f"{place}.{name}" if place else name, depth + 1)


def by_column(node: Mapping[str, Any]) -> list[Any]:
    """Rows of what pandas writes: names apart from data, or columns as mappings by index or as
    lists. Empty where it is none of these."""
    values = list(node.values())
    if isinstance(node.get("data"), list):
        if isinstance(node.get("columns"), list):
            names = [str(name) for name in node["columns"]]
            return [dict(zip(names, row, strict=False)) for row in node["data"]]
        return list(node["data"]) if isinstance(node.get("schema"), Mapping) else []
    if len(values) < 2 or not values[0]:
        return []
    if all(isinstance(v, Mapping) and set(v) == set(values[0]) for v in values):
        rows = [{name: node[name][key] for name in node} for key in values[0]]
    elif all(isinstance(v, list) and len(v) == len(values[0]) for v in values):
        rows = [dict(zip(node, row, strict=True)) for row in zip(*values, strict=True)]
    else:
        rows = []
    nested = any(isinstance(cell, (Mapping, list)) for row in rows for cell in row.values())
    return [] if nested else rows


def table_of(name: str, unit: str, numbered: Sequence[tuple[int, Any]]) -> Table:
    """A table of JSON rows: objects, or lists such as [text, label]."""
    records: list[tuple[int, Record]] = []
    left_out = []
    for number, row in numbered:
        if isinstance(row, Mapping):
            record = exports.unwrapped(row)
            if record is None:
                left_out.append((number, exports.NO_ANNOTATION))
            else:
                records.append((number, record))
        elif isinstance(row, list):
            names = PAIR if len(row) == 2 else [f"column {n}" for n in range(1, len(row) + 1)]
            records.append((number, dict(zip(names, row, strict=True))))
        else:
            left_out.append((number, 'is not an object such as {"text": …, "label": …}'))
    table = of_records(name, unit, records)
    table.left_out = left_out
    return table


def parquet(data: bytes, name: str) -> Table:
    """Raises: BadConfig where it is damaged."""
    try:
        return of_arrow(pq.read_table(io.BytesIO(data)), name)
    except (pa.ArrowException, OSError) as error:
        raise BadConfig(f"{name}: the Parquet file is damaged: {error}; write it again") from None


def arrow(data: bytes, name: str) -> Table:
    """Arrow as a file (also Feather), or as a stream, as Hugging Face datasets keep it."""
    try:
        if data.startswith(b"ARROW1"):
            return of_arrow(ipc.open_file(pa.py_buffer(data)).read_all(), name)
        return of_arrow(ipc.open_stream(pa.py_buffer(data)).read_all(), name)
    except (pa.ArrowException, OSError) as error:
        raise BadConfig(f"{name}: the Arrow file is damaged: {error}; write it again") from None


def of_arrow(found: pa.Table, name: str) -> Table:
    """Columns with the names of classes where the schema has them, and dates in ms."""
    classes = class_names(found.schema)
    columns: dict[str, list[Any]] = {}
    moments: dict[str, list[int | None]] = {}
    for field in found.schema:
        column = found[field.name]
        if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
            in_ms = pc.cast(column, pa.timestamp("ms"), safe=False)
            moments[field.name] = pc.cast(in_ms, pa.int64()).to_pylist()
            continue
        values = column.to_pylist()
        if field.name in classes:
            values = [class_of(value, classes[field.name]) for value in values]
        columns[field.name] = values
    notes = [f"names of classes in column {column!r} from the schema" for column in classes]
    nested = {k: v for k, v in columns.items() if any(isinstance(cell, Mapping) for cell in v)}
    if nested:  # structs become columns with a dot in their names
        size = found.num_rows
        records = ((n + 1, {k: v[n] for k, v in columns.items()}) for n in range(size))
        table = of_records(name, "row", records, notes)
        table.moments = moments
        return table
    return Table(name, "row", columns, list(range(1, found.num_rows + 1)), moments, notes=notes)


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
        and feature.get("names")
    }


def class_of(value: Any, names: Sequence[str]) -> Any:
    """The name of a class; -1 is none, as in a test set without labels."""
    if not isinstance(value, int) or value < 0:
        return None
    return names[value] if value < len(names) else value


def spreadsheet(data: bytes, name: str) -> Table:
    """The first sheet that has rows of two columns or more.

    Raises:
        BadConfig: it is damaged, has a password, or no such sheet.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = {title: book.get_sheet_by_name(title).to_python() for title in book.sheet_names}
    except (CalamineError, OSError, ValueError) as error:
        raise BadConfig(
            f"{name}: the spreadsheet cannot be read: {error}; save it anew as XLSX or CSV, "
            "without a password"
        ) from None
    filled = {t: rows for t, rows in sheets.items() if sum(map(is_row, rows)) > 1}
    if not filled:
        raise BadConfig(f"{name}: no sheet has rows of a text and a label; expected two columns")
    title, rows = next(iter(filled.items()))
    table = of_cells(rows, name)
    if len(sheets) > 1:
        table.notes.append(f"sheet {title!r} of {len(sheets)}; the others are not read")
    return table


def is_row(cells: Sequence[Any]) -> bool:
    return sum(cell not in ("", None) for cell in cells) > 1


def of_cells(rows: Sequence[Sequence[Any]], name: str) -> Table:
    """A sheet's rows below its header."""
    numbered = [(n, list(row)) for n, row in enumerate(rows, 1) if any(c != "" for c in row)]
    filled, _ = usual([[c for c in row if c != ""] for _, row in numbered])
    while len(numbered) > 1 and sum(c != "" for c in numbered[0][1]) < min(2, filled):
        numbered.pop(0)  # a title above the table
    strings = [[cell_text(cell) for cell in row] for _, row in numbered]
    head, body = header(strings)
    kept = numbered[1:] if head else numbered
    names = head or distinct([""] * len(strings[0]))
    raw = dict(zip(names, map(list, zip(*(row for _, row in kept), strict=True)), strict=True))
    moments = {
        column: [milliseconds(cell) for cell in cells]
        for column, cells in raw.items()
        if any(isinstance(c, date) for c in cells)
        and all(isinstance(c, date) or c == "" for c in cells)
    }
    texts = dict(zip(names, map(list, zip(*body, strict=True)), strict=True)) if body else {}
    columns = {column: cells for column, cells in texts.items() if column not in moments}
    empty = [column for column, cells in columns.items() if not any(cells)]
    for column in empty:
        del columns[column]
    return Table(name, "row", columns, [n for n, _ in kept], moments)


def cell_text(cell: Any) -> str:
    """A spreadsheet's cell as it would stand in a CSV file."""
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    return str(cell)


def milliseconds(cell: Any) -> int | None:
    if not isinstance(cell, date):
        return None
    moment = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day)
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def fasttext(text: str, name: str) -> Table:
    """`__label__x` before the text of a line."""
    records, bad = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        words = line.split()
        labels = [w.removeprefix(FASTTEXT) for w in words if w.startswith(FASTTEXT)]
        rest = " ".join(w for w in words if not w.startswith(FASTTEXT))
        if labels:
            records.append((number, {"text": rest.lstrip(", "), "label": labels}))
        else:
            bad.append((number, "has no __label__"))
    table = of_records(name, "line", records, ["labels after __label__, as fastText has them"])
    table.left_out = bad
    return table
