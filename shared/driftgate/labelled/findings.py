"""What reading a file did: counted, for the terminal and for the dataset card. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

EXAMPLES = 3
MOST_JOINED = 8


@dataclass
class Cause:
    """Rows that were left out for one reason. places: the first of them."""

    rows: int = 0
    places: list[str] = field(default_factory=list)


@dataclass
class Findings:
    """Counts of one reading.

    Attributes:
        rows: in the file, data rows only.
        kept: rows that can be learned from.
        left_out: why rows are not kept.
        joined: label → its spellings with their rows, where there are several.
        proposed: what the user may want to mend in the file.
        columns: column → what it is, and why.
        notes: how the file was read.
        screen: notes that hold words of the texts; they are shown, and not kept in the card.
    """

    source: str
    rows: int = 0
    kept: int = 0
    left_out: dict[str, Cause] = field(default_factory=dict)
    joined: dict[str, Mapping[str, int]] = field(default_factory=dict)
    proposed: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    screen: list[str] = field(default_factory=list)

    def leave_out(self, cause: str, place: str) -> None:
        found = self.left_out.setdefault(cause, Cause())
        found.rows += 1
        if len(found.places) < EXAMPLES:
            found.places.append(place)

    def lines(self) -> Iterator[str]:
        """For people, a line each."""
        yield f"{self.source}: {self.rows:,} rows read, {self.kept:,} kept"
        yield from (f"  {note}" for note in (*self.notes, *self.screen))
        for column, role in self.columns.items():
            yield f"  column {column!r}: {role}"
        yield from (f"  {line}" for line in self.lost_lines())
        for label, spelt in list(self.joined.items())[:MOST_JOINED]:
            told = ", ".join(f"{spelling!r} {count:,}" for spelling, count in spelt.items())
            yield f"  joined as {label!r}: {told}"
        if len(self.joined) > MOST_JOINED:
            more = len(self.joined) - MOST_JOINED
            yield f"  … and the spellings of {more} more label{'s' if more > 1 else ''}"
        yield from (f"  note: {proposal}" for proposal in self.proposed[:MOST_JOINED])

    def lost_lines(self) -> Iterator[str]:
        """Causes, the one of most rows first."""
        for cause, found in by_size(self.left_out):
            yield f"left out, {found.rows:,} {plural(found.rows)}: {cause} ({where(found)})"

    def card(self) -> dict[str, Any]:
        """For the dataset card, which others read."""
        return {name: value for name, value in asdict(self).items() if name != "screen"}


def by_size(causes: Mapping[str, Cause]) -> Iterable[tuple[str, Cause]]:
    return sorted(causes.items(), key=lambda found: -found[1].rows)


def where(found: Cause) -> str:
    more = f" and {found.rows - len(found.places):,} more" if found.rows > len(found.places) else ""
    return ", ".join(found.places) + more


def plural(count: int) -> str:
    return "row" if count == 1 else "rows"


def merged(source: str, parts: Sequence[Findings]) -> Findings:
    """The counts of several files as one."""
    total = Findings(source)
    for part in parts:
        total.rows += part.rows
        total.kept += part.kept
        for cause, found in part.left_out.items():
            mine = total.left_out.setdefault(cause, Cause())
            mine.rows += found.rows
            mine.places = [*mine.places, *found.places][:EXAMPLES]
        joined = {k: Counter(v) + Counter(total.joined.get(k, {})) for k, v in part.joined.items()}
        total.joined |= joined
        total.proposed += part.proposed
        total.columns |= part.columns
        total.notes += [note for note in part.notes if note not in total.notes]
        total.screen += [note for note in part.screen if note not in total.screen]
    return total
