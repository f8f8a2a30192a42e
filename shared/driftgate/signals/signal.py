"""What a signal is: one number of each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from driftgate.signals.answer import Answer, Reference
from driftgate.signals.quantile import quantile

TOLERANCE = 0.05

About = Literal["quality", "output", "input", "operation"]
"""Quality is told by outcomes, the others by answers. Operation is what no training mends."""

Weighted = tuple[Answer, float]
"""A measured answer and its weight."""


class AnySignal(Protocol):
    """What measuring, watching and validation ask of a signal of any kind.

    Attributes:
        name: in references and alerts.
        about: which `signal` monitors name it under.
        tolerance: of monitors that name none.
        both_sides: whether a fall may be watched beside a rise: where it is no improvement.
        retrains: whether it may ask for a new version; one that may not only warns.
        live: whether its reference is measured on the version's first live answers, because
            held-out cases do not tell it.
        bad: what an answer is called that gives a 1, as in `31 wrong of 96`; or nothing.
        by_two: whether two reviewers tell it together, by what they say of one request.
        streams: the names of its numbers in references and alerts: its own, or `NAME:PART`.
    """

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> About: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def both_sides(self) -> bool: ...
    @property
    def retrains(self) -> bool: ...
    @property
    def live(self) -> bool: ...
    @property
    def bad(self) -> str: ...
    @property
    def by_two(self) -> bool: ...
    @property
    def streams(self) -> tuple[str, ...]: ...

    def fitted(self, weighted: Sequence[Weighted]) -> Mapping[str, float]:
        """What the reference must hold for `numbers` to tell anything, from measured answers."""

    def resolved(self, reference: Reference) -> AnySignal:
        """The same with the streams that a version has, where they are not known before it is
        measured."""

    def numbers(self, answer: Answer, reference: Reference) -> Iterator[tuple[str, float]]:
        """What an answer tells: streams, each with a number between 0 and 1."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The numbers below, or above, a quantile of the reference's. from: at it, or above."""

    side: Literal["below", "above", "from"]
    quantile: float

    def holds(self, x: float, cut: float) -> bool:
        """Whether a number lies in the tail that begins at `cut`."""
        match self.side:
            case "below":
                return x < cut
            case "above":
                return x > cut
            case "from":
                return x >= cut


@dataclass(frozen=True, slots=True)
class Signal:
    """One stream of numbers; see `AnySignal`.

    Attributes:
        number: what an answer says; None: nothing. Without a tail it lies between 0 and 1.
        tail: what is watched is how often the number lies there.
        among: only answers tell that lie in the tail of this signal.
    """

    name: str
    about: About
    number: Callable[[Answer], float | None]
    tail: Tail | None = None
    tolerance: float = TOLERANCE
    both_sides: bool = False
    retrains: bool = True
    live: bool = False
    among: Signal | None = None
    bad: str = ""
    by_two: bool = False

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def cut(self) -> str:
        """The reference's key for where the tail begins."""
        return f"cut|{self.name}"

    def fitted(self, weighted: Sequence[Weighted]) -> Mapping[str, float]:
        """Where the tails begin."""
        found = {} if self.among is None else dict(self.among.fitted(weighted))
        told = [(self.number(answer), weight) for answer, weight in weighted]
        numbers = [(x, weight) for x, weight in told if x is not None]
        if self.tail is not None and numbers:
            found[self.cut] = quantile(numbers, self.tail.quantile)
        return found

    def resolved(self, reference: Reference) -> Self:
        return self

    def told(self, answer: Answer, reference: Reference) -> float | None:
        """The number between 0 and 1 that is watched; None where the answer does not tell, or the
        reference has no tail."""
        x = self.number(answer)
        if x is None or (self.among is not None and not self.among.told(answer, reference)):
            return None
        if self.tail is None:
            return x
        cut = reference.get(self.cut)
        return None if cut is None else float(self.tail.holds(x, cut))

    def numbers(self, answer: Answer, reference: Reference) -> Iterator[tuple[str, float]]:
        x = self.told(answer, reference)
        if x is not None:
            yield self.name, x
