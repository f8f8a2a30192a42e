"""A family of signals: how often each of several categories is met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from driftgate.signals.answer import Answer, Reference
from driftgate.signals.signal import TOLERANCE, About, Weighted

MOST_PARTS = 20
"""Categories that are told apart where none are declared: the largest."""

OTHER = "other"
"""The category of all others; a share of it that grows is a category that was not seen before."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Categories, a stream `NAME:PART` each; see `AnySignal`. An answer tells all of them at once:
    1 for its own category, 0 for the others.

    Attributes:
        category: of an answer; None: it tells nothing.
        parts: the categories; none: those that measured answers have, and `other`.
    """

    name: str
    about: About
    category: Callable[[Answer], str | None]
    parts: tuple[str, ...] = ()
    tolerance: float = TOLERANCE
    both_sides: bool = True
    retrains: bool = True
    live: bool = False
    bad: str = ""
    by_two: bool = False

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(map(self.stream, self.parts))

    def stream(self, part: str) -> str:
        return f"{self.name}:{part}"

    def fitted(self, weighted: Sequence[Weighted]) -> Mapping[str, float]:
        """The weight of each category that is told apart, where they are not declared."""
        if self.parts:
            return {}
        weights: dict[str, float] = defaultdict(float)
        for answer, weight in weighted:
            category = self.category(answer)
            if category is not None:
                weights[category] += weight
        largest = sorted(weights, key=lambda category: (-weights[category], category))
        return {f"{self._part}{category}": weights[category] for category in largest[:MOST_PARTS]}

    @property
    def _part(self) -> str:
        return f"part|{self.name}|"

    def resolved(self, reference: Reference) -> Shares:
        if self.parts:
            return self
        found = (key for key in reference if key.startswith(self._part))
        parts = sorted({key.removeprefix(self._part) for key in found})
        if not parts:
            return self
        told_apart, category = frozenset(parts), self.category

        def known(answer: Answer) -> str | None:
            of = category(answer)
            return of if of is None or of in told_apart else OTHER

        return replace(self, category=known, parts=(*(p for p in parts if p != OTHER), OTHER))

    def numbers(self, answer: Answer, reference: Reference) -> Iterator[tuple[str, float]]:
        category = self.category(answer)
        if category is not None:
            for part in self.parts:
                yield self.stream(part), float(part == category)
