"""Intervals and paired tests on right and wrong answers. Pure, and repeatable by a fixed seed.

*Wins* are cases that the candidate alone got right, *losses* those that the champion alone did.
Cases that both got right or both got wrong tell nothing about which of the two is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FLIPS = 4999
"""Sign-flipped worlds: p-values down to 0.0002, with a standard error of 0.003 at 0.05."""

SEED = 20100
ROUNDING = 1e-12
POWER = 0.8


@dataclass(frozen=True, slots=True)
class Pairs:
    """Paired cases by who was right. `wins` and `losses` of `cases` differ."""

    cases: int
    wins: int
    losses: int

    @property
    def discordant(self) -> int:
        return self.wins + self.losses

    @property
    def difference(self) -> float:
        """Accuracy of the candidate less that of the champion."""
        return (self.wins - self.losses) / self.cases


@dataclass(frozen=True, slots=True)
class Family:
    """Tests of many slices at once. adjusted: the p-value of each, such that all of them together
    alarm in a share alpha of the worlds without harm. critical: below about this p-value of its
    own, a slice alarms."""

    adjusted: Mapping[str, float]
    critical: Mapping[str, float]


def mcnemar(losses: np.ndarray, discordant: np.ndarray) -> np.ndarray:
    """One-sided exact test at mid-p (Fagerland et al. 2013,
    https://doi.org/10.1186/1471-2288-13-91); 0.5 without discordant pairs."""
    coin = stats.binom(discordant, 0.5)
    return np.asarray(coin.sf(losses) + 0.5 * coin.pmf(losses))


def no_worse(pairs: Pairs, margin: float) -> float:
    """P-value of "worse by `margin` or more": small when the pairs show that it is not. Score test
    of Tango (1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B).
    """
    n, b, c = pairs.cases, pairs.wins, pairs.losses
    linear = -b - c - (2 * n - b + c) * margin
    constant = c * margin * (1 + margin)
    root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
    loss = (root - linear) / (4 * n)  # share of losses, most likely where it is worse by the margin
    variance = n * (2 * loss - margin * (1 + margin))
    if variance <= 0:
        return 1.0
    return float(stats.norm.sf((b - c + n * margin) / math.sqrt(variance)))


def family(
    strata: Sequence[Pairs],
    members: Mapping[str, Sequence[int]],
    weights: Mapping[str, float],
    alpha: float,
) -> Family:
    """Harm in many overlapping slices, with their common chance of a false alarm held at `alpha`.

    Min-p of Westfall and Young (1993), calibrated by sign-flipping: were the two versions alike,
    each discordant pair would be a loss by the toss of a coin. So slices that share cases, and
    small ones that can hardly alarm, cost little power. A p-value counts divided by its slice's
    weight, which shares the chance out (Genovese et al. 2006, https://doi.org/10.1093/biomet/93.3.509).

    Args:
        strata: disjoint groups of cases. members: for each slice, the strata that make it up.
    """
    belongs = np.zeros((len(strata), len(members)), dtype=np.int64)
    for column, rows in enumerate(members.values()):
        belongs[list(rows), column] = 1
    shares = np.array([weights[name] for name in members])
    discordant = np.array([pairs.discordant for pairs in strata], dtype=np.int64)
    losses = np.array([pairs.losses for pairs in strata], dtype=np.int64)
    coins = np.random.default_rng(SEED).binomial(discordant, 0.5, size=(FLIPS, len(strata)))
    observed = mcnemar(losses @ belongs, discordant @ belongs) / shares
    smallest = (mcnemar(coins @ belongs, discordant @ belongs) / shares).min(axis=1)
    as_small = (smallest[:, None] <= observed[None, :] + ROUNDING).sum(axis=0)
    critical = float(np.quantile(smallest, alpha, method="lower"))
    return Family(
        adjusted=dict(zip(members, ((1 + as_small) / (1 + FLIPS)).tolist(), strict=True)),
        critical={name: min(alpha, critical * weights[name]) for name in members},
    )


def detectable(pairs: Pairs, alpha: float) -> float:
    """Smallest loss that a test at `alpha` finds with a chance of 80 %, 0 to 1 (Connor 1987,
    https://doi.org/10.2307/2531961). A loss needs as many discordant pairs at the least."""
    alpha = min(max(alpha, 1e-6), 0.5)
    z = float(stats.norm.isf(alpha) + stats.norm.ppf(POWER))
    by_spread = z * math.sqrt(pairs.discordant / pairs.cases / pairs.cases)
    return min(1.0, max(by_spread, z**2 / pairs.cases))
