"""Which column is what: by what the user says, else by its name, else by what stands in it. Each
choice has a reason that is shown before anything is written. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from driftgate.errors import BadConfig, nearest
from driftgate.labelled import dates, names
from driftgate.labelled.exports import has_annotator, holds, kind, one_label
from driftgate.labelled.labels import MOST_LABEL_SHARE, folded
from driftgate.labelled.rows import Asked
from driftgate.labelled.table import Table

LOOKED_AT = 5_000  # rows that tell what a column holds
LONG_LABEL = 80  # characters; longer ones are texts
WORDS, TITLE_WORDS = 2.0, 2.5
MOST_RECURRING = 12  # values; a title says more different things
LONGEST_DATE = 40
# Who wrote is one of many, or of a good part of a small file; two agents are a part of the traffic.
FEW_PERSONS, PERSONS_SHARE = 12, 0.25
SHOWN = 12
FIGURES_SHARE = 0.8  # of the cells, for a column to be figures or mailboxes
LONGEST_FIGURE = 40
SEVERAL_NUMBERS = re.compile(r"\d+\D+\d")
DATE_LIKE = re.compile(r"\d+[./-]\d")
MAILBOX = re.compile(r"[^<>]*<[^<>@\s]+@[^<>@\s]+>")
IGNORED = "ignored: "
DATED_TWICE = "ignored: one of several dates; --time chooses one"
NO_TIME = "none"
AN_OBJECT = "{}"  # for any: their keys are no words


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of columns. why: what each is and how that was found; clock: the time of day of dates
    without one; void: columns that say that an annotation does not hold; notes: what else is to be
    told."""

    text: tuple[str, ...]
    label: str
    time: str | None = None
    clock: str | None = None
    subject: str | None = None
    id: str | None = None
    void: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """What a column holds, by its first rows. filled: share of cells with something in them."""

    name: str
    filled: float
    distinct: int
    values: int
    length: float
    words: float
    numeric: bool
    cells: tuple[str, ...]

    @property
    def is_prose(self) -> bool:
        """Whether most cells say something different, in words or in a script without blanks."""
        return self.distinct > MOST_LABEL_SHARE * self.values and self.in_words(WORDS)

    @property
    def is_title(self) -> bool:
        """Whether cells are lines of words. They may recur, if they are more than a person's name
        and of more kinds than a slice's values."""
        recurring = self.distinct > MOST_RECURRING and self.in_words(TITLE_WORDS)
        return self.is_prose or recurring

    def in_words(self, least: float) -> bool:
        wide = any(ord(c) > 0x2E80 for cell in self.cells[:50] for c in cell)
        return not (self.numeric or self.is_mailboxes) and (
            self.words >= least or (wide and self.length >= 6)
        )

    @property
    def is_mailboxes(self) -> bool:
        """Whether cells are such as `Ann Lee <ann@example.com>`."""
        return self.mostly(lambda cell: MAILBOX.fullmatch(cell) is not None)

    @property
    def is_figures(self) -> bool:
        """Whether cells are short and begin with a digit, as dates of an unknown format do."""
        return self.mostly(lambda cell: cell[0].isdigit() and len(cell) <= LONGEST_FIGURE)

    def is_like(self, figure: re.Pattern[str]) -> bool:
        """Whether cells are figures that begin so."""
        return self.is_figures and self.mostly(lambda cell: figure.match(cell) is not None)

    def mostly(self, holds: Callable[[str], bool]) -> bool:
        looked = self.cells[:200]
        return bool(looked) and sum(map(holds, looked)) >= FIGURES_SHARE * len(looked)

    @property
    def is_persons(self) -> bool:
        """Whether it may name persons: several, and not one of few kinds in a long file."""
        few = self.distinct <= FEW_PERSONS and self.distinct < PERSONS_SHARE * self.values
        short = self.words < WORDS + 1 or self.is_mailboxes
        return self.distinct > 1 and short and not few

    @property
    def is_classes(self) -> bool:
        """Whether few values recur."""
        few = 2 <= self.distinct <= MOST_LABEL_SHARE * max(4, self.values)
        return few and self.length <= LONG_LABEL and self.filled >= 0.5


def find(table: Table, asked: Asked) -> Roles:
    """The roles of a table's columns.

    Raises:
        BadConfig: a column that was asked for is not there, or text or label cannot be told; lists
            the columns and the options that say it.
    """
    profiles = {name: profile(name, table.columns[name]) for name in table.columns}
    check_asked(table, asked)
    why: dict[str, str] = {}
    label = label_column(table, profiles, asked, why)
    text = text_columns(table, profiles, asked, label, why)
    taken = {label, *text}
    time = time_column(table, profiles, asked, taken, why)
    taken |= {time} if time else set()
    clock = clock_column(profiles, time, taken, why)
    taken |= {clock} if clock else set()
    notes: list[str] = []
    subject = subject_column(profiles, asked, taken, why, notes)
    taken |= {subject} if subject else set()
    own_id = id_column(profiles, asked, taken, why)
    void = void_columns(table, {n for n in profiles if n not in taken}, why)
    other = {n for n in profiles if n not in taken and why.get(n, "").startswith(IGNORED)}
    left = [n for n in table.names if n not in {*taken, own_id, *void, *(other - wanted(asked))}]
    return Roles(text, label, time, clock, subject, own_id, void, tuple(left), why, tuple(notes))


def wanted(asked: Asked) -> set[str]:
    """Columns that are slices since the user says so."""
    return set(asked.slices or ())


def void_columns(table: Table, free: Set[str], why: dict[str, str]) -> tuple[str, ...]:
    """Columns that say which annotations hold."""
    found = []
    for name in table.columns:
        if name in free and kind(name):
            annotated = has_annotator(name, table.columns)
            good, reason = holds(name, table.columns[name], annotated)
            found += [name] if good else []
            why |= {name: reason} if reason else {}
    return tuple(found)


def profile(name: str, cells: Sequence[Any]) -> Profile:
    """What a column holds."""
    step = max(1, len(cells) // LOOKED_AT)
    given = [one_label(cell) for cell in cells[::step]]
    texts = [AN_OBJECT if isinstance(one, Mapping) else as_text(one) for one in given]
    filled = [text for text in texts if text]
    size = max(1, len(filled))
    return Profile(
        name=name,
        filled=len(filled) / max(1, len(texts)),
        distinct=len(set(filled)),
        values=len(filled),
        length=sum(map(len, filled)) / size,
        words=sum(len(text.split()) for text in filled) / size,
        numeric=bool(filled) and all(is_number(text) for text in filled),
        cells=tuple(filled),
    )


def as_text(cell: Any) -> str:
    """A cell as it would be written."""
    if isinstance(cell, str):
        return cell.strip()
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, (list, tuple)):  # tokens
        return " ".join(as_text(part) for part in cell)
    return str(cell).strip()


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in {"nan", "inf", "infinity", "-inf"}


def check_asked(table: Table, asked: Asked) -> None:
    """Raises: BadConfig where a column is asked for that is not there, or no order of dates."""
    if asked.dates:
        dates.check_order(asked.dates)
    said: list[tuple[str, str | None]] = [
        *(("--text", name) for name in asked.text),
        ("--label", asked.label),
        ("--subject", asked.subject),
        ("--time", None if asked.time == NO_TIME else asked.time),
        *(("--slice", name) for name in asked.slices or ()),
    ]
    for option, name in said:
        if name is not None and name not in table.names:
            raise BadConfig(
                f"{option} {name}: {table.source} has no such column; {nearest(name, table.names)}"
            )


def by_name(profiles: Mapping[str, Profile], known: tuple[str, ...]) -> list[str]:
    """Columns that are called so, the preferred name first."""
    ranked = {name: names.rank(name, known) for name in profiles}
    called = [(place, name) for name, place in ranked.items() if place is not None]
    return [name for _, name in sorted(called, key=lambda one: one[0])]


def label_column(
    table: Table, profiles: Mapping[str, Profile], asked: Asked, why: dict[str, str]
) -> str:
    """The label; words are preferred to the numbers that stand for them."""
    if asked.label:
        why[asked.label] = "label, as --label says"
        return asked.label
    free = {n: p for n, p in profiles.items() if n not in {*asked.text, asked.time, asked.subject}}
    called = [n for n in by_name(free, names.LABEL) if free[n].filled]
    usable = [n for n in called if not free[n].is_prose or not others_prose(free, n)]
    for name in usable:
        words = in_words(table, free, name)
        if words:
            why[words] = f"label, in words what {name!r} says in numbers"
            why[name] = f"ignored: numbers for {words!r}"
            return words
    if usable:
        before = f", before {' and '.join(map(repr, usable[1:SHOWN]))}" if usable[1:] else ""
        why[usable[0]] = f"label, by its name{before}"
        return usable[0]
    classes = [
        n
        for n, p in free.items()
        if p.is_classes
        and names.rank(n, names.NOT_SLICES) is None
        and names.rank(n, (*names.TEXT, *names.TITLE, *names.TIME, *names.SUBJECT)) is None
    ]
    if len(classes) == 1:
        why[classes[0]] = f"label: the only column with few values ({free[classes[0]].distinct})"
        return classes[0]
    raise BadConfig(f"{table.source}: {cannot_tell('label', classes)}; {listing(profiles)}")


def others_prose(profiles: Mapping[str, Profile], name: str) -> bool:
    """Whether a column called like a label is rather the text: no other one can be it."""
    return not any(p.is_prose for n, p in profiles.items() if n != name)


def in_words(table: Table, profiles: Mapping[str, Profile], name: str) -> str | None:
    """The column whose words, however they are spelt, stand one to one for the numbers of a
    label."""
    if not profiles[name].numeric:
        return None
    numbers = [as_text(cell) for cell in table.columns[name]]
    for other, found in profiles.items():
        if other == name or found.numeric:
            continue
        named = names.rank(other, names.LABEL) is not None
        if found.is_prose or not (named or found.distinct < found.values):
            continue
        if len(set(folded(found.cells))) != profiles[name].distinct:
            continue
        words = folded([as_text(cell) for cell in table.columns[other]])
        pairs = set(zip(numbers, words, strict=True))
        if len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}):
            return other
    return None


def text_columns(
    table: Table,
    profiles: Mapping[str, Profile],
    asked: Asked,
    label: str,
    why: dict[str, str],
) -> tuple[str, ...]:
    """The text, after its title where there is one."""
    if asked.text:
        why.update(dict.fromkeys(asked.text, "text, as --text says"))
        return asked.text
    free = {n: p for n, p in profiles.items() if n != label and n not in why}
    free = {n: p for n, p in free.items() if n not in {asked.time, asked.subject}}
    free = {n: p for n, p in free.items() if not is_dates(p, asked)}
    words = {n: p for n, p in free.items() if not is_no_text(n, p)}
    free = words if any(p.is_prose for p in words.values()) else free
    titles = [n for n in by_name(free, names.TITLE) if free[n].is_title]
    bodies = [n for n in by_name(free, names.TEXT) if n not in titles and free[n].filled]
    prose = [n for n in bodies if free[n].is_prose] or bodies
    parts = [*titles[:2], *prose[:1]]
    if parts and not prose:
        parts += body_of(table, parts, free)
    if len(parts) > 1:
        told = " and ".join(map(repr, parts))
        why.update(
            dict.fromkeys(parts, f"text: {told}, joined by an empty line; --text says otherwise")
        )
        return tuple(parts)
    if parts:
        why[parts[0]] = "text, by its name"
        return tuple(parts)
    found = sorted((p for p in free.values() if p.is_prose), key=lambda p: -p.length)
    if found and (len(found) == 1 or found[0].length >= 2 * found[1].length):
        why[found[0].name] = f"text: {found[0].length:.0f} characters on average, nearly all differ"
        return (found[0].name,)
    raise BadConfig(
        f"{table.source}: {cannot_tell('text', [p.name for p in found])}; {listing(profiles)}"
    )


def is_no_text(name: str, found: Profile) -> bool:
    """Whether a column is figures rather than sentences. One that is called like a text may begin
    with numbers (`2 pizzas`), but not with dates."""
    called = names.rank(name, names.TEXT) is not None
    may_be_date = not called or bool(names.TEXT_OR_DATE & set(names.spellings(name)))
    return found.is_figures if may_be_date else found.is_like(DATE_LIKE)


def body_of(table: Table, titles: Sequence[str], free: Mapping[str, Profile]) -> list[str]:
    """The column of another name that goes on where titles end: prose that is longer than they.

    Raises:
        BadConfig: there are several.
    """
    longest = max(free[name].length for name in titles)
    longer = [n for n, p in free.items() if p.is_prose and p.length > longest and not is_known(n)]
    called = [n for n in longer if names.contains(n, names.TEXT)]
    called = called or [n for n in longer if not names.contains(n, names.PERSONS)]
    if len(called) > 1:
        raise BadConfig(
            f"{table.source}: {titles[0]!r} is a title, and its text may be "
            f"{' or '.join(map(repr, called[:SHOWN]))}; say --text COLUMN, twice to join two"
        )
    return called


def is_known(name: str) -> bool:
    """Whether a name says that a column is something other than a text."""
    others = (*names.LABEL, *names.TIME, *names.SUBJECT, *names.ID, *names.NOT_SLICES)
    return names.rank(name, (*names.TITLE, *others, *names.ANSWERS)) is not None


def time_column(
    table: Table,
    profiles: Mapping[str, Profile],
    asked: Asked,
    taken: set[str],
    why: dict[str, str],
) -> str | None:
    """The date; never a birthday, unless it is asked for."""
    if asked.time:
        name, reason = None if asked.time == NO_TIME else asked.time, "time, as --time says"
    else:
        free = [n for n in table.names if n not in taken and not other_date(n)]
        name, reason = found_time(table, {n: profiles.get(n) for n in free}, asked)
        why |= not_the_time({n: p for n, p in profiles.items() if n not in taken}, name, asked)
    why |= {n: no_time(n, name, asked) for n in table.moments if n != name}
    if name is not None:
        why[name] = reason
    return name


def other_date(name: str) -> str | None:
    """Why a date of that name is never the row's, unless it is asked for."""
    if names.is_birthday(name):
        return "ignored: a birthday, not the row's date; --time says otherwise"
    if names.is_deadline(name):
        return "ignored: when something ends, not the row's date; --time says otherwise"
    return None


def not_the_time(free: Mapping[str, Profile], time: str | None, asked: Asked) -> dict[str, str]:
    """Why columns of texts that are dates are not the date."""
    free = {n: p for n, p in free.items() if n != time and n not in wanted(asked)}
    dated = [n for n, p in free.items() if not n.startswith(names.OURS) and is_dates(p, asked)]
    otherwise = None if time else DATED_TWICE
    reasons = {n: other_date(n) or otherwise for n in dated}
    return {n: reason for n, reason in reasons.items() if reason}


def found_time(
    table: Table, free: Mapping[str, Profile | None], asked: Asked
) -> tuple[str | None, str]:
    """The date and how it was found: called so and full of dates, else the only one that is typed
    as one, else called so only, else the only column of texts that are dates. Columns that are
    typed have no profile."""
    text = {n: p for n, p in free.items() if p is not None}
    typed = [n for n, p in free.items() if p is None]
    empty = profile("", [])
    called = by_name({**dict.fromkeys(typed, empty), **text}, names.TIME)
    called = [n for n in called if n in typed or text[n].filled]
    called = [n for n in called if n in typed or may_be_time(n, text[n])]
    good = [n for n in called if n in typed or holds_dates(text[n], asked)]
    for name in good[:1] or (typed if len(typed) == 1 else called[:1]):
        return name, "time, by its type" if name in typed else "time, by its name"
    dated = [n for n, p in text.items() if is_dates(p, asked)]
    return (dated[0] if len(dated) == 1 else None), "time: the only column of dates"


def may_be_time(name: str, found: Profile) -> bool:
    """Whether a column that is called like a date is one; some names have another meaning too."""
    return not names.TEXT_OR_DATE & set(names.spellings(name)) or found.is_like(SEVERAL_NUMBERS)


def no_time(name: str, time: str | None, asked: Asked) -> str:
    """Why a column that is a date by its type is not the date."""
    if other := other_date(name):
        return other
    if time is None and asked.time is None:
        return "ignored: several columns are dates by type; --time chooses one"
    return "ignored: a second date"


def clock_column(
    profiles: Mapping[str, Profile], time: str | None, taken: set[str], why: dict[str, str]
) -> str | None:
    """The time of day, where the dates have none."""
    if time is None or any(":" in cell for cell in profiles.get(time, profile("", [])).cells):
        return None
    for name in by_name(profiles, names.CLOCK):
        cells = profiles[name].cells[:200]
        if name not in taken and cells and None not in dates.times_of_day(cells):
            why[name] = f"time of day, added to {time!r}"
            return name
    return None


def is_dates(found: Profile, asked: Asked) -> bool:
    """Whether a column of another name holds nothing but dates."""
    return not found.numeric and found.length <= LONGEST_DATE and holds_dates(found, asked)


def holds_dates(found: Profile, asked: Asked) -> bool:
    """Whether the first cells are dates; also where day and month cannot be told apart."""
    if not found.filled or not any(c.isdigit() for c in found.cells[0]):
        return False
    try:
        return dates.read(found.cells[:200], "", asked.dates).share >= dates.USUAL_SHARE
    except BadConfig:
        return True


def subject_column(
    profiles: Mapping[str, Profile],
    asked: Asked,
    taken: set[str],
    why: dict[str, str],
    notes: list[str],
) -> str | None:
    """Whom a row is about: ids of many, not sentences and not the names of two desks."""
    if asked.subject:
        why[asked.subject] = "subject, as --subject says"
        return asked.subject
    for name in by_name(profiles, names.SUBJECT):
        found = profiles[name]
        if name in taken or not found.filled:
            continue
        if found.is_persons:
            why[name] = "subject (whom a row is about), by its name"
            return name
        if 1 < found.distinct <= FEW_PERSONS:
            notes.append(
                f"column {name!r} names no persons: it holds {found.distinct} values only; "
                "--subject says otherwise"
            )
    return None


def id_column(
    profiles: Mapping[str, Profile], asked: Asked, taken: set[str], why: dict[str, str]
) -> str | None:
    """The row's own id: each value once."""
    for name in by_name(profiles, names.ID):
        found = profiles[name]
        wanted = name in taken or name in (asked.slices or ())
        if not wanted and found.filled == 1 and found.distinct == found.values:
            why[name] = "id, by its name"
            return name
    return None


def cannot_tell(what: str, candidates: Sequence[str]) -> str:
    if not candidates:
        return f"no column looks like the {what}; name it by --{what} COLUMN"
    return f"the {what} may be {' or '.join(map(repr, candidates[:SHOWN]))}; say --{what} COLUMN"


def listing(profiles: Mapping[str, Profile]) -> str:
    """Columns with how many values they hold, for messages; no values, which may be personal."""
    shown = [
        f"{name} ({found.distinct} values)" if found.cells else f"{name} (empty)"
        for name, found in list(profiles.items())[:SHOWN]
    ]
    return "columns are " + ", ".join(shown) + (" …" if len(profiles) > SHOWN else "")
