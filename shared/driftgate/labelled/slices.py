"""Which columns part the traffic: few values, known of a request, not the label in disguise. All
tables of a folder are looked at together: a file of each language says one language. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from driftgate.labelled import exports, names
from driftgate.labelled.findings import Findings
from driftgate.labelled.labels import folded
from driftgate.labelled.roles import Roles, as_text, is_number
from driftgate.labelled.rows import Asked
from driftgate.labelled.table import Table

MAX_VALUES = 12
MAX_CHARACTERS = 60
MOST = 8
LEAST_FILLED = 0.5
# One column follows from another although so many rows say otherwise, if these are also few of
# those that do not have its most frequent value: where 99 % of rows have one label, each column
# would tell it.
EXCEPTIONS, OF_OTHERS = 0.02, 0.1

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Slices:
    """called: column → its name as a slice. why: what is told of each column."""

    called: Mapping[str, str]
    why: Mapping[str, str]

    def of(self, table: Table, found: Roles) -> dict[str, list[str]]:
        """The values of each slice in a table, as it has them."""
        return {
            called: [as_text(cell) for cell in table.columns[column]]
            for column, called in self.called.items()
            if has(table, found, column)
        }

    def tell(self, found: Roles, findings: Findings) -> None:
        """What became of a table's columns that are nothing else."""
        for column in found.rest:
            if column in self.why:
                findings.columns.setdefault(column, self.why[column])


def has(table: Table, found: Roles, column: str) -> bool:
    """Whether a table has the column, and it is nothing else there."""
    return column in found.rest and column in table.columns


def choose(tables: Sequence[tuple[Table, Roles]], asked: Asked) -> Slices:
    """The slices of all tables."""
    labels = [
        [as_text(exports.one_label(cell)) for cell in table.columns[found.label]]
        for table, found in tables
    ]
    called: dict[str, str] = {}
    why: dict[str, str] = {}
    for column in dict.fromkeys(name for _, found in tables for name in found.rest):
        having = [at for at, (table, found) in enumerate(tables) if has(table, found, column)]
        if not having:
            continue  # a date by its type
        cells = [as_text(cell) for at in having for cell in tables[at][0].columns[column]]
        given = chain.from_iterable(labels[at] for at in having)
        wanted = column in (asked.slices or ()) or column.startswith(names.OURS)
        cause = None if wanted else no_slice(column, cells, given, asked)
        if cause is None and len(called) >= MOST and not wanted:
            cause = f"{MOST} slices are enough; --slice chooses"
        if cause:
            why[column] = f"ignored: {cause}"
            continue
        name = slice_name(column)
        called[column] = f"{name}_{len(called) + 1}" if name in called.values() else name
        why[column] = f"slice {called[column]!r} ({len(set(filter(None, cells)))} values)"
    return Slices(called, why)


def no_slice(name: str, cells: Sequence[str], labels: Iterable[str], asked: Asked) -> str | None:
    """Why a column is no slice; None where it is one."""
    values = set(filter(None, cells))
    administrative = names.rank(name, (*names.NOT_SLICES, *names.ANSWERS)) is not None
    causes = (
        ("--slice names others", asked.slices is not None),
        ("it is empty", not values),
        ("it says the same in each row", len(values) == 1),
        (f"{len(values):,} values, more than {MAX_VALUES}", len(values) > MAX_VALUES),
        ("no app can say it of a request", administrative or name.lower().startswith("unnamed")),
        ("its values are long", any(len(v) > MAX_CHARACTERS or "\n" in v for v in values)),
        ("it is a measured number", all(is_number(v) and "." in v for v in values)),
    )
    cause = next((cause for cause, holds in causes if holds), None)
    cause = cause or like_the_label(Counter(zip(cells, labels, strict=True)))
    sparse = sum(map(bool, cells)) < LEAST_FILLED * len(cells)
    return cause or ("more than half of its cells are empty" if sparse else None)


def like_the_label(pairs: Mapping[Pair, int]) -> str | None:
    """Why a column is the label once more, in part or in finer words; None where it is not.

    Args:
        pairs: the column's value and the label → rows.
    """
    said = folded([cell for cell, _ in pairs])
    labels = folded([label for _, label in pairs])
    counts: Counter[Pair] = Counter()
    for cell, label, rows in zip(said, labels, pairs.values(), strict=True):
        counts[cell, label] += rows
    if follows({(label, cell): rows for (cell, label), rows in counts.items()}):
        return "it follows from the label, which no app knows beforehand"
    of_cell = totals(counts, 0)
    recurring = {pair: n for pair, n in counts.items() if pair[0] and of_cell[pair[0]] > 1}
    if recurring and follows(recurring):
        return "the label follows from it, and no app knows that beforehand"
    return None


def follows(counts: Mapping[Pair, int]) -> bool:
    """Whether rows that say one thing first nearly all say one thing second.

    >>> follows({("a", "x"): 2, ("b", "y"): 1})
    True
    >>> follows({("a", "x"): 2, ("a", "y"): 2, ("b", "y"): 1})
    False
    """
    most: dict[str, int] = {}
    for (first, _), rows in counts.items():
        most[first] = max(rows, most.get(first, 0))
    total, usual = sum(counts.values()), max(totals(counts, 1).values(), default=0)
    exceptions = total - sum(most.values())
    return exceptions <= min(EXCEPTIONS * total, OF_OTHERS * (total - usual))


def totals(counts: Mapping[Pair, int], side: int) -> Counter[str]:
    """Rows of each value on one side of the pairs."""
    found: Counter[str] = Counter()
    for pair, rows in counts.items():
        found[pair[side]] += rows
    return found


def slice_name(name: str) -> str:
    """A name without blanks and equal signs, which divide a slice's name from its value."""
    return "_".join(name.removeprefix(names.OURS).replace("=", " ").split())
