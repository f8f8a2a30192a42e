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

    cases: float
    wins: float
    losses: float

    @classmethod
    def of_equal_weight(
        cls, wins: float, losses: float, weights: float, squares: float, discordant_squares: float
    ) -> Pairs:
        """As many cases of equal weight as have the difference of weighted ones, and its variance.

        The difference is the sum of `w d` over the sum of `w`, with `d` of 1 for a win, -1 for a
        loss, else 0. Were the versions alike, its variance would be the sum of `w^2 d^2` over the
        square of the sum of `w`, also where wins and losses have other weights.

        Args:
            wins, losses, weights: sums of weights, of wins, of losses and of all cases.
            squares, discordant_squares: sums of their squares, of all, and of wins and losses.
        """
        discordant = wins + losses
        scale = discordant_squares / discordant if discordant else squares / (weights or 1.0)
        return cls(weights / scale, wins / scale, losses / scale) if scale else cls(0, 0, 0)

    @property
    def discordant(self) -> float:
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


def signed(balance: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """One-sided test of weighted pairs: `balance` is the weight of wins less that of losses, and
    `squares` the sum of the squared weights of both, its variance were the versions alike. With
    equal weights it is McNemar's, without a correction for continuity."""
    spread = np.sqrt(squares)
    z = np.divide(balance, spread, out=np.zeros_like(balance, dtype=float), where=spread > 0)
    return np.asarray(stats.norm.cdf(z))


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
    case_weights: Sequence[float] = (),
) -> Family:
    """Harm in many overlapping slices, with their common chance of a false alarm held at `alpha`.

    Min-p of Westfall and Young (1993), calibrated by sign-flipping: were the two versions alike,
    each discordant pair would be a loss by the toss of a coin. So slices that share cases, and
    small ones that can hardly alarm, cost little power. A p-value counts divided by its slice's
    weight, which shares the chance out (Genovese et al. 2006, https://doi.org/10.1093/biomet/93.3.509).

    Where cases have weights, the sign of each weighted difference is flipped. Wins and losses need
    not have the same weights then, as after post-stratification, where a coin does not decide each
    pair; still the flips have the mean and the variance that the balance has were the versions
    alike, so the test holds approximately, for many pairs (the wild bootstrap; Liu 1988,
    https://doi.org/10.1214/aos/1176351062).

    Args:
        strata: disjoint groups of cases. members: for each slice, the strata that make it up.
        case_weights: of the cases of each stratum; all alike when left out.
    """
    belongs = np.zeros((len(strata), len(members)), dtype=np.int64)
    for column, rows in enumerate(members.values()):
        belongs[list(rows), column] = 1
    shares = np.array([weights[name] for name in members])
    discordant = np.array([pairs.discordant for pairs in strata], dtype=np.int64)
    losses = np.array([pairs.losses for pairs in strata], dtype=np.int64)
    coins = np.random.default_rng(SEED).binomial(discordant, 0.5, size=(FLIPS, len(strata)))
    of_cases = np.array(case_weights or [1.0] * len(strata))

    def harm(lost: np.ndarray) -> np.ndarray:
        if len(set(of_cases)) <= 1:
            return mcnemar(lost @ belongs, discordant @ belongs)
        heavy = belongs * of_cases[:, None]
        balance = (discordant - 2 * lost) @ heavy
        return signed(balance, discordant @ heavy**2)

    observed, smallest = harm(losses) / shares, (harm(coins) / shares).min(axis=1)
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
