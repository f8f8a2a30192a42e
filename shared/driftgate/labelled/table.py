"""What stands in one file, before anybody knows which column is what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Record = Mapping[str, Any]
NESTED = 5  # mappings so deep inside a record become columns


@dataclass
class Table:
    """Columns of equal length.

    Attributes:
        source: the file's name, for messages.
        unit: what a number counts: `row`, or `line` of a text file.
        numbers: where each row stands, counted from 1 in `unit`.
        moments: columns that are dates by their type, as ms since 1970.
        left_out: rows that could not be taken over, as (number, cause).
        notes: how the file was read, in words.
        screen: such notes that hold words of the texts, see `Findings`.
    """

    source: str
    unit: str
    columns: dict[str, list[Any]]
    numbers: list[int]
    moments: dict[str, list[int | None]] = field(default_factory=dict)
    left_out: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    screen: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def names(self) -> list[str]:
        return [*self.columns, *self.moments]

    def cells(self, column: str) -> Sequence[Any]:
        """Of a column of either sort."""
        return self.moments[column] if column in self.moments else self.columns[column]

    @property
    def places(self) -> Places:
        return Places([f"{self.source}, {self.unit}"] * len(self), self.numbers)

    def where(self, place: int) -> str:
        """Such as `tickets.csv, line 17`."""
        return f"{self.source}, {self.unit} {self.numbers[place]}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows stand, put into words when they are asked for: there may be a million."""

    files: list[str]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> str:
        return f"{self.files[place]} {self.numbers[place]}"

    def only(self, kept: Sequence[int]) -> Places:
        return Places([self.files[p] for p in kept], [self.numbers[p] for p in kept])


def of_records(
    source: str, unit: str, records: Iterable[tuple[int, Record]], notes: Sequence[str] = ()
) -> Table:
    """A table of numbered records; what a record does not have is None. Mappings inside a record
    become columns with a dot in their name."""
    columns: dict[str, list[Any]] = {}
    numbers: list[int] = []
    for number, record in records:  # one at a time: a million mappings take a gigabyte
        for name, value in flat(record).items():
            cells = columns.setdefault(name, [])
            cells.extend([None] * (len(numbers) - len(cells)))
            cells.append(value)
        numbers.append(number)
    for cells in columns.values():
        cells.extend([None] * (len(numbers) - len(cells)))
    return Table(source, unit, columns, numbers, notes=list(notes))


def flat(record: Record, prefix: str = "") -> dict[str, Any]:
    """A record without mappings inside."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping) and prefix.count(".") < NESTED:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
