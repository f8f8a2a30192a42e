"""Which slice values have enough traffic to be watched by themselves: the heavy ones of each slice,
however many values it has (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and
top-k elements in data streams", 2005). All others are watched as part of the whole alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Values of one slice that are counted, and slices whose values are.
KEPT, NAMES = 1_000, 20
# Answers with which a value is watched, and most that are, of all slices.
ENOUGH, WATCHED = 200, 600


@dataclass
class Traffic:
    """Answers by slice and value. `crowded` slices have more values than are counted, so that the
    counts of the rarest are too high."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    crowded: list[str] = field(default_factory=list)

    def add(self, new: Mapping[str, Mapping[str, int]]) -> None:
        for name, values in sorted(new.items()):
            if name in self.counts or len(self.counts) < NAMES:
                self._add(name, self.counts.setdefault(name, {}), values)

    def _add(self, name: str, counts: dict[str, int], values: Mapping[str, int]) -> None:
        new = {value: n for value, n in sorted(values.items()) if value not in counts}
        for value in values.keys() - new.keys():
            counts[value] += values[value]
        # A value that is new where there is no room takes the place of the rarest, and its count.
        rarest = iter(sorted(counts, key=lambda value: (counts[value], value)))
        for value, n in new.items():
            before = 0
            if len(counts) >= KEPT and (gone := next(rarest, None)) is not None:
                before = counts.pop(gone)
                if name not in self.crowded:
                    self.crowded.append(name)
            counts[value] = before + n

    @property
    def busy(self) -> list[str]:
        """Slices `name=value` with enough traffic, by name; the heaviest where they are many."""
        enough = (
            (-n, f"{name}={value}")
            for name, values in self.counts.items()
            for least in [ENOUGH + self._too_high(name)]
            for value, n in values.items()
            if n >= least
        )
        return sorted(slice_name for _, slice_name in sorted(enough)[:WATCHED])

    def _too_high(self, name: str) -> int:
        """By how much counts of a slice may be too high: each value that came in later took over
        what was the lowest count then."""
        return min(self.counts[name].values()) if name in self.crowded else 0


def in_words(name: str) -> str:
    """Of a crowded slice."""
    return (
        f"slice {name} has more than {KEPT:,} values: the heaviest are watched, {WATCHED} at most, "
        "and all others as part of the whole"
    )


def counted(slices: Iterable[Mapping[str, str]]) -> dict[str, Counter[str]]:
    """Answers by slice and value; of a slice with very many values, the most frequent ones."""
    found: dict[str, Counter[str]] = {}
    for one in slices:
        for name, value in one.items():
            found.setdefault(name, Counter())[value] += 1
    return {name: Counter(dict(values.most_common(KEPT))) for name, values in found.items()}
