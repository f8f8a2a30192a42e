"""A group that is unlike the training data and has become a part of the traffic.

What a version does not know it answers all the same, most often by one or two labels. So what is
watched is how often each label is answered to an input of the less familiar half: a new group of a
tenth of the traffic lifts the stream of its label far above what is tolerated, though few of
its inputs may be strange by themselves. The part of the stream says what the group is taken for;
what it is about, `driftgate clusters` says. Where answers have no labels, it is how often inputs
are strange at all.

A tolerance of 0.003 lets the unfamiliar inputs of a label become three more in 1,000 answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from driftgate.signals.answer import SIMILARITY, Answer, Reference
from driftgate.signals.shares import Shares
from driftgate.signals.signal import About, AnySignal, Signal, Tail, Weighted

NAME = "new_cluster"
UNFAMILIAR, STRANGE = Tail("below", 0.5), Tail("below", 0.1)
FAMILIAR = ""
"""The category of answers to more familiar inputs; it has no stream."""


def similarity(answer: Answer) -> float | None:
    return answer.features.get(SIMILARITY)


@dataclass(frozen=True, slots=True)
class NewCluster:
    """A stream `new_cluster:LABEL` for each label, or one where there are none; see `AnySignal`."""

    labels: tuple[str, ...] = ()
    name: str = NAME
    about: About = "input"
    both_sides: bool = False
    retrains: bool = True
    live: bool = False
    bad: str = "unfamiliar"
    by_two: bool = False

    @property
    def tolerance(self) -> float:
        return 0.003 if self.labels else 0.05

    @property
    def streams(self) -> tuple[str, ...]:
        return self.resolved({}).streams

    @property
    def _tail(self) -> Signal:
        tail = UNFAMILIAR if self.labels else STRANGE
        return Signal(NAME, "input", similarity, tail, tolerance=self.tolerance, bad=self.bad)

    def fitted(self, weighted: Sequence[Weighted]) -> Mapping[str, float]:
        """Where unfamiliar inputs begin, or strange ones."""
        return self._tail.fitted(weighted)

    def resolved(self, reference: Reference) -> AnySignal:
        tail = self._tail
        if not self.labels:
            return tail

        def category(answer: Answer) -> str | None:
            unfamiliar = tail.told(answer, reference)
            return None if unfamiliar is None else answer.output if unfamiliar else FAMILIAR

        return Shares(
            NAME,
            "input",
            category,
            self.labels,
            tolerance=self.tolerance,
            both_sides=False,
            bad=self.bad,
        )

    def numbers(self, answer: Answer, reference: Reference) -> Iterator[tuple[str, float]]:
        return self.resolved(reference).numbers(answer, reference)
