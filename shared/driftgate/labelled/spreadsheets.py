"""Spreadsheets as tables: the first sheet with rows, below its titles."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from driftgate.errors import BadConfig
from driftgate.labelled.delimited import distinct, header, usual
from driftgate.labelled.names import is_known
from driftgate.labelled.table import Table

SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
CELL = re.compile(rb'<c r="([A-Z]{1,3})(\d{1,7})"')
SHEETS_NAMED = 8
MOST_CELLS = 200_000_000
PROBED = 20  # rows among which the header is looked for


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
