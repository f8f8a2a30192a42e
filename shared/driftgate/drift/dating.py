"""When a change began, by the time of the answers that show it: the likeliest date and an interval.

A history is a row of bins, each with the count and the sum of the numbers about answers of its
time. The numbers before the change have one mean, which was tolerated, beside a few of the
reference's, and those after it another. The interval holds every date that is at most e^3, some 20
times, less likely than the likeliest (a likelihood-ratio set, Siegmund, "Confidence sets in
change-point problems", 1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgate.drift.lanes import Floats

LESS_LIKELY = 3.0
# So many numbers of the reference stand before the first: a version may be bad from its start.
PRIOR = 20.0
LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Change:
    """since, earliest, latest: ms. n, total: of the numbers from `since` on."""

    since: int
    earliest: int
    latest: int
    n: int
    total: float


def change(
    starts: NDArray[np.int64],
    end: int,
    n: Floats,
    total: Floats,
    reference: float,
    tolerated: float,
) -> Change:
    """The rise that a history shows.

    Args:
        starts: of the bins, ascending, ms; the last one ends at `end`.
        n, total: of each bin.
        reference, tolerated: what was measured, and the highest mean before the change, in 0..1.
    """
    after, above = (np.cumsum(x[::-1])[::-1] for x in (n, total))
    before, below = n.sum() - after + PRIOR, total.sum() - above + PRIOR * reference
    likely = fit(before, below, tolerated) + fit(after, above)
    likely[above / np.maximum(after, 1) < below / before] = -np.inf  # that is no rise
    likely[n == 0] = -np.inf  # the change is dated by an answer
    best = int(np.argmax(likely))
    near = np.flatnonzero(likely >= likely[best] - LESS_LIKELY)
    edges = np.append(starts, end)
    return Change(
        since=int(starts[best]),
        earliest=int(starts[max(near[0] - 1, 0)]),
        latest=int(edges[near[-1] + 1]),
        n=round(float(after[best])),
        total=float(above[best]),
    )


def fit(n: Floats, total: Floats, most: float = 1.0) -> Floats:
    """Log-likelihood of `n` numbers of sum `total`, with the mean up to `most` that fits best."""
    mean = np.clip(total / np.maximum(n, LEAST), LEAST, min(most, 1 - LEAST))
    found: Floats = total * np.log(mean) + (n - total) * np.log(1 - mean)
    return found
