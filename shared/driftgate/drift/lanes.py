"""Evidence that the means of many streams have risen: mixture e-detectors, all streams at once.

After Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change
detection", arXiv 2203.03532. Each stream has one lane for each hedged alternative. Before a lane
grows by what a bucket of numbers tells, a *stake* is added to it: the part of the budget of false
alarms that this update may spend. While the expectation of each number, given those before, is at
most the tolerated mean, the stakes laid until an alarm are at least 1 in expectation, under any
dependence. So as many false alarms are to be expected as the budget allows, and no more.

A bucket is a count `n` and a sum. Numbers between 0 and 1 need no list of their own: the logarithm
of a lane's growth is concave in the number, so that the sum, as if all were 0 or 1, tells at most
what the numbers tell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# How far towards 1 the mean of each alternative lies from the tolerated mean, from a slow slide to
# an outright break, and its part of each stake. Half is staked on a loss of some ten points, which
# is what people notice, and nearly as much on a slide, which so is seen 500 of its 10,000 answers
# earlier for 10 answers of delay elsewhere. Breaks need little, and chance bursts in a harmless
# wobble look like them (`make bench NAME=drift-quality`).
ALTERNATIVES: Floats = np.array([0.03, 0.06, 0.10, 0.24, 0.48])
WEIGHTS: Floats = np.array([0.40, 0.05, 0.51, 0.03, 0.01])
# Evidence at which a stream alarms.
ALARM = 1.0
# A power of e that a float holds, far above what alarms.
MOST = 600.0


def empty(streams: int) -> Floats:
    """Lanes without evidence, one row a stream."""
    return np.zeros((streams, len(ALTERNATIVES)))


def grown(lanes: Floats, mean: Floats, n: Floats, total: Floats, stake: Floats) -> Floats:
    """The lanes after a bucket.

    Args:
        lanes: (streams, alternatives).
        mean: highest tolerated mean of each stream, in 0..1 exclusive.
        n, total: of the numbers in the bucket, by stream; each number in 0..1.
        stake: of the whole stream.
    """
    above = np.log1p(ALTERNATIVES * (1 - mean[:, None]) / mean[:, None])
    below = np.log1p(-ALTERNATIVES)
    growth = total[:, None] * above + (n - total)[:, None] * below
    return (lanes + stake[:, None] * WEIGHTS) * np.exp(np.clip(growth, -MOST, MOST))


def level(lanes: Floats) -> Floats:
    """The evidence of each stream; `ALARM` alarms."""
    found: Floats = lanes.sum(axis=1)
    return found
