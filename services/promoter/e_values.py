"""E-values: evidence that may be looked at whenever one likes. Pure.

An e-process starts at 1 and, where its null hypothesis holds, grows in no way on the whole, so that
it ever reaches 1/alpha with a chance of at most alpha, however often one looks (Ville's inequality;
Ramdas et al. 2023, https://arxiv.org/abs/2210.01948). Both below are averages over fixed bets. They
hang on counts alone: not on the order of what was seen, nor on when it was looked at.

*Harm*. An event, such as a complaint about one of two versions, came from the new version with a
chance p that the null hypothesis knows: the chance with which the new version was the one that was
heard, or 1/2 where both answered and one alone was right. Were the new version k times as likely to
cause one, that chance would be kp / (kp + 1 - p). The bet on k multiplies the stake by

    k / (kp + 1 - p)  for an event of the new version,      1 / (kp + 1 - p)  for one of the other:

a likelihood ratio, and for k > 1 a supermartingale wherever the new version is not worse. What
else moves the number of events, such as a busy day or a bad week, moves both versions alike and
cancels (conditional binomial test, Przyborowski and Wilenski 1940, on an e-process's terms).

Harm may begin late, when most people were counted already. So people are counted anew from each of
several moments on. A weighted mean of e-values is one, whatever they have in common (Vovk and Wang
2021, https://doi.org/10.1214/20-AOS2020): the first moment has half of the weight, the nth
1 / n(n + 1).

*Not worse*. Numbers x of a known upper bound whose mean is how much worse the new version is. The
bet of a fraction f multiplies the stake by 1 + b (margin - x), b = f / (bound - margin): a
supermartingale wherever the mean is the margin or more (Waudby-Smith and Ramdas 2024, section 4,
https://doi.org/10.1093/jrsssb/qkad009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

Floats = npt.NDArray[np.float64]

ODDS: Floats = np.array([1.25, 1.6, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0])
FRACTIONS: Floats = np.array([0.03, 0.06, 0.12, 0.25, 0.5, 0.75, 0.95])


class Events(NamedTuple):
    """Events by the version that they came from.

    chance: that one is the new version's, were the two alike; above 0 and below 1.
    """

    chance: float
    new: int
    old: int


class Units(NamedTuple):
    """Independent units by their numbers.

    value: how much worse the new version did.
    usual: how bad the old version did; 0 where nobody knows.
    """

    value: float
    people: int
    usual: float = 0.0


def harm(events: Sequence[Events]) -> float:
    """The e-value against "the new version is no worse"; infinite beyond what a float holds."""
    if not events:
        return 1.0
    chance, new, old = (np.array(column, float) for column in zip(*events, strict=True))
    total = new @ log_gains(chance, True) + old @ log_gains(chance, False)
    return averaged(total)


def harm_since(moments: Sequence[Sequence[Events]]) -> float:
    """As `harm`, of events as they are counted from each moment on."""
    weights = [share_of(place) for place in range(len(moments))]
    found = sum(w * harm(events) for w, events in zip(weights, moments, strict=True))
    return found + 1 - sum(weights)


def share_of(moment: int) -> float:
    """The weight of what is counted from a moment on; those of all moments sum to 1."""
    return 1 / ((moment + 1) * (moment + 2))


def log_gains(chance: Floats, of_new: bool | npt.NDArray[np.bool_]) -> Floats:
    """What an event multiplies each bet by, as logarithms: a row an event, a column a bet."""
    won = np.where(np.asarray(of_new)[..., None], np.log(ODDS), 0.0)
    return np.asarray(won - np.log1p(np.asarray(chance)[..., None] * (ODDS - 1)))


def not_worse(units: Sequence[Units], margin: float, bound: float) -> float:
    """The e-value against "the new version is worse by `margin` or more".

    Args:
        bound: no unit has a larger number; above `margin`.
    """
    if not units:
        return 1.0
    value, count, _ = (np.array(column, float) for column in zip(*units, strict=True))
    return averaged(count @ log_returns(value, margin, bound))


def in_proportion(units: Sequence[Units], times: float, bound: float) -> float:
    """The e-value against "the new version does `times` as badly as the old one, or worse"."""
    more = [Units(value - (times - 1) * usual, people) for value, people, usual in units]
    return not_worse(more, 0.0, bound)


def log_returns(values: Floats, margin: float, bound: float) -> Floats:
    """What a unit multiplies each bet by, as logarithms: a row a unit, a column a bet."""
    bets = FRACTIONS / (bound - margin)
    return np.asarray(np.log1p(bets * (margin - np.asarray(values)[..., None])))


def averaged(log_stakes: Floats) -> float:
    """The mean of stakes that are given as logarithms."""
    log_mean = float(logsumexp(log_stakes)) - math.log(log_stakes.size)
    return math.inf if log_mean > 700 else math.exp(log_mean)  # NaN stays NaN
