"""The rows of one table, once it is known which column is what: each is taken as it stands, or left
out for a cause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from driftgate.errors import BadConfig, shown
from driftgate.labelled import dates, exports, labels, roles
from driftgate.labelled.findings import Findings
from driftgate.labelled.roles import Roles, as_text
from driftgate.labelled.rows import MAX_TEXT, Asked, Row
from driftgate.labelled.slices import Slices
from driftgate.labelled.table import Places, Table

MAX_LABEL = 200
NO_LABEL = {"", "-1"}  # as files without labels have it in each row

EMPTY_TEXT, EMPTY_LABEL = "the text is empty", "the label is empty"
TOO_LONG = f"the text has more than {MAX_TEXT:,} characters: cut or divide it"
SEVERAL = "it has several labels: a model of this kind answers with one"
LONG_LABEL = f"the label has more than {MAX_LABEL} characters"
NOT_UNICODE = "its bytes are no text in the file's encoding"
NO_DATE = "its date cannot be read"
OBJECT_LABEL = "the label is an object: name the column of its name by --label"
TOTALS = "it is a row of totals"
TOTAL_WORDS = {
    *("total", "totals", "grand total", "sum", "gesamt", "summe", "gesamtsumme", "somme"),
    *("total général", "suma", "razem", "toplam", "totale", "totaal", "итого", "всего"),
    *("合计", "总计", "合計", "総計", "합계"),
}
AMOUNT = re.compile(r"[\d\s.,']*\d[\d\s.,']*")
UNLABELLED = "no row of its file has a label"
SURROGATE = re.compile("[\ud800-\udfff]")


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

    def only(self, kept: Sequence[int]) -> Labelled:
        """The rows at these places, with the same findings."""
        return Labelled(
            [self.texts[p] for p in kept],
            [self.labels[p] for p in kept],
            [self.times[p] for p in kept],
            [self.subjects[p] for p in kept],
            [self.ids[p] for p in kept],
            {name: [values[p] for p in kept] for name, values in self.slices.items()},
            self.places.only(kept),
            self.findings,
        )

    @property
    def dated(self) -> bool:
        return bool(self.times) and all(time is not None for time in self.times)

    @property
    def label_counts(self) -> Counter[str]:
        return Counter(self.labels)


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
    totals = {len(table) - 1} if given and is_total(texts[-1], given) else set()
    kept: list[int] = []
    for place in range(len(table)):
        why = TOTALS if place in totals else None
        why = why or refused(texts[place], given[place], void[place])
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
    names = [as_text(one) for one in given]
    every = Labelled(texts, names, list(times), subjects, ids, slices, table.places, findings)
    return every.only(kept)


def unlabelled(table: Table) -> Labelled:
    """No rows, and why."""
    findings = findings_of(table)
    for place in range(len(table)):
        findings.leave_out(UNLABELLED, table.where(place))
    return Labelled([], [], [], [], [], {}, table.places.only([]), findings)


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


def refused(text: str, label: Any, void: bool) -> str | None:
    """Why a row is not learned from, None where it is."""
    name = "" if isinstance(label, list) else as_text(label)
    causes = (
        (exports.REJECTED, void),
        (SEVERAL, isinstance(label, list)),
        (OBJECT_LABEL, isinstance(label, Mapping)),
        (EMPTY_TEXT, not text),
        (EMPTY_LABEL, not labels.blanks(name)),
        (TOO_LONG, len(text) > MAX_TEXT),
        (LONG_LABEL, len(name) > MAX_LABEL),
        (NOT_UNICODE, SURROGATE.search(text) or SURROGATE.search(name)),
    )
    return next((cause for cause, holds in causes if holds), None)


def is_total(text: str, given: Sequence[Any]) -> bool:
    """Whether a file's last row counts the others: it has a word for that beside a number, and no
    other row has its label."""
    cells = [one.strip().rstrip(":").casefold() for one in (text, as_text(given[-1]))]
    counts = any(
        word in TOTAL_WORDS and AMOUNT.fullmatch(amount) for word, amount in (cells, cells[::-1])
    )
    return counts and given.count(given[-1]) == 1


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
    return dates.with_clock(days, table.columns[found.clock])


def days_of(table: Table, time: str, asked: Asked, findings: Findings) -> Sequence[int | None]:
    """The moments of the column of dates.

    Raises:
        BadConfig: too many of them are none; or see `dates.read`.
    """
    cells: Sequence[Any]
    if time in table.moments:
        cells, read_as = table.moments[time], dates.of_moments(table.moments[time])
    else:
        cells = table.columns[time]
        try:
            read_as = dates.read(cells, f"{table.source}, column {time!r}", asked.dates)
        except BadConfig as error:
            raise BadConfig(f"{error}, or read the file without dates by --time none") from None
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
