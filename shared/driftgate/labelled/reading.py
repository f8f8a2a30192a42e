"""The one way in for labelled text: a path and what the user says about it in, rows and what was
found out. Nothing is changed in silence: see `Findings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from driftgate.errors import BadConfig
from driftgate.labelled import delimited, exports, files, labels
from driftgate.labelled import slices as parting
from driftgate.labelled.files import Content
from driftgate.labelled.findings import Findings, by_size, merged, where
from driftgate.labelled.kinds import table_of, text_folders
from driftgate.labelled.roles import Roles
from driftgate.labelled.rows import Asked
from driftgate.labelled.table import Places, Table
from driftgate.labelled.table_rows import (
    NOT_UNICODE,
    TOTALS,
    UNLABELLED,
    Labelled,
    labelled,
    roles_of,
    says_no_label,
    unlabelled,
)

FEW_ROWS = 20  # of which each may have a label of its own
REPEATED = "it repeats an earlier row"
NESTED = "is nested too deeply; expected rows of cells"
Made = TypeVar("Made")
# Left out on purpose, or without a loss: not a sign of a file that was misread.
EXPECTED = {
    *(REPEATED, delimited.REPEATED_HEADER, delimited.RULE, delimited.DESCRIBES, delimited.COMMENT),
    *(exports.REJECTED, exports.NO_ANNOTATION, UNLABELLED, TOTALS),
}
# What helps against a cause, where it is not another column.
REMEDIES = {NOT_UNICODE: "mend these lines, say the file's encoding by --encoding"}
REMEDY = "mend the file, say by --text and --label which columns are meant"


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
    findings.notes += [*several_labels(found, one), *texts_of_nothing(found)]
    seen: set[tuple[str, str, int | None, str | None]] = set()
    kept = []
    for place, row in enumerate(zip(found.texts, one, found.times, found.subjects, strict=True)):
        if row in seen:
            findings.leave_out(REPEATED, found.places[place])
        else:
            seen.add(row)
            kept.append(place)
    findings.kept = len(kept)
    found.labels = one
    return found if len(kept) == len(one) else found.only(kept)


def several_labels(found: Labelled, one: Sequence[str]) -> list[str]:
    """That the same text stands under several labels, which no model can learn, by its place:
    the words may be personal."""
    label_of: dict[str, str] = {}
    torn: dict[str, int] = {}
    for place, (text, label) in enumerate(zip(found.texts, one, strict=True)):
        if label_of.setdefault(text, label) != label:
            torn.setdefault(text, place)
    if not torn:
        return []
    stand = "1 text stands" if len(torn) == 1 else f"{len(torn):,} texts stand"
    first = found.places[next(iter(torn.values()))]
    return [f"{stand} under several labels, such as the one in {first}"]


def texts_of_nothing(found: Labelled) -> list[str]:
    """That texts are a word for none, such as NULL."""
    bad = [place for place, text in enumerate(found.texts) if text.lower() in labels.NOTHING]
    if not bad:
        return []
    are = "1 text is" if len(bad) == 1 else f"{len(bad):,} texts are"
    return [
        f"{are} NULL, N/A or the like ({found.places[bad[0]]}"
        f"{' and others' if bad[1:] else ''}); empty the cells if they mean none"
    ]


def check(found: Labelled, asked: Asked) -> None:
    """Raises: BadConfig where too much was left out, or what is left cannot be learned from."""
    findings = found.findings
    if lost := too_much_lost(findings, asked.left_out):
        raise BadConfig(
            f"{lost.words}; {REMEDIES.get(lost.cause, REMEDY)}, or allow it by --left-out "
            f"{min(1.0, lost.rows / findings.rows + 0.01):.2f}"
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


class Lost(NamedTuple):
    """Rows that are left out and should not have to be, the cause of most, and both in words."""

    rows: int
    cause: str
    words: str


def too_much_lost(findings: Findings, share: float) -> Lost | None:
    """What is lost, if that is more than a share of the rows, 0..1."""
    lost = {cause: one for cause, one in findings.left_out.items() if cause not in EXPECTED}
    rows = sum(one.rows for one in lost.values())
    if rows <= share * findings.rows:
        return None
    cause, most = next(iter(by_size(lost)))
    words = (
        f"{findings.source}: {rows:,} of {findings.rows:,} rows cannot be used, mostly since "
        f"{cause} ({where(most)})"
    )
    return Lost(rows, cause, words)


def summary(counts: Mapping[str, int], most: int = 12) -> str:
    """Labels with their rows, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    more = f" and {len(ranked) - most} more" if len(ranked) > most else ""
    return ", ".join(f"{label} {count:,}" for label, count in ranked[:most]) + more
