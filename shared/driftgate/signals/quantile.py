"""Quantiles of numbers that weigh differently. In plain Python: who reads a model repo, such as an
app's client, need not wait for numpy."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


def quantile(numbers: Sequence[tuple[float, float]], share: float) -> float:
    """Of numbers, each with its weight, interpolated. Where the weights are alike the lowest number
    is the quantile of 0 and the highest that of 1, as in numpy; else each stands at the middle of
    its weight.

    >>> quantile([(3, 1), (1, 1), (2, 1)], 0.25)
    1.5
    """
    x, w = zip(*sorted(numbers), strict=True)
    if all(weight == w[0] for weight in w):
        places = [at / max(1, len(x) - 1) for at in range(len(x))]
    else:
        ends = list(accumulate(w))
        places = [(end - weight / 2) / ends[-1] for end, weight in zip(ends, w, strict=True)]
    after = bisect_right(places, share)
    if after in (0, len(x)):
        return float(x[min(after, len(x) - 1)])
    low, high = places[after - 1], places[after]
    return float(x[after - 1] + (x[after] - x[after - 1]) * (share - low) / (high - low))
