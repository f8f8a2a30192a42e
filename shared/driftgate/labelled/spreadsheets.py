"""Spreadsheets as tables: the sheet whose header names columns, and those that have the same
header, below their titles."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from driftgate.errors import BadConfig
from driftgate.labelled.delimited import distinct, header, names_columns, usual
from driftgate.labelled.names import is_known
from driftgate.labelled.table import Table

SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
CELL = re.compile(rb'<c r="([A-Z]{1,3})(\d{1,7})"')
SHEETS_NAMED = 8
MOST_CELLS = 200_000_000
PROBED = 20  # rows among which the header is looked for


@dataclass(frozen=True, slots=True)
class Sheet:
    """title: its name; top: its header; rows: filled ones with their numbers, from the header on;
    above: the number of the first filled row, where it stands above the header."""

    title: str
    rows: list[tuple[int, list[Any]]]
    above: int | None

    @property
    def top(self) -> list[str]:
        cells = [cell_text(cell).strip() for cell in self.rows[0][1]]
        while cells and not cells[-1]:
            cells.pop()
        return cells


class RowOf(int):
    """The number of a row that also names its sheet, where several are read."""

    sheet: str

    def __format__(self, spec: str) -> str:
        return f"{int(self)} of sheet {self.sheet!r}"


def spreadsheet(data: bytes, name: str) -> Table:
    """The sheet that has rows of two columns or more, whose header names columns, or that has most
    rows; with those of the same header.

    Raises:
        BadConfig: it is damaged, has a password, or no such sheet.
    """
    from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum

    try:
        check_extent(data, name)
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        cells = {  # with the empty rows at the top, so that rows keep their numbers
            title: book.get_sheet_by_name(title).to_python(skip_empty_area=False)
            for title in book.sheet_names
        }
        seen = {one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible}
    except (CalamineError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise BadConfig(
            f"{name}: the spreadsheet cannot be read: {error}; save it anew as XLSX or CSV, "
            "without a password"
        ) from None
    filled = {t: rows for t, rows in cells.items() if sum(map(is_row, rows)) > 1}
    if not filled:
        raise BadConfig(f"{name}: no sheet has rows; expected ones of two columns or more")
    visible = {title: rows for title, rows in filled.items() if title in seen} or filled
    chosen = alike([sheet_of(title, rows) for title, rows in visible.items()])
    read = [sheet.title for sheet in chosen]
    table = of_sheets(chosen, name)
    if len(cells) > 1:
        others = named({t: t in seen for t in cells if t not in read})
        if len(read) == 1:
            table.source = f"{name}, sheet {read[0]!r}"
            if not names_columns(chosen[0].top):  # messages on columns say where else to look
                table.source += f" (not read: {others})"
        these = named(dict.fromkeys(read, True))
        told = f"sheet {these} is read"
        if len(read) > 1:
            told = f"sheets {these} have the same header and are read"
        table.notes.append(f"{told}; not read: {others}" if others else told)
    return table


def named(sheets: Mapping[str, bool]) -> str:
    """Names of sheets; False: it is hidden."""
    titles = [f"{title!r}{'' if seen else ' (hidden)'}" for title, seen in sheets.items()]
    return ", ".join([*titles[:SHEETS_NAMED], *(["…"] if len(titles) > SHEETS_NAMED else [])])


def alike(sheets: Sequence[Sheet]) -> list[Sheet]:
    """The sheet that is meant, with those that have the same header."""
    best = max(sheets, key=lambda sheet: (names_columns(sheet.top), len(sheet.rows)))
    if not header([[cell_text(cell) for cell in row] for _, row in best.rows]):
        return [best]
    return [sheet for sheet in sheets if sheet.top == best.top]


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


def sheet_of(title: str, rows: Sequence[Sequence[Any]]) -> Sheet:
    """A sheet's rows from its header on."""
    filled = [(n, list(row)) for n, row in enumerate(rows, 1) if any(c != "" for c in row)]
    top = first_row([row for _, row in filled])
    return Sheet(title, filled[top:], filled[0][0] if top else None)


def of_sheets(sheets: Sequence[Sheet], name: str) -> Table:
    """The rows of sheets below their header, which is the same."""
    first, *more = sheets
    numbered = [*first.rows, *(row for sheet in more for row in sheet.rows[1:])]
    width = max(len(row) for _, row in numbered)
    numbered = [(n, row + [""] * (width - len(row))) for n, row in numbered]
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
    numbers = [n for n, _ in kept] if not more else numbers_of(sheets)
    notes = [
        f"rows above the header are not read: {sheet.above} to {sheet.rows[0][0] - 1}"
        for sheet in sheets
        if sheet.above
    ]
    return Table(name, "row", columns, numbers, moments, notes=list(dict.fromkeys(notes)))


def numbers_of(sheets: Sequence[Sheet]) -> list[int]:
    """The numbers of all rows below the headers, with their sheets."""
    found: list[int] = []
    for sheet in sheets:
        for number, _ in sheet.rows[1:]:
            row = RowOf(number)
            row.sheet = sheet.title
            found.append(row)
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
