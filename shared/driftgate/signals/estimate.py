"""How many answers are wrong, estimated without anybody's word, from how sure the version is.

Confidence-based performance estimation (CBPE): the held-out cases say how often answers of each
fifth of confidence are wrong, and live answers are expected to be wrong as often. It holds while
only the mix of inputs changes. Where what is right changes, the version is as sure as before and
the estimate stays, so it may warn and must neither ask for a version nor stop one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from driftgate.signals.answer import Answer, Reference
from driftgate.signals.quantile import quantile
from driftgate.signals.signal import TOLERANCE, About, Weighted

FIFTHS = 5
NAME = "estimated_error"
CUTS = tuple(f"cut|{NAME}:{at}" for at in range(1, FIFTHS))
"""The reference's keys for where each fifth but the first begins."""
RATES = tuple(f"rate|{NAME}:{at}" for at in range(FIFTHS))
"""The reference's keys for how often answers of each fifth are wrong."""


@dataclass(frozen=True, slots=True)
class EstimatedError:
    """One stream: the share of wrong answers to expect; see `AnySignal`."""

    name: str = NAME
    about: About = "output"
    tolerance: float = TOLERANCE
    both_sides: bool = False
    retrains: bool = False
    live: bool = False
    bad: str = ""
    by_two: bool = False

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.name,)

    def fitted(self, weighted: Sequence[Weighted]) -> Mapping[str, float]:
        known = [
            (answer.confidence, answer.error, weight)
            for answer, weight in weighted
            if answer.confidence is not None and answer.error is not None
        ]
        if not known:
            return {}
        sure = [(confidence, weight) for confidence, _, weight in known]
        cuts = [quantile(sure, at / FIFTHS) for at in range(1, FIFTHS)]
        totals = [[0.0, 0.0] for _ in range(FIFTHS)]
        for confidence, error, weight in known:
            total = totals[bisect_right(cuts, confidence)]
            total[0] += error * weight
            total[1] += weight
        wrong, all_weight = (sum(column) for column in zip(*totals, strict=True))
        # Equal confidences leave a fifth without cases.
        rates = [bad / n if n else wrong / all_weight for bad, n in totals]
        return dict(zip((*CUTS, *RATES), (*cuts, *rates), strict=True))

    def resolved(self, reference: Reference) -> Self:
        return self

    def told(self, answer: Answer, reference: Reference) -> float | None:
        """How often answers as sure as this one are wrong; None where nobody knows."""
        if answer.confidence is None or CUTS[0] not in reference:
            return None
        at = bisect_right(CUTS, answer.confidence, key=reference.__getitem__)
        return reference[RATES[at]]

    def numbers(self, answer: Answer, reference: Reference) -> Iterator[tuple[str, float]]:
        x = self.told(answer, reference)
        if x is not None:
            yield self.name, x
