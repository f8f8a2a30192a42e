"""The tests and intervals against published values and first principles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from driftgate.shares import wilson
from services.evaluator.statistics import Pairs, detectable, family, mcnemar, no_worse, signed


def test_wilson_interval_as_published() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_harm_is_mcnemars_mid_p() -> None:
    # 8 losses, 2 wins: P(X > 8) + P(X = 8) / 2 of ten coins.
    assert mcnemar(np.array(8), np.array(10)) == pytest.approx((1 + 10 + 45 / 2) / 1024)
    assert mcnemar(np.array(0), np.array(0)) == 0.5


@pytest.mark.parametrize(
    ("pairs", "margin"),
    [
        (Pairs(300, 10, 12), 0.02),
        (Pairs(300, 0, 0), 0.02),
        (Pairs(80, 3, 9), 0.05),
        (Pairs(44, 0, 1), 0.1),
    ],
)
def test_tangos_variance_is_the_most_likely_one_at_the_margin(pairs: Pairs, margin: float) -> None:
    n, b, c = pairs.cases, pairs.wins, pairs.losses

    def unlikely(loss: float) -> float:
        parts = ((b, loss - margin), (c, loss), (n - b - c, 1 - 2 * loss + margin))
        return -sum(count * math.log(share) for count, share in parts if count)

    edge = 1e-9
    found = optimize.minimize_scalar(
        unlikely,
        bounds=(margin + edge, (1 + margin) / 2 - edge),
        method="bounded",
        options={"xatol": 1e-12},
    )
    spread = math.sqrt(n * (2 * found.x - margin * (1 + margin)))
    assert no_worse(pairs, margin) == pytest.approx(
        stats.norm.sf((b - c + n * margin) / spread), abs=1e-6
    )


def test_without_a_margin_and_without_a_difference_nothing_is_shown() -> None:
    assert no_worse(Pairs(300, 0, 0), 0.0) == 1.0


def test_the_family_alarms_at_most_in_a_share_alpha_of_equal_worlds() -> None:
    draw = np.random.default_rng(1)
    members = {"all": list(range(8)), **{str(row): [row] for row in range(8)}}
    weights = dict.fromkeys(members, 1.0) | {"3": 4.0}
    alarms = 0
    for _ in range(200):
        losses = draw.binomial(6, 0.5, size=8)
        strata = [Pairs(40, 6 - int(lost), int(lost)) for lost in losses]
        alarms += min(family(strata, members, weights, 0.05).adjusted.values()) < 0.05
    assert alarms <= 0.08 * 200


def test_the_family_finds_one_harmed_slice_among_many() -> None:
    strata = [Pairs(80, 3, 3)] * 9 + [Pairs(80, 1, 15)]
    members = {str(row): [row] for row in range(10)}
    found = family(strata, members, dict.fromkeys(members, 1.0), 0.05)
    assert found.adjusted["9"] < 0.05
    assert min(found.adjusted[str(row)] for row in range(9)) > 0.5
    assert found.critical["9"] < 0.05


def test_a_weight_makes_a_slice_easier_to_find() -> None:
    strata = [Pairs(80, 3, 3)] * 9 + [Pairs(80, 2, 10)]
    members = {str(row): [row] for row in range(10)}
    even = dict.fromkeys(members, 1.0)
    plain, heavy = (family(strata, members, w, 0.05) for w in (even, even | {"9": 4.0}))
    assert heavy.adjusted["9"] < plain.adjusted["9"]
    assert heavy.critical["9"] > plain.critical["9"]


def test_weighted_pairs_are_as_many_of_equal_weight_as_tell_the_same() -> None:
    alike = Pairs.of_equal_weight(6.0, 9.0, 300.0, 900.0, 45.0)  # each of weight 3
    assert alike == Pairs(100, 2, 3)
    weights = np.array([0.4] * 30 + [1.2] * 70)
    signs = np.array([1] * 8 + [0] * 22 + [-1] * 5 + [0] * 65)
    wins, losses = weights @ (signs > 0), weights @ (signs < 0)
    squares = weights**2 @ np.abs(signs)
    pairs = Pairs.of_equal_weight(wins, losses, weights.sum(), (weights**2).sum(), squares)
    assert pairs.difference == pytest.approx(weights @ signs / weights.sum())
    assert pairs.discordant / pairs.cases**2 == pytest.approx(squares / weights.sum() ** 2)
    assert Pairs.of_equal_weight(0, 0, 100, 112.0, 0).cases == pytest.approx(100**2 / 112)


def test_with_equal_weights_the_weighted_test_is_mcnemars() -> None:
    lost, discordant = np.array([90.0]), np.array([160.0])
    found = signed((discordant - 2 * lost) * 3.0, discordant * 9.0)
    assert found == pytest.approx(mcnemar(lost, discordant), abs=0.002)
    assert signed(np.array([0.0]), np.array([0.0])) == 0.5


def test_wins_and_losses_of_other_weights_are_tested_at_their_level() -> None:
    """As after post-stratification: what was wrong can only be won, what was right only lost."""
    draw = np.random.default_rng(1)
    members, even = {"all": [0, 1]}, {"all": 1.0}
    alarms = harms = 0
    for _ in range(300):
        won, lost = draw.binomial(60, 0.4), draw.binomial(180, 0.04 / 0.9)  # 1:3, and 1:9 in truth
        for worse in (0, draw.binomial(180, 0.1)):
            strata = [Pairs(60, won, 0), Pairs(180, 0, lost + worse)]
            found = family(strata, members, even, 0.05, [0.4, 1.2]).adjusted["all"] < 0.05
            alarms, harms = alarms + (found and not worse), harms + (found and worse > 0)
    assert alarms <= 0.08 * 300
    assert harms >= 0.85 * 300


def test_no_discordant_pair_is_no_harm() -> None:
    assert family([], {"all": []}, {"all": 1.0}, 0.05).adjusted["all"] > 0.9


def test_more_cases_find_smaller_losses() -> None:
    few, many = Pairs(80, 4, 4), Pairs(800, 40, 40)
    assert detectable(many, 0.05) < detectable(few, 0.05)
    assert detectable(Pairs(80, 0, 0), 0.05) == pytest.approx(6.18 / 80, rel=0.01)
