"""JSON Lines, JSON, Parquet, Arrow, spreadsheets, fastText and folders of texts as tables."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ipc

from driftgate.errors import BadConfig
from driftgate.labelled import exports
from driftgate.labelled.delimited import distinct, header, lines, usual
from driftgate.labelled.encoding import BROKEN
from driftgate.labelled.names import TEXT, is_known, rank
from driftgate.labelled.table import Record, Table, of_records

FASTTEXT = "__label__"
NESTED = 3  # so deep inside a JSON document the list of rows is looked for
# Beside the text and the label of a pair, as CLINC150 has them.
PAIR = ("text", "label")
BLANKS = " \t\r\n\ufeff"  # marks of UTF-8 also stand between files that were put together
PROBED = 20  # lines that tell whether a broken document is JSON Lines
SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
CELL = re.compile(rb'<c r="([A-Z]{1,3})(\d{1,7})"')
SHEETS_NAMED = 8
MOST_CELLS = 200_000_000
# What pyarrow says of damaged files; `SystemError` of offsets that lead backwards.
DAMAGED = (pa.ArrowException, OSError, SystemError)
IN_MS = pc.CastOptions(pa.timestamp("ms"), allow_time_truncate=True)
ROWS_EXPECTED = 'expected [{"text": …, "label": …}, …], one such object a line, or columns as lists'
NOT_JSON, NO_OBJECT = "is not JSON", 'is not an object such as {"text": …, "label": …}'


def is_json(begin: str) -> bool:
    """Whether the first line is JSON with something in it, or the beginning of it."""
    line = begin.partition("\n")[0].strip()
    parsed = exports.parsed(line)
    return line in ("[", "{", "[{") or (isinstance(parsed, (Mapping, list)) and bool(parsed))


def json_text(text: str, name: str) -> Table:
    """One JSON document, or JSON Lines, or documents one after another.

    Raises:
        BadConfig: it is none of these, or holds no rows.
    """
    begin = len(text) - len(text.lstrip(BLANKS))
    try:
        document, end = json.JSONDecoder().raw_decode(text, begin)
    except RecursionError:
        raise BadConfig(f"{name}: is nested too deeply; {ROWS_EXPECTED}") from None
    except ValueError as error:
        if any(is_object(line) for line in islice(lines(text), PROBED)):
            return json_lines(text, name)
        raise BadConfig(
            f"{name}: is not whole JSON: {error}; write the file anew, or mend it there"
        ) from None
    if not text[end:].strip(BLANKS):
        return json_document(document, name)
    if "\n" in text[begin:end]:
        return table_of(name, "row", json_documents(text, begin, name))
    return json_lines(text, name)


def is_object(line: str) -> bool:
    found = exports.parsed(line.strip(BLANKS))
    return isinstance(found, Mapping) and bool(found)


def json_lines(text: str, name: str) -> Table:
    """One JSON object a line."""
    bad: list[tuple[int, str]] = []

    def rows() -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(lines(text), 1):
            if line.strip():
                try:
                    yield number, json.loads(line.strip(BLANKS))
                except (ValueError, RecursionError):
                    bad.append((number, NOT_JSON))

    table = table_of(name, "line", rows())
    table.left_out += bad
    return table


def json_documents(text: str, at: int, name: str) -> Iterator[tuple[int, Any]]:
    """JSON objects one after another, each over several lines."""
    decoder, number = json.JSONDecoder(), 0
    while at < len(text):
        number += 1
        try:
            found, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise BadConfig(
                f"{name}: object {number} is not whole JSON: {error}; mend it there"
            ) from None
        yield number, found
        while at < len(text) and text[at] in BLANKS:
            at += 1


def json_document(document: Any, name: str) -> Table:
    """A JSON document that holds rows: a list of them, or an object in which such lists stand.

    Raises:
        BadConfig: it holds none.
    """
    if isinstance(document, Mapping) and all(
        isinstance(document.get(key), list) for key in ("features", "rows")
    ):
        document = {"rows": with_classes(document)}
    lists = [(place, found) for place, found in row_lists(document) if found]
    if not lists:
        raise BadConfig(f"{name}: no list of rows is found in it; {ROWS_EXPECTED}")
    _, most = max(lists, key=lambda one: (has_text(one[1][0]), len(one[1])))
    alike = [(place, found) for place, found in lists if shape(found[0]) == shape(most[0])]
    rows = [row for _, found in alike for row in found]
    table = table_of(name, "row", enumerate(rows, 1))
    if len(lists) > 1:
        table.notes.append(f"rows of {', '.join(place for place, _ in alike)}")
    others = [place for place, found in lists if shape(found[0]) != shape(most[0])]
    if others:
        table.notes.append(f"not read, since their rows are of another kind: {', '.join(others)}")
    return table


def shape(row: Any) -> Any:
    return frozenset(row) if isinstance(row, Mapping) else list


def has_text(row: Any) -> bool:
    return not isinstance(row, Mapping) or any(rank(name, TEXT) is not None for name in row)


def with_classes(page: Mapping[str, Any]) -> list[Any]:
    """Rows of Hugging Face's datasets-server, with the names of their classes."""
    classes = {
        feature["name"]: feature["type"]["names"]
        for feature in page["features"]
        if isinstance(feature, Mapping)
        and isinstance(feature.get("type"), Mapping)
        and "name" in feature
        and isinstance(feature["type"].get("names"), list)
    }
    rows = [one.get("row") for one in page.get("rows") or [] if isinstance(one, Mapping)]
    return [
        {k: class_of(v, classes[k]) if k in classes else v for k, v in row.items()}
        for row in rows
        if isinstance(row, Mapping)
    ]


def row_lists(node: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """Every list of rows in a document, with its key."""
    if isinstance(node, list):
        if node and all(isinstance(row, (Mapping, list)) for row in node):
            yield place or "the document", node
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
            lists = [row for row in node["data"] if isinstance(row, list)]
            return [dict(zip(names, row, strict=False)) for row in lists]
        return list(node["data"]) if isinstance(node.get("schema"), Mapping) else []
    if len(values) < 2 or not values[0]:
        return []
    if all(isinstance(v, Mapping) for v in values) and any(map(is_known, values[0])):
        rows = [dict(v) for v in values]
    elif all(isinstance(v, Mapping) and set(v) == set(values[0]) for v in values):
        rows = [{name: node[name][key] for name in node} for key in values[0]]
    elif all(isinstance(v, list) and len(v) == len(values[0]) for v in values):
        rows = [dict(zip(node, row, strict=True)) for row in zip(*values, strict=True)]
    else:
        rows = []
    nested = any(isinstance(cell, (Mapping, list)) for row in rows for cell in row.values())
    return [] if nested else rows


def table_of(name: str, unit: str, numbered: Iterable[tuple[int, Any]]) -> Table:
    """A table of JSON rows: objects, or lists such as [text, label]."""
    left_out: list[tuple[int, str]] = []
    lost: Counter[str] = Counter()

    def records() -> Iterator[tuple[int, Record]]:
        for number, row in numbered:
            record = record_of(row)
            if isinstance(record, str):
                left_out.append((number, record))
            else:
                if (loss := exports.loses(row) if isinstance(row, Mapping) else None) is not None:
                    lost[loss] += 1
                yield number, record

    table = of_records(name, unit, records())
    table.left_out = left_out
    table.notes += exports.losses(lost)
    return table


def record_of(row: Any) -> Record | str:
    """A JSON row as a record, or why it is none."""
    if isinstance(row, list) and len(row) == 2 and isinstance(row[1], Mapping):
        row = {"text": row[0], **row[1]}  # spaCy's pairs
    if isinstance(row, list):
        names = PAIR if len(row) == 2 else [f"column {n}" for n in range(1, len(row) + 1)]
        return dict(zip(names, row, strict=True))
    if isinstance(row, Mapping):
        record = exports.unwrapped(row)
        return exports.NO_ANNOTATION if record is None else record
    return NO_OBJECT


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


def spreadsheet(data: bytes, name: str) -> Table:
    """The first sheet that has rows of two columns or more.

    Raises:
        BadConfig: it is damaged, has a password, or no such sheet.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        check_extent(data, name)
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = {  # with the empty rows at the top, so that rows keep their numbers
            title: book.get_sheet_by_name(title).to_python(skip_empty_area=False)
            for title in book.sheet_names
        }
    except (CalamineError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
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
        others = [repr(other) for other in sheets if other != title]
        more = ["…"] if len(others) > SHEETS_NAMED else []
        named = ", ".join(others[:SHEETS_NAMED] + more)
        table.notes.append(f"sheet {title!r} is read; not read: {named}")
    return table


def check_extent(data: bytes, name: str) -> None:
    """A sheet is read as a rectangle, and a cell in its last corner makes that one of 17 billion
    cells, which no memory holds.

    Raises:
        BadConfig: there is such a cell in an XLSX file.
    """
    if not data.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheets = [one for one in archive.namelist() if SHEET.match(one)]
        for sheet in sheets:
            rows, columns = 1, 1
            for cell in CELL.finditer(archive.read(sheet)):
                columns = max(columns, 26 ** (len(cell[1]) - 1))
                rows = max(rows, int(cell[2]))
            if rows * columns > MOST_CELLS:
                raise BadConfig(
                    f"{name}: a cell far from the others is filled, beyond row {rows:,} or "
                    f"column {columns:,}; delete what is beside and below the table"
                )


def is_row(cells: Sequence[Any]) -> bool:
    return sum(cell not in ("", None) for cell in cells) > 1


def of_cells(rows: Sequence[Sequence[Any]], name: str) -> Table:
    """A sheet's rows below its header."""
    numbered = [(n, list(row)) for n, row in enumerate(rows, 1) if any(c != "" for c in row)]
    top = first_row([row for _, row in numbered])
    notes = [f"rows above the header are not read: {numbered[0][0]} to {numbered[top][0] - 1}"]
    numbered = numbered[top:]
    strings = [[cell_text(cell) for cell in row] for _, row in numbered]
    head = header(strings)
    body = strings[1:] if head else strings
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
    found = Table(name, "row", columns, [n for n, _ in kept], moments)
    found.notes += notes if top else []
    return found


def first_row(rows: Sequence[Sequence[Any]]) -> int:
    """The place of the header, below titles."""
    for place, row in enumerate(rows[:PROBED]):
        if sum(is_known(str(cell)) for cell in row) > 1:
            return place
    filled, _ = usual(Counter(sum(cell != "" for cell in row) for row in rows))
    enough = (at for at, row in enumerate(rows) if sum(c != "" for c in row) >= min(2, filled))
    return next(enough, 0)


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
