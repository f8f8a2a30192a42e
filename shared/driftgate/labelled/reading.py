"""The one way in for labelled text: a path and what the user says about it in, rows and what was
found out. Nothing is changed in silence: see `Findings`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from driftgate.errors import BadConfig, shown
from driftgate.labelled import dates, delimited, exports, files, labels, records, roles
from driftgate.labelled import slices as parting
from driftgate.labelled.encoding import Decoded, decode
from driftgate.labelled.files import Content
from driftgate.labelled.findings import Findings, by_size, merged, where
from driftgate.labelled.roles import Roles, as_text
from driftgate.labelled.rows import MAX_TEXT, Asked, Row
from driftgate.labelled.slices import Slices
from driftgate.labelled.table import Places, Table

MAX_LABEL = 200
FEW_ROWS = 20  # of which each may have a label of its own
SPLITS = {"train", "training", "test", "testing", "dev", "val", "valid", "validation", "eval"}
MOST_GUESSES = 5  # texts of which words are shown
NO_LABEL = {"", "-1"}  # as files without labels have it in each row

DELIMITED = {".csv", ".tsv", ".tab", ".psv", ".txt"}

EMPTY_TEXT, EMPTY_LABEL = "the text is empty", "the label is empty"
TOO_LONG = f"the text has more than {MAX_TEXT:,} characters: cut or divide it"
SEVERAL = "it has several labels: a model of this kind answers with one"
LONG_LABEL = f"the label has more than {MAX_LABEL} characters"
NOT_UNICODE = "its bytes are no text in the file's encoding"
REPEATED = "it repeats an earlier row"
NO_DATE = "its date cannot be read"
NESTED = "is nested too deeply; expected rows of cells"
NO_FOLDER = "it stands above the folders that are labels"
UNLABELLED = "no row of its file has a label"
Made = TypeVar("Made")
# Left out on purpose, or without a loss: not a sign of a file that was misread.
EXPECTED = {
    *(REPEATED, delimited.REPEATED_HEADER, delimited.RULE),
    *(exports.REJECTED, exports.NO_ANNOTATION, UNLABELLED),
}
# What helps against a cause, where it is not another column.
REMEDIES = {NOT_UNICODE: "mend these lines, say the file's encoding by --encoding"}
REMEDY = "mend the file, say by --text and --label which columns are meant"


@dataclass
class Labelled:
    """Rows by column, in the file's order; they may be a million.

    Attributes:
        times: ms, all None where there are no dates.
        slices: name → value of each row, empty where it has none.
        places: where each row stands, for messages.
    """

    texts: list[str]
    labels: list[str]
    times: list[int | None]
    subjects: list[str | None]
    ids: list[str | None]
    slices: dict[str, list[str]]
    places: Places
    findings: Findings = field(default_factory=lambda: Findings(""))

    def __len__(self) -> int:
        return len(self.texts)

    def row(self, place: int) -> Row:
        own = {name: v for name, values in self.slices.items() if (v := values[place])}
        return Row(
            self.texts[place],
            self.labels[place],
            self.times[place],
            self.subjects[place],
            own,
            self.ids[place],
        )

    def rows(self, places: Sequence[int] | None = None) -> list[Row]:
        return [self.row(place) for place in (range(len(self)) if places is None else places)]

    @property
    def dated(self) -> bool:
        return bool(self.times) and all(time is not None for time in self.times)

    @property
    def label_counts(self) -> Counter[str]:
        return Counter(self.labels)


def read(path: Path, asked: Asked | None = None) -> Labelled:
    """The labelled rows of a file, an archive or a folder.

    Raises:
        BadConfig: it cannot be read, or not be understood; names row, cause and what to do.
    """
    asked = asked or Asked()
    found, others = files.contents(path)
    in_folders = text_folders(found, asked)
    try:
        parts, unfit = each_part(found, asked, in_folders)
    except RecursionError:  # of a cell that no single file's reading looks at
        raise BadConfig(f"{path.name}: {NESTED}") from None
    if not parts:
        raise BadConfig(unfit[0])
    result = with_one_spelling(joined(parts, path.name))
    result.findings.notes += [f"not read: {why}" for why in unfit]
    if others:
        result.findings.notes.append(f"not read: {len(others)} other files, such as {others[0]}")
    check(result, asked)
    return result


def tried(source: str, make: Callable[[], Made], unfit: list[str]) -> list[Made]:
    """What is made of one file of several; one that cannot be read stops nothing, and is told."""
    try:
        return [make()]
    except BadConfig as error:
        unfit.append(str(error))
    except RecursionError:
        unfit.append(f"{source}: {NESTED}")
    return []


def each_part(
    found: Sequence[Content], asked: Asked, in_folders: Table | None
) -> tuple[list[Labelled], list[str]]:
    """The rows of each file, and why others have none. What is a slice, all files tell."""
    unfit: list[str] = []
    tables = [in_folders] if in_folders else []
    for one in found if in_folders is None else ():
        tables += tried(one.name, partial(table_of, one, asked), unfit)
    understood, without = with_roles(tables, asked, unfit)
    chosen = parting.choose(understood, asked)
    parts = [unlabelled(table) for table in without]
    for table, known in understood:
        parts += tried(table.source, partial(labelled, table, known, chosen, asked), unfit)
    return parts, unfit


def with_roles(
    tables: Sequence[Table], asked: Asked, unfit: list[str]
) -> tuple[list[tuple[Table, Roles]], list[Table]]:
    """Tables with the roles of their columns, and those without labels, as a test set may be: the
    column that is the label in another table says nothing in theirs."""
    found: list[tuple[Table, list[Roles], list[str]]] = []
    for table in tables:
        why: list[str] = []
        found.append((table, tried(table.source, partial(roles_of, table, asked), why), why))
    used = {known.label for _, roles_found, _ in found for known in roles_found}
    understood, without = [], []
    for table, roles_found, why in found:
        if len(tables) > 1 and says_no_label(table, used):
            without.append(table)
        else:
            understood += [(table, known) for known in roles_found]
            unfit += why
    return understood, without


def table_of(content: Content, asked: Asked) -> Table:
    """A file's table, by its first bytes.

    Raises:
        BadConfig: see `read`.
    """
    data, name = content.data, content.name
    if content.fault:
        raise BadConfig(content.fault)
    if not data.strip():
        raise BadConfig(f"{name}: the file is empty; expected rows with a text and a label")
    if data.startswith(b"PAR1") and files.is_binary(data):
        return records.parquet(data, name)
    if data.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return records.arrow(data, name)
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return records.spreadsheet(data, name)
    decoded = decode(data, name, asked.encoding)
    table = text_reader(decoded.text, content.suffix)(decoded.text, name)
    if decoded.guess:
        said = f"read as {decoded.guess}, by its letters; --encoding says otherwise"
        table.notes.insert(0, said)
        table.screen = in_words([decoded])
    return table


def in_words(guessed: Sequence[Decoded]) -> list[str]:
    """Words of the texts that show whether an encoding was guessed well."""
    words = " ".join(one.words for one in guessed[:MOST_GUESSES] if one.words)
    return [f"words of it in that encoding: {words}"] if words else []


def text_reader(text: str, suffix: str) -> Callable[[str, str], Table]:
    """What reads a text, by how it begins."""
    begin = text[:10_000].lstrip("\ufeff \t\r\n")
    if begin.startswith(records.FASTTEXT):
        return records.fasttext
    if begin.startswith(("{", "[")) and (suffix not in DELIMITED or records.is_json(begin)):
        return records.json_text
    return delimited.read


def text_folders(found: Sequence[Content], asked: Asked) -> Table | None:
    """Texts that are sorted into folders named after their labels; None where it is otherwise: one
    file in each folder, or folders for training and testing, hold tables."""
    if any(one.suffix != ".txt" or one.fault for one in found):
        return None
    above = {folder for one in found for folder in Path(one.name).parent.parents}
    loose = [at for at, one in enumerate(found, 1) if Path(one.name).parent in above]
    numbers = [at for at in range(1, len(found) + 1) if at not in set(loose)]
    found = [found[at - 1] for at in numbers]
    folders = {content.parent for content in found}
    if len(folders) < 2 or len(found) <= len(folders) or SPLITS & {one.lower() for one in folders}:
        return None
    decoded = [decode(content.data, content.name, asked.encoding) for content in found]
    columns: dict[str, list[Any]] = {
        "text": [one.text for one in decoded],
        "label": [content.parent for content in found],
        "file": [content.name for content in found],
    }
    notes = ["labels are the names of folders"]
    guessed = [one for one in decoded if one.guess]
    if guessed:
        encodings = ", ".join(sorted({one.guess for one in guessed}))
        notes.append(
            f"{len(guessed):,} texts are not UTF-8 and read as {encodings}, by their letters; "
            "--encoding says otherwise"
        )
    left_out = [(at, NO_FOLDER) for at in loose]
    screen = in_words(guessed)
    return Table(
        "the folder", "file", columns, numbers, left_out=left_out, notes=notes, screen=screen
    )


def findings_of(table: Table) -> Findings:
    """What is known of a table before its columns are."""
    findings = Findings(table.source, len(table) + len(table.left_out), notes=list(table.notes))
    findings.screen = list(table.screen)
    for number, cause in table.left_out:
        findings.leave_out(cause, f"{table.source}, {table.unit} {number}")
    return findings


def roles_of(table: Table, asked: Asked) -> Roles:
    """Raises: BadConfig where the header is no text, or see `roles.find`."""
    if SURROGATE.search("".join(table.names)):
        raise BadConfig(f"{table.source}: names of columns: {NOT_UNICODE}; say it by --encoding")
    return roles.find(table, asked)


def says_no_label(table: Table, used: Set[str]) -> bool:
    """Whether the column of labels is empty or -1 in each row."""
    return any(
        all(as_text(exports.one_label(cell)) in NO_LABEL for cell in table.columns[name])
        for name in used & table.columns.keys()
    )


def unlabelled(table: Table) -> Labelled:
    """No rows, and why."""
    findings = findings_of(table)
    for place in range(len(table)):
        findings.leave_out(UNLABELLED, table.where(place))
    return Labelled([], [], [], [], [], {}, table.places.only([]), findings)


def labelled(table: Table, found: Roles, chosen: Slices, asked: Asked) -> Labelled:
    """The rows of one table.

    Raises:
        BadConfig: see `days_of`.
    """
    findings = findings_of(table)
    findings.columns = dict(found.why)
    findings.notes += found.notes
    texts = text_of(table, found)
    given = [exports.one_label(cell) for cell in table.columns[found.label]]
    void = exports.void(found.void, table.columns)
    subjects, ids = column(table, found.subject), column(table, found.id)
    if len(set(ids)) < len(ids):
        ids = [None] * len(table)
    slices = chosen.of(table, found)
    chosen.tell(found, findings)
    spoilt = not_unicode([subjects, ids, *slices.values()])
    kept: list[int] = []
    for place in range(len(table)):
        why = refused(texts[place], given[place], void[place])
        why = why or (NOT_UNICODE if place in spoilt else None)
        if why:
            findings.leave_out(why, table.where(place))
        else:
            kept.append(place)
    times = times_of(table, found, asked, findings)
    if found.time:
        undated = [place for place in kept if times[place] is None]
        for place in undated:
            findings.leave_out(NO_DATE, table.where(place))
        kept = [place for place in kept if times[place] is not None]
    findings.kept = len(kept)
    return Labelled(
        [texts[p] for p in kept],
        [as_text(given[p]) for p in kept],
        [times[p] for p in kept],
        [subjects[p] for p in kept],
        [ids[p] for p in kept],
        {name: [values[p] for p in kept] for name, values in slices.items()},
        table.places.only(kept),
        findings,
    )


def refused(text: str, label: Any, void: bool) -> str | None:
    """Why a row is not learned from, None where it is."""
    name = "" if isinstance(label, list) else as_text(label)
    causes = (
        (exports.REJECTED, void),
        (SEVERAL, isinstance(label, list)),
        (EMPTY_TEXT, not text),
        (EMPTY_LABEL, not labels.blanks(name)),
        (TOO_LONG, len(text) > MAX_TEXT),
        (LONG_LABEL, len(name) > MAX_LABEL),
        (NOT_UNICODE, SURROGATE.search(text) or SURROGATE.search(name)),
    )
    return next((cause for cause, holds in causes if holds), None)


SURROGATE = re.compile("[\ud800-\udfff]")


def not_unicode(columns: Iterable[Sequence[str | None]]) -> set[int]:
    """Rows that hold what is no text beside their text and label."""
    found: set[int] = set()
    for values in columns:
        bad = {value for value in set(values) if value and SURROGATE.search(value)}
        found |= {place for place, value in enumerate(values) if value in bad} if bad else set()
    return found


def text_of(table: Table, found: Roles) -> list[str]:
    """The text of each row; a title and a body stand apart by an empty line."""
    parts = [[as_text(cell) for cell in table.columns[name]] for name in found.text]
    if len(parts) == 1:
        return parts[0]
    return ["\n\n".join(filter(None, row)) for row in zip(*parts, strict=True)]


def times_of(table: Table, found: Roles, asked: Asked, findings: Findings) -> Sequence[int | None]:
    """The moment of each row."""
    if found.time is None:
        return [None] * len(table)
    days = days_of(table, found.time, asked, findings)
    if found.clock is None:
        return days
    clocks = dates.times_of_day(table.columns[found.clock])
    return [
        None if day is None or clock is None else day + clock
        for day, clock in zip(days, clocks, strict=True)
    ]


def days_of(table: Table, time: str, asked: Asked, findings: Findings) -> Sequence[int | None]:
    """The moments of the column of dates.

    Raises:
        BadConfig: too many of them are none.
    """
    cells: Sequence[Any]
    if time in table.moments:
        cells, read_as = table.moments[time], dates.of_moments(table.moments[time])
    else:
        cells = table.columns[time]
        read_as = dates.read(cells, f"{table.source}, column {time!r}", asked.dates)
        findings.columns[time] += f"; {read_as.how}"
    if read_as.share < 1 - asked.left_out:
        at = next(place for place, moment in enumerate(read_as.times) if moment is None)
        bad = sum(moment is None for moment in read_as.times)
        raise BadConfig(
            f"{table.where(at)}: column {time!r} is {shown(cells[at])}, and {bad:,} of "
            f"{len(cells):,} values are no dates between 1970 and 2100; say the format by --dates "
            "'%d.%m.%Y', choose another column by --time, or read the file without dates by "
            "--time none"
        )
    return read_as.times


def column(table: Table, name: str | None) -> list[str | None]:
    if name is None:
        return [None] * len(table)
    return [as_text(cell) or None for cell in table.columns[name]]


def joined(parts: Sequence[Labelled], source: str) -> Labelled:
    """Several files as one."""
    if len(parts) == 1:
        return parts[0]
    every = dict.fromkeys(name for part in parts for name in part.slices)
    dated = all(part.dated for part in parts if len(part))
    if not dated and any(part.dated for part in parts):
        parts[0].findings.notes.append("dates are not used: not every file has them")
    return Labelled(
        [text for part in parts for text in part.texts],
        [label for part in parts for label in part.labels],
        [time if dated else None for part in parts for time in part.times],
        [subject for part in parts for subject in part.subjects],
        [None for part in parts for _ in part.ids],
        {
            name: [v for part in parts for v in part.slices.get(name, [""] * len(part))]
            for name in every
        },
        Places(
            [file for part in parts for file in part.places.files],
            [number for part in parts for number in part.places.numbers],
        ),
        merged(source, [part.findings for part in parts]),
    )


def with_one_spelling(found: Labelled) -> Labelled:
    """Labels in one spelling each, and each row once."""
    counts = found.label_counts
    spelt = labels.spellings(counts)
    findings = found.findings
    findings.joined = dict(spelt.joined)
    findings.proposed = list(spelt.proposed)
    one = [spelt.label_of[label] for label in found.labels]
    seen: set[tuple[str, str, int | None, str | None]] = set()
    kept = []
    for place, row in enumerate(zip(found.texts, one, found.times, found.subjects, strict=True)):
        if row in seen:
            findings.leave_out(REPEATED, found.places[place])
        else:
            seen.add(row)
            kept.append(place)
    findings.kept = len(kept)
    if len(kept) == len(one):
        found.labels = one
        return found
    return Labelled(
        [found.texts[p] for p in kept],
        [one[p] for p in kept],
        [found.times[p] for p in kept],
        [found.subjects[p] for p in kept],
        [found.ids[p] for p in kept],
        {name: [values[p] for p in kept] for name, values in found.slices.items()},
        found.places.only(kept),
        findings,
    )


def check(found: Labelled, asked: Asked) -> None:
    """Raises: BadConfig where too much was left out, or what is left cannot be learned from."""
    findings = found.findings
    lost = {cause: one for cause, one in findings.left_out.items() if cause not in EXPECTED}
    rows = sum(one.rows for one in lost.values())
    if lost and rows > asked.left_out * findings.rows:
        cause, most = next(iter(by_size(lost)))
        raise BadConfig(
            f"{findings.source}: {rows:,} of {findings.rows:,} rows cannot be used, mostly since "
            f"{cause} ({where(most)}); {REMEDIES.get(cause, REMEDY)}, or allow it by --left-out "
            f"{min(1.0, rows / findings.rows + 0.01):.2f}"
        )
    counts = found.label_counts
    if len(counts) < 2:
        only = next(iter(counts), None)
        raise BadConfig(
            f"{findings.source}: "
            + (
                f"all {len(found):,} rows have the label {only!r}; expected two labels or more: "
                "choose the column by --label"
                if counts
                else "no row is left; expected rows with a text and a label"
            )
        )
    if len(counts) > labels.MOST_LABEL_SHARE * len(found) and len(found) > FEW_ROWS:
        raise BadConfig(
            f"{findings.source}: {len(counts):,} labels in {len(found):,} rows, so most occur "
            "once; choose the column by --label"
        )


def summary(counts: Mapping[str, int], most: int = 12) -> str:
    """Labels with their rows, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    more = f" and {len(ranked) - most} more" if len(ranked) > most else ""
    return ", ".join(f"{label} {count:,}" for label, count in ranked[:most]) + more
