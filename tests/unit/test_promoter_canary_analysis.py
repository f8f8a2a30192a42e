"""What labelled pairs say about a challenger, and how often they mislead."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from driftgate.model_repo import Rollout, Stage
from services.promoter.canary_analysis import Pairs, analyse, harm, watch

SHADOW = Stage(name="shadow", percent=0, soak_days=1, min_pairs=20)
STAGES = [
    SHADOW,
    Stage(name="canary", percent=5, soak_days=1, min_pairs=30),
    Stage(name="half", percent=50, soak_days=1, min_pairs=40),
    Stage(name="full", percent=100),
]
RULES = Rollout(stages=STAGES, margin=0.05, harm_alpha=0.01, max_days=21, watch_days=7)


@pytest.mark.parametrize(
    ("pairs", "days", "result", "reason"),
    [
        (Pairs(), 5, "hold", "pairs"),
        (Pairs(both=40), 0.5, "hold", "soak"),
        (Pairs(both=19), 5, "hold", "pairs"),
        (Pairs(both=60, only_old=3, only_new=4), 1, "go on", "good"),
        (Pairs(both=15, only_old=6, only_new=4), 1, "hold", "unproven"),
        (Pairs(both=10, only_old=15), 0, "harm", "harm"),
        (Pairs(), 22, "give up", "pairs"),
        (Pairs(both=15, only_old=6, only_new=4), 22, "give up", "unproven"),
        (Pairs(both=90, only_old=3, only_new=4), 22, "go on", "good"),
    ],
)
def test_a_challenger_goes_on_only_on_evidence(
    pairs: Pairs, days: float, result: str, reason: str
) -> None:
    found = analyse(pairs, days, SHADOW, RULES)
    assert (found.result, found.reason) == (result, reason)
    assert found.numbers["pairs"] == pairs.count


@pytest.mark.parametrize(
    ("pairs", "days", "result"),
    [
        (Pairs(), 6.9, "hold"),
        (Pairs(), 7, "go on"),
        (Pairs(both=9, only_new=30), 3, "hold"),
        (Pairs(both=9, only_old=16), 3, "harm"),
    ],
)
def test_a_new_champion_is_watched(pairs: Pairs, days: float, result: str) -> None:
    assert watch(pairs, days, RULES).result == result


def test_the_e_value_is_the_integral_that_it_is_said_to_be() -> None:
    q = np.linspace(0.5, 1, 200_001)
    for b, c in [(0, 0), (3, 1), (1, 3), (12, 5)]:
        integral = 2 * np.trapezoid((2 * q) ** b * (2 * (1 - q)) ** c, q)
        assert harm(Pairs(only_old=b, only_new=c)) == pytest.approx(integral, rel=1e-6)


@pytest.mark.parametrize("pairs", [Pairs(only_old=100_000), Pairs(only_new=100_000)])
def test_the_e_value_of_many_pairs_is_a_number(pairs: Pairs) -> None:
    assert not math.isnan(harm(pairs))
    assert (harm(pairs) > 100) == (pairs.only_old > 0)


def test_equal_versions_are_rarely_taken_for_harmful_however_often_one_looks() -> None:
    """At alpha 0.01, looking after every discordant pair; twice the 5 alarms that Ville allows."""
    draw = np.random.default_rng(3)
    old = np.cumsum(draw.random((500, 100)) < 0.5, axis=1)
    alarms = sum(
        any(harm(Pairs(only_old=int(b), only_new=n - int(b))) >= 100 for n, b in enumerate(row, 1))
        for row in old
    )
    assert alarms <= 10


def rollout(draw: np.random.Generator, only_old: float, only_new: float) -> str:
    """How a rollout ends, at 20 pairs a day."""
    chances = [0.8 - only_old, only_old, only_new, 0.2 - only_new]
    counts, stage, since, day = np.zeros(4, int), 0, 0, 0
    while stage < 3:
        day += 1
        counts += draw.multinomial(draw.poisson(20), chances)
        found = analyse(Pairs(*map(int, counts)), day - since, STAGES[stage], RULES)
        if found.result in {"harm", "give up"}:
            return found.result
        if found.result == "go on":
            stage, since = stage + 1, day
    return "soon" if day <= 14 else "late"


@pytest.mark.parametrize(
    ("only_old", "only_new", "wanted", "at_least"),
    [
        (0.05, 0.15, {"soon"}, 0.99),  # ten points better
        (0.08, 0.08, {"soon"}, 0.80),  # equal
        (0.14, 0.04, {"harm", "give up"}, 0.90),  # ten points worse
        (0.23, 0.03, {"harm"}, 0.99),  # twenty points worse
    ],
)
def test_whole_rollouts_end_as_they_should(
    only_old: float, only_new: float, wanted: set[str], at_least: float
) -> None:
    draw = np.random.default_rng(11)
    ends = Counter(rollout(draw, only_old, only_new) for _ in range(150))
    assert sum(ends[end] for end in wanted) / 150 >= at_least, ends
