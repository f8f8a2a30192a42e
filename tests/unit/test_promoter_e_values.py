"""The e-values against their formulas, published values, and how often they mislead."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from services.promoter.e_values import FRACTIONS, ODDS, Events, Units, harm, not_worse


@pytest.mark.parametrize("chance", [0.05, 0.5, 0.95])
def test_without_harm_the_mean_of_the_e_value_is_one(chance: float) -> None:
    """Exactly, over all that 12 events may be."""
    chances = stats.binom(12, chance).pmf(range(13))
    values = [harm([Events(chance, new, 12 - new)]) for new in range(13)]
    assert np.dot(chances, values) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("less", [0.3, 0.7])
def test_a_version_that_is_better_makes_it_smaller(less: float) -> None:
    chance = 0.5 * less / (0.5 * less + 0.5)
    chances = stats.binom(12, chance).pmf(range(13))
    values = [harm([Events(0.5, new, 12 - new)]) for new in range(13)]
    assert np.dot(chances, values) < 1


def test_each_bet_is_the_likelihood_ratio_of_a_binomial() -> None:
    p, new, old = 0.05, 7, 12
    ratios = [
        stats.binom(new + old, k * p / (k * p + 1 - p)).pmf(new)
        / stats.binom(new + old, p).pmf(new)
        for k in ODDS
    ]
    assert harm([Events(p, new, old)]) == pytest.approx(np.mean(ratios))


def test_events_of_different_chances_multiply_within_each_bet() -> None:
    parts = [Events(0.05, 2, 9), Events(0.5, 6, 3)]
    each = []
    for k in ODDS:
        product = 1.0
        for p, new, old in parts:
            product *= (k / (k * p + 1 - p)) ** new * (1 / (k * p + 1 - p)) ** old
        each.append(product)
    assert harm(parts) == pytest.approx(np.mean(each))


def test_the_wealth_of_each_bet_is_that_of_waudby_smith_and_ramdas() -> None:
    """Section 4 of https://doi.org/10.1093/jrsssb/qkad009, K = prod(1 + b (x - m)), for numbers
    that are turned round: their mean is above a bound where the harm is below the margin."""
    values, margin, bound = [1.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0, -1.0], 0.05, 1.0
    wealth = []
    for fraction in FRACTIONS:
        bet, product = fraction / (bound - margin), 1.0
        for x in values:
            product *= 1 + bet * (-x - -margin)
        wealth.append(product)
    units = [Units(value, values.count(value)) for value in (-1.0, 0.0, 1.0)]
    assert not_worse(units, margin, bound) == pytest.approx(np.mean(wealth))


def test_at_the_margin_its_mean_is_one() -> None:
    """Exactly, over all series of five numbers with that mean."""
    chance = {1.0: 0.2, 0.0: 0.65, -1.0: 0.15}
    mean = sum(value * p for value, p in chance.items())
    total = 0.0
    for series in itertools.product(chance, repeat=5):
        p = math.prod(chance[value] for value in series)
        units = [Units(value, series.count(value)) for value in chance]
        total += p * not_worse(units, mean, 1.0)
    assert total == pytest.approx(1.0, rel=1e-9)


def test_nothing_known_is_no_evidence() -> None:
    assert harm([]) == harm([Events(0.5, 0, 0)]) == 1.0
    assert not_worse([], 0.05, 1.0) == 1.0


@pytest.mark.parametrize("events", [Events(0.5, 100_000, 0), Events(0.05, 0, 100_000)])
def test_the_e_value_of_many_events_is_a_number(events: Events) -> None:
    assert not math.isnan(harm([events]))
    assert (harm([events]) > 100) == (events.new > 0)


@pytest.mark.parametrize("chance", [0.05, 0.5, 0.95])
def test_equal_versions_are_rarely_taken_for_harmful_however_often_one_looks(chance: float) -> None:
    """At 0.01, after each of 150 events; Ville allows 2 alarms of 200, and chance some more."""
    draw = np.random.default_rng(3)
    new = np.cumsum(draw.random((200, 150)) < chance, axis=1)
    alarms = sum(
        any(harm([Events(chance, int(c), n - int(c))]) >= 100 for n, c in enumerate(row, 1))
        for row in new
    )
    assert alarms <= 6
