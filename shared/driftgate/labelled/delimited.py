"""CSV and its kin: the delimiter, the quotes and the header are found, and a row that does not fit
is left out by its line. Pure."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from driftgate.errors import BadConfig
from driftgate.labelled.names import is_known
from driftgate.labelled.table import Table

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SAMPLE = 200_000  # characters that the delimiter is chosen by
LEAST_SHARE = 0.5
HEADER_CHARACTERS = 60
# A cell that swallowed so many lines of the right number of fields began with a stray quote.
SWALLOWED = 5
LOOKED_AT = 2_000  # rows that tell whether there is a header
REPEATED_HEADER, RULE = "it repeats the header", "it is a rule below the header"

csv.field_size_limit(sys.maxsize)

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

Numbered = tuple[int, list[str]]


def lines(text: str) -> Iterator[str]:
    """Lines with their ends. `splitlines` divides at U+2028 too; StringIO takes 4 bytes for each
    character."""
    return (found.group() for found in LINE.finditer(text))


@dataclass(frozen=True, slots=True)
class Dialect:
    delimiter: str
    quoted: bool = True
    escaped: bool = False

    def reader(self, text: str) -> Any:
        return csv.reader(
            lines(text),
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            doublequote=not self.escaped,
            escapechar="\\" if self.escaped else None,
        )

    def rows(self, text: str) -> Iterator[Numbered]:
        """Each row with the line that it begins on; empty lines are none."""
        reader, begin = self.reader(text), 1
        for row in reader:
            if any(cell.strip() for cell in row):
                yield begin, row
            begin = reader.line_num + 1

    def widths(self, text: str) -> Counter[int]:
        """How many rows have how many fields."""
        return Counter(len(row) for _, row in self.rows(text))


def read(text: str, name: str) -> Table:
    """The table of a delimited text.

    Raises:
        BadConfig: it has one column only, or a quotation mark that is never closed.
    """
    given, text = hint(text)
    dialect, rows = right_quotes(given or delimiter(text, name), text)
    width, _ = usual(Counter(len(row) for _, row in rows))
    rows = full_header(rows, width)
    first = next(at for at, (_, row) in enumerate(rows) if len(row) == width)
    notes = [f"{rows[0][0]} to {rows[first][0] - 1}: lines above the header"] if first else []
    rows = rows[first:]
    unclosed(rows, dialect, name, width)
    head = header([row for _, row in rows if len(row) == width])
    if head is not None:
        top, rows = rows[0][1], rows[1:]
    ruled = [rows.pop(0)[0]] if head and rows and is_rule(rows[0][1]) else []
    again = [number for number, row in rows if head and repeats(row, top)]
    good = [one for one in rows if len(one[1]) == width and not (again and repeats(one[1], top))]
    if not good:
        raise BadConfig(f"{name}: there is a header and no row; expected rows below it")
    notes.append(f"fields divided by {DELIMITERS.get(dialect.delimiter, 'blanks')}")
    if head is None:
        notes.append("no header: columns are numbered")
    cells = map(list, zip(*(row for _, row in good), strict=True))
    return Table(
        name,
        "line",
        dict(zip(head or numbered(width), cells, strict=True)),
        [number for number, _ in good],
        left_out=[(number, RULE) for number in ruled]
        + [(number, REPEATED_HEADER) for number in again]
        + [
            (number, f"has other than {width} fields (quote texts that contain the delimiter)")
            for number, row in rows
            if len(row) != width
        ],
        notes=notes,
    )


def is_rule(row: Sequence[str]) -> bool:
    """Whether it is the line below the header of a table in Markdown."""
    return all(set(cell.strip()) <= {"-", ":"} for cell in row)


def repeats(row: Sequence[str], top: Sequence[str]) -> bool:
    """Whether a row is the header once more, where files were put together."""
    return row[-1] == top[-1] and [cell.strip("\ufeff ") for cell in row] == [
        cell.strip() for cell in top
    ]


def full_header(rows: list[Numbered], width: int) -> list[Numbered]:
    """The rows, with a name for the column that the header has none for: the last one, where each
    row ends in a delimiter, or the first one, where R writes the names of rows."""
    at = next(at for at, (_, row) in enumerate(rows) if len(row) in (width - 1, width))
    number, top = rows[at]
    if len(top) == width or width < 3 or not any(map(is_known, top)):
        return rows
    below = [row for _, row in rows if len(row) == width][:LOOKED_AT]
    if not any(row[-1].strip() for row in below):
        full = [*top, ""]
    elif len({row[0] for row in below}) == len(below):
        full = ["row", *top]
    else:
        return rows
    return [*rows[:at], (number, full), *rows[at + 1 :]]


def hint(text: str) -> tuple[Dialect | None, str]:
    """What Excel writes into a first line such as `sep=;`."""
    line, _, rest = text.partition("\n")
    if line.lower().startswith("sep=") and len(line.strip()) == 5:
        return Dialect(line.strip()[-1]), "\n" + rest  # so that lines keep their numbers
    return None, text


def delimiter(text: str, name: str) -> Dialect:
    """The delimiter that gives most rows the same number of fields."""
    sample = text[:SAMPLE].rpartition("\n")[0] if len(text) > SAMPLE else text
    found: list[tuple[float, int, Dialect]] = []
    # R divides by blanks, and encloses what stands between them.
    marks = [*DELIMITERS, *([" "] if text.startswith('"') else [])]
    for place, mark in enumerate(marks):
        for dialect in (Dialect(mark), Dialect(mark, quoted=False)):
            width, share = usual(dialect.widths(sample))
            if width > 1 and share >= LEAST_SHARE:
                found.append((round(share, 2), -place, dialect))
                break
    if not found:
        raise BadConfig(
            f"{name}: only one column is found in it; expected a text and a label in each row, "
            f"divided by {', '.join(DELIMITERS.values())}"
        )
    return max(found, key=lambda one: one[:2])[2]


def usual(widths: Mapping[int, int]) -> tuple[int, float]:
    """The most frequent number of fields, and the share of rows that have it."""
    if not widths:
        return 0, 0.0
    width = max(widths, key=lambda one: widths[one])
    return width, widths[width] / sum(widths.values())


def right_quotes(dialect: Dialect, text: str) -> tuple[Dialect, list[Numbered]]:
    """Quotation marks are what encloses fields, or plain characters where only that gives every
    line the same number of fields, or doubled by backslashes."""
    rows = list(dialect.rows(text))
    widths = Counter(len(row) for _, row in rows)
    width, share = usual(widths)
    lines = rows[-1][0] if rows else 0
    if (share == 1 and lines == len(rows)) or '"' not in text:
        return dialect, rows
    plain = replace(dialect, quoted=False)
    candidate = plain.widths(text)
    if candidate.total() > len(rows) and usual(candidate) == (width, 1.0):
        return plain, list(plain.rows(text))
    if '\\"' in text:
        escaped = replace(dialect, escaped=True)
        if usual(escaped.widths(text))[1] > share:
            return escaped, list(escaped.rows(text))
    return dialect, rows


def unclosed(rows: Sequence[Numbered], dialect: Dialect, name: str, width: int) -> None:
    """Raises: BadConfig where a quotation mark swallows the rows below it."""
    for number, row in rows:
        for cell in row:
            if cell.count("\n") < SWALLOWED:
                continue
            inner = [line for line in cell.splitlines()[1:-1] if line.strip()]
            alike = sum(line.count(dialect.delimiter) == width - 1 for line in inner)
            if alike >= SWALLOWED - 1 and alike >= 0.8 * len(inner):
                raise BadConfig(
                    f"{name}, line {number}: a quotation mark is opened there and the next "
                    f"{cell.count(chr(10))} lines lie inside it; close it, or double it if it "
                    "belongs to the text"
                )


def header(rows: Sequence[list[str]]) -> list[str] | None:
    """The names of the columns; None where the first row is data."""
    names = [cell.strip() for cell in rows[0]]
    if any(is_known(name) for name in names):
        return distinct(names)
    looked_at = rows[1:LOOKED_AT]
    recurs = any(
        name and any(row[at].strip() == name for row in looked_at) for at, name in enumerate(names)
    )
    like_names = all(len(name) <= HEADER_CHARACTERS for name in names) and not any(
        name.replace(".", "").replace("-", "").isdigit() for name in names
    )
    return distinct(names) if like_names and not recurs else None


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once; one without a name is called by its place."""
    seen: Counter[str] = Counter()
    found = []
    for place, given in enumerate(names, 1):
        name = given or f"column {place}"
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def numbered(width: int) -> list[str]:
    return [f"column {place}" for place in range(1, width + 1)]
