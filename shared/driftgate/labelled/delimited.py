"""CSV and its kin: the delimiter, the quotes and the header are found, and a row that does not fit
is left out by its line. Pure."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from driftgate.errors import BadConfig
from driftgate.labelled.names import ID, LABEL, SUBJECT, TEXT, TIME, TITLE, is_known, plain, words
from driftgate.labelled.table import Table

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Texts have commas more often than tabs: of two that divide alike, the one that stands first here.
RARE_IN_TEXTS = ("\t", ";", "|", ",")
SAMPLE = 200_000  # characters that the delimiter is chosen by
LEAST_SHARE = 0.5
HEADER_CHARACTERS = 60
# A stray quotation mark that swallows so many lines refuses the file; fewer lines are left out.
MOST_SWALLOWED = 5
ALIKE = 0.8  # share of swallowed lines that have as many fields as a row
LOOKED_AT = 2_000  # rows that tell whether there is a header
PROBED = 10  # rows among which a header of known names is looked for
NAMES = {*TEXT, *TITLE, *LABEL, *TIME, *SUBJECT, *ID}
REPEATED_HEADER, RULE = "it repeats the header", "it is a rule below the header"
DESCRIBES, COMMENT = "it describes the columns", "it begins with # and is a comment"
COMMENTED = re.compile(r"#+\s")
# What survey tools and databases write below a header.
MOST_DESCRIBING = 3  # rows
IMPORT_ID = re.compile(r'\{"ImportId"')
ANSWERS = {"open-ended response", "response", "other (please specify)"}
TYPES = words(
    "string str text varchar char object int integer int64 bigint float float64 double decimal "
    "number numeric bool boolean date datetime timestamp time category categorical nominal"
)
UNCLOSED = (
    "a quotation mark before it is not closed and swallows the row; close it, or double it if it "
    "belongs to the text"
)

csv.field_size_limit(sys.maxsize)

LINE_END = re.compile(r"\r\n|\r|\n")
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
    spaced: bool = False  # a blank may stand before a quotation mark

    def reader(self, text: str) -> Any:
        return csv.reader(
            lines(text),
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            doublequote=not self.escaped,
            escapechar="\\" if self.escaped else None,
            skipinitialspace=self.spaced,
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
        BadConfig: it has one column only, or a quotation mark that swallows many rows.
    """
    given, text = hint(text)
    dialect, rows = right_quotes(given or delimiter(text, name), text)
    width, _ = usual(Counter(len(row) for _, row in rows))
    rows = full_header(rows, width)
    first = top_row(rows, width)
    notes = [f"{rows[0][0]} to {rows[first][0] - 1}: lines above the header"] if first else []
    above, rows = rows[:first], rows[first:]
    rows, swallowed = without_unclosed(rows, dialect, name, width)
    described = describing([row for _, row in rows[1:]])
    head = header([row for _, row in [rows[0], *rows[described + 1 :]] if len(row) == width])
    aside: list[tuple[int, str]] = []
    if head is None:
        check_narrow(above, name, width)
    else:
        top, (rows, aside) = rows[0][1], below_header(rows[1:], described)
    rows, commented = without_comments(rows, width)
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
        left_out=aside
        + [(number, COMMENT) for number in commented]
        + [(number, REPEATED_HEADER) for number in again]
        + [(number, UNCLOSED) for number in swallowed]
        + [
            (number, f"has other than {width} fields (quote texts that contain the delimiter)")
            for number, row in rows
            if len(row) != width
        ],
        notes=notes,
    )


def top_row(rows: Sequence[Numbered], width: int) -> int:
    """The place of the header, or of the first row of data: titles and comments above it may have
    as many fields as a row."""
    wide = [at for at, (_, row) in enumerate(rows) if len(row) == width]
    if names_columns(rows[wide[0]][1]):
        return wide[0]
    named = (at for at in wide[1:PROBED] if names_columns(rows[at][1]))
    comments = [COMMENTED.match(rows[at][1][0]) for at in wide[:PROBED]]
    below = (at for at, comment in zip(wide, comments, strict=False) if not comment)
    return next(named, next(below, wide[0]))


def names_columns(row: Sequence[str]) -> bool:
    """Whether two or more of its cells are names of columns, and one can be nothing else."""
    cells = [cell.strip("# ") for cell in row]
    return sum(plain(cell) in NAMES for cell in cells) > 1 and any(map(is_known, cells))


def describing(rows: Sequence[Sequence[str]]) -> int:
    """How many rows below the header say what the columns are: questions and ids of a survey, or
    types."""
    begin = rows[:MOST_DESCRIBING]
    ids = [at for at, row in enumerate(begin, 1) if any(map(IMPORT_ID.match, row))]
    return max(ids, default=1 if begin and says_types(begin[0], rows[1:LOOKED_AT]) else 0)


def says_types(row: Sequence[str], below: Iterable[Sequence[str]]) -> bool:
    """Whether its cells are types or kinds of answers, and none of them is one of the values."""
    cells = {at: cell.strip().lower() for at, cell in enumerate(row) if cell.strip()}
    if len(cells) < 2 or not any(set(cells.values()) <= set(kind) for kind in (ANSWERS, TYPES)):
        return False
    return not any(at < len(other) and other[at] == row[at] for other in below for at in cells)


def without_comments(rows: list[Numbered], width: int) -> tuple[list[Numbered], list[int]]:
    """The rows without comments between them, and the lines of these. A text may begin with `#` and
    a blank too, but has a label that other rows have."""
    odd = [
        at for at, (_, row) in enumerate(rows) if COMMENTED.match(row[0]) and len(row) in (1, width)
    ]
    if not odd:
        return rows, []
    ordinary = [row for _, row in rows if len(row) == width and not row[0].startswith("#")]
    seen = {(column, row[column].strip()) for row in ordinary for column in range(1, width)}
    lost = {
        at
        for at in odd
        if not any((column, cell.strip()) in seen for column, cell in enumerate(rows[at][1]))
    }
    if not ordinary:
        return rows, []
    kept = [one for at, one in enumerate(rows) if at not in lost]
    return kept, [rows[at][0] for at in sorted(lost)]


def check_narrow(above: Sequence[Numbered], name: str, width: int) -> None:
    """Raises: BadConfig where a line above rows without a header is one of fewer fields."""
    for number, row in above:
        if names_columns(row):
            raise BadConfig(
                f"{name}, line {number}: the header has {len(row)} fields, and most rows have "
                f"{width}; quote texts that contain the delimiter, or name each column"
            )


def below_header(
    rows: list[Numbered], described: int
) -> tuple[list[Numbered], list[tuple[int, str]]]:
    """The rows below a header, and what stands between, with the causes that leave it out."""
    if rows and is_rule(rows[0][1]):
        return rows[1:], [(rows[0][0], RULE)]
    return rows[described:], [(number, DESCRIBES) for number, _ in rows[:described]]


def is_rule(row: Sequence[str]) -> bool:
    """Whether it is the line below the header of a table in Markdown."""
    return all(set(cell.strip()) <= {"-", ":"} for cell in row)


def repeats(row: Sequence[str], top: Sequence[str]) -> bool:
    """Whether a row is the header once more, where files were put together."""
    return row[-1] == top[-1] and same_cells(row, top)


def same_cells(row: Sequence[str], top: Sequence[str]) -> bool:
    return [cell.strip("\ufeff ") for cell in row] == [cell.strip() for cell in top]


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
    """The delimiter that gives most rows the same number of fields, the first one too: a comma may
    stand in each number and in no header."""
    sample = sample_of(text)
    found: list[tuple[tuple[float, bool, int], Dialect]] = []
    # R divides by blanks, and encloses what stands between them.
    marks = [*DELIMITERS, *([" "] if text.startswith('"') else [])]
    for place, mark in enumerate(marks):
        for dialect in (Dialect(mark), Dialect(mark, quoted=False)):
            width, share = usual(dialect.widths(sample))
            if width > 1 and share >= LEAST_SHARE:
                top = len(next(dialect.rows(sample))[1]) == width
                found.append(((round(share, 2), top, -place), dialect))
                break
    if not found:
        raise BadConfig(
            f"{name}: only one column is found in it; expected two or more, divided by "
            f"{', '.join(DELIMITERS.values())}"
        )
    chosen = max(found, key=lambda one: one[0])[1]
    return rarest(chosen, [dialect for _, dialect in found], sample)


def sample_of(text: str) -> str:
    """Whole lines from its beginning."""
    return text[:SAMPLE].rpartition("\n")[0] if len(text) > SAMPLE else text


def rarest(chosen: Dialect, others: Iterable[Dialect], sample: str) -> Dialect:
    """Of dialects that divide as well as the chosen one, and into as many fields, the one whose
    delimiter is rarest in texts."""
    best = usual(chosen.widths(sample))
    alike = [
        one
        for one in others
        if one.delimiter in RARE_IN_TEXTS and usual(one.widths(sample)) == best
    ]
    return min(alike, key=lambda one: RARE_IN_TEXTS.index(one.delimiter), default=chosen)


def usual(widths: Mapping[int, int]) -> tuple[int, float]:
    """The most frequent number of fields, and the share of rows that have it."""
    if not widths:
        return 0, 0.0
    width = max(widths, key=lambda one: widths[one])
    return width, widths[width] / sum(widths.values())


def right_quotes(dialect: Dialect, text: str) -> tuple[Dialect, list[Numbered]]:
    """Quotation marks are what encloses fields, or plain characters where only that gives every
    line the same number of fields, or doubled by backslashes."""
    if dialect.delimiter != " " and f'{dialect.delimiter} "' in text:
        dialect = right_blanks(dialect, sample_of(text))
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


def right_blanks(dialect: Dialect, sample: str) -> Dialect:
    """Quotation marks behind a blank enclose fields where the rows agree at least as well then."""
    spaced = replace(dialect, spaced=True)
    widths, candidate = dialect.widths(sample), spaced.widths(sample)
    share, with_blanks = usual(widths)[1], usual(candidate)[1]
    same = with_blanks == share and candidate.total() == widths.total()
    return spaced if same or with_blanks > share else dialect


def without_unclosed(
    rows: list[Numbered], dialect: Dialect, name: str, width: int
) -> tuple[list[Numbered], list[int]]:
    """The rows without those in which a stray quotation mark swallows others, and the lines that
    these stand on. The lines of a letter may have as many commas as a row; those that were
    swallowed also say what other rows say, such as their labels.

    Raises:
        BadConfig: it swallows many lines.
    """
    below = [*(number for number, _ in rows[1:]), sys.maxsize]
    inside = [
        swallowed(row, dialect, width) if next_number > number + 1 else []
        for (number, row), next_number in zip(rows, below, strict=True)
    ]
    if not any(inside):
        return rows, []
    ordinary = (row for (_, row), found in zip(rows, inside, strict=True) if not found)
    seen = values_seen(inside, (row for row in ordinary if len(row) == width))
    kept: list[Numbered] = []
    lost: list[int] = []
    for (number, row), found in zip(rows, inside, strict=True):
        said = any((at, cell) in seen for line in found for at, cell in enumerate(line))
        if not found or not (said or len(row) != width):
            kept.append((number, row))
            continue
        height = sum(len(LINE_END.findall(cell)) for cell in row)
        if height >= MOST_SWALLOWED:
            raise BadConfig(
                f"{name}, line {number}: a quotation mark is opened there and the next {height} "
                "lines lie inside it; close it, or double it if it belongs to the text"
            )
        lost += range(number, number + height + 1)
    return kept, lost


def values_seen(
    inside: Iterable[Sequence[Sequence[str]]], ordinary: Iterable[Sequence[str]]
) -> set[tuple[int, str]]:
    """Cells of swallowed lines, by column, that ordinary rows have too."""
    cells = {
        (at, cell) for found in inside for line in found for at, cell in enumerate(line) if cell
    }
    columns = {at for at, _ in cells}
    return cells & {(at, row[at]) for row in ordinary for at in columns}


def swallowed(row: list[str], dialect: Dialect, width: int) -> list[list[str]]:
    """The lines inside a cell as rows, where they have as many fields as a row. Cells that tell
    nothing are empty: those of the column in which the text would stand, and those before it on the
    first line, which are cells anyway."""
    at = next((at for at, cell in enumerate(row) if "\n" in cell or "\r" in cell), None)
    if at is None or at >= width:
        return []
    first, *inner = LINE_END.split(row[at])[:-1]
    cells = [line.split(dialect.delimiter) for line in inner if line.strip()]
    alike = [line for line in cells if len(line) == width]
    if len(alike) < ALIKE * len(cells):
        return []
    after = first.split(dialect.delimiter)[1:]
    opened = [[*[""] * (at + 1), *after]] if at + 1 + len(after) == width else []
    return opened + [[*line[:at], "", *line[at + 1 :]] for line in alike]


def header(rows: Sequence[list[str]]) -> list[str] | None:
    """The names of the columns; None where the first row is data: where one of its values recurs in
    its column, unless others of them are names of columns. A text may say `text`."""
    names = [cell.strip() for cell in rows[0]]
    if names_columns(names):
        names[0] = names[0].lstrip("# ") or names[0]
    known = {at for at, name in enumerate(names) if is_known(name)}
    looked_at = [[cell.strip() for cell in row] for row in rows[1:LOOKED_AT]]
    if known:  # files may have been put together, each with its header
        looked_at = [row for row in looked_at if not same_cells(row, rows[0])]
    recurring = {
        at for at, name in enumerate(names) if name and any(row[at] == name for row in looked_at)
    }
    if known and (not recurring or (len(known) > 1 and known - recurring)):
        return distinct(names)
    like_names = all(len(name) <= HEADER_CHARACTERS for name in names) and not any(
        name.replace(".", "").replace("-", "").isdigit() for name in names
    )
    return distinct(names) if like_names and not recurring else None


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
