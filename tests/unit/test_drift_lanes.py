"""Lanes: silent while the mean is tolerated, prompt when it rises, and within the budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.drift import lanes

RUNS, BUCKET = 40, 10


def alarms(mean: float, budget: float, *parts: tuple[float, int], seed: int = 1) -> list[list[int]]:
    """How many numbers each of many streams had seen at its alarms: `(probability, how many)` one
    after another; each number spends `budget`."""
    rng = np.random.default_rng(seed)
    found: list[list[int]] = [[] for _ in range(RUNS)]
    evidence, bar = lanes.empty(RUNS), np.full(RUNS, mean)
    n, stake, seen = np.full(RUNS, float(BUCKET)), np.full(RUNS, budget * BUCKET), 0
    for probability, count in parts:
        for _ in range(count // BUCKET):
            ones = rng.binomial(BUCKET, probability, RUNS).astype(float)
            evidence = lanes.grown(evidence, bar, n, ones, stake)
            seen += BUCKET
            for row in np.flatnonzero(lanes.level(evidence) >= lanes.ALARM):
                found[row].append(seen)
                evidence[row] = 0
    return found


def test_no_alarm_while_the_error_stays_at_its_reference() -> None:
    assert not any(alarms(0.13, 5e-5, (0.10, 5000)))


def test_a_rise_alarms_within_a_few_hundred() -> None:
    found = alarms(0.13, 5e-5, (0.10, 1000), (0.25, 400))
    assert all(1000 < first <= 1400 for first, *_ in found)


def test_a_version_bad_from_its_first_answer_alarms_as_soon() -> None:
    assert all(alarms(0.13, 5e-5, (0.25, 400)))


def test_improvement_never_alarms() -> None:
    assert not any(alarms(0.13, 5e-5, *[(0.10, 300), (0.02, 300)] * 5))


def test_false_alarms_at_the_tolerated_mean_keep_the_budget() -> None:
    numbers, budget = 20_000, 0.01
    count = sum(map(len, alarms(0.2, budget, (0.2, numbers))))
    assert 0 < count <= RUNS * numbers * budget


@pytest.mark.parametrize("mean", [0.001, 0.1, 0.9])
def test_a_bucket_tells_no_more_than_its_numbers_one_by_one_from_the_same_stake(
    mean: float,
) -> None:
    """Numbers between 0 and 1 count by their sum, which is at most what they tell."""
    numbers = np.random.default_rng(1).random(50)
    bets = lanes.ALTERNATIVES / mean
    exact = 0.01 * lanes.WEIGHTS * np.prod(1 + bets * (numbers[:, None] - mean), axis=0)
    n, total = np.array([50.0]), np.array([numbers.sum()])
    found = lanes.grown(lanes.empty(1), np.array([mean]), n, total, np.array([0.01]))
    assert (found[0] <= exact * (1 + 1e-9)).all()


@settings(max_examples=50, deadline=None)
@given(
    mean=st.floats(0.001, 0.999),
    counts=st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 1)), max_size=50),
)
def test_evidence_is_never_negative_or_infinite(
    mean: float, counts: list[tuple[int, float]]
) -> None:
    evidence = lanes.empty(1)
    for n, share in counts:
        given = np.array([float(n)]), np.array([n * share])
        evidence = lanes.grown(evidence, np.array([mean]), *given, np.array([1e-6 * n]))
        assert (evidence >= 0).all() and np.isfinite(evidence).all()
        evidence[lanes.level(evidence) >= lanes.ALARM] = 0
