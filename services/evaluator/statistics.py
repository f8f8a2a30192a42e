"""Intervals and paired tests on right and wrong answers, and on scores. Pure, and repeatable by a
fixed seed.

*Wins* are cases that the candidate alone got right, *losses* those that the champion alone did.
Cases that both got right or both got wrong tell nothing about which of the two is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from driftgate.shares import wilson

FLIPS = 4999
"""Sign-flipped worlds: p-values down to 0.0002, with a standard error of 0.003 at 0.05."""

SEED = 20100
ROUNDING = 1e-12
POWER = 0.8

BLOCK = 2048
"""Rows whose signs are flipped at once: 80 MB."""


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
    return calibrated(dict(zip(members, observed, strict=True)), smallest, weights, alpha)


def calibrated(
    observed: Mapping[str, float], smallest: np.ndarray, weights: Mapping[str, float], alpha: float
) -> Family:
    """P-values that hold for the whole family.

    Args:
        observed: p-values of the slices, divided by their weights. smallest: in each flipped world,
            the smallest of those of the whole family.
    """
    as_small = (smallest[:, None] <= np.array(list(observed.values())) + ROUNDING).sum(axis=0)
    critical = float(np.quantile(smallest, alpha, method="lower"))
    return Family(
        adjusted=dict(zip(observed, ((1 + as_small) / (1 + FLIPS)).tolist(), strict=True)),
        critical={name: min(alpha, critical * weights[name]) for name in observed},
    )


def families(
    differences: Mapping[str, np.ndarray],
    cases: np.ndarray,
    case_weights: np.ndarray,
    members: Mapping[str, Sequence[int]],
    weights: Mapping[str, float],
    alpha: float,
) -> dict[str, Family]:
    """Harm by several measures in many overlapping slices, all of them one family: see `family`.

    Were the two versions alike, what one said to a case might as well have been said by the other.
    So the signs of all differences of a case are flipped together, and measures that agree, as
    being right and a high score do, share their part of alpha instead of halving it.

    Args:
        differences: by measure, candidate less champion in the cases of each row, which are alike;
            0 where a case has no such score. Each has the shape of `cases`.
        cases: of each row, integers. case_weights: of each of them.
        members: for each slice, the rows that make it up.
    """
    belongs = np.zeros((len(cases), len(members)))
    for column, rows in enumerate(members.values()):
        belongs[list(rows), column] = 1
    heavy = np.hstack([belongs * (case_weights * d)[:, None] for d in differences.values()])
    squares = cases @ heavy**2
    shares = np.tile([weights[name] for name in members], len(differences))
    random = np.random.default_rng(SEED)
    balance = np.zeros((FLIPS, heavy.shape[1]))
    for at in range(0, len(cases), BLOCK):
        block = cases[at : at + BLOCK]
        balance += (block - 2.0 * random.binomial(block, 0.5, (FLIPS, len(block)))) @ heavy[
            at : at + BLOCK
        ]
    smallest = (signed(balance, squares) / shares).min(axis=1)
    observed = (signed(cases @ heavy, squares) / shares).reshape(len(differences), len(members))
    return {
        measure: calibrated(dict(zip(members, found, strict=True)), smallest, weights, alpha)
        for measure, found in zip(differences, observed, strict=True)
    }


def mean_interval(mean: float, variance: float, cases: float) -> tuple[float, float]:
    """95 % interval of the mean of scores between 0 and 1: Wilson's, of as many right and wrong
    cases as tell as much. Of scores that are 0 or 1 it is Wilson's itself, and of those that hardly
    vary it is no narrower than so many cases can show (at most the square of their number).

    Args:
        variance: mean square of the deviations. cases: as many of equal weight as tell as much.
    """
    if cases <= 0:
        return 0.0, 1.0
    most = mean * (1 - mean)
    spread = max(variance / most, 1 / cases) if most > ROUNDING else 1.0
    equal = cases / min(spread, 1.0)
    return wilson(mean * equal, equal)


def no_worse_mean(difference: float, error: float, cases: float, margin: float) -> float:
    """P-value of "worse by `margin` or more" for a paired difference of means with this standard
    error: Student's t, one-sided."""
    if cases <= 1:
        return 1.0
    if error <= ROUNDING:
        return 0.0 if difference + margin > ROUNDING else 1.0
    return float(stats.t.sf((difference + margin) / error, cases - 1))


def detectable(pairs: Pairs, alpha: float) -> float:
    """Smallest loss that a test at `alpha` finds with a chance of 80 %, 0 to 1 (Connor 1987,
    https://doi.org/10.2307/2531961). A loss needs as many discordant pairs at the least."""
    spread = math.sqrt(pairs.discordant / pairs.cases / pairs.cases)
    return detectable_mean(spread, pairs.cases, alpha)


def detectable_mean(spread: float, cases: float, alpha: float) -> float:
    """As `detectable`. spread: standard error of the difference, were the versions alike."""
    alpha = min(max(alpha, 1e-6), 0.5)
    z = float(stats.norm.isf(alpha) + stats.norm.ppf(POWER))
    return min(1.0, max(z * spread, z**2 / cases))
