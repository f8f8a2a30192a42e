"""Detectors: silent while the mean is tolerated, prompt when it rises, deaf to improvement."""

from __future__ import annotations

import doctest
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.drift import edetector
from driftgate.drift.detectors import KEPT, Detector, build, dump, restored
from driftgate.errors import BadConfig

SEEDS = range(20)
RIVER = ["ADWIN", "PageHinkley", "DDM", "EDDM", "HDDMA", "HDDMW", "FHDDM"]


def coins(seed: int, *parts: tuple[float, int]) -> list[float]:
    """Bernoulli numbers: `(probability, how many)` one after another."""
    rng = random.Random(seed)
    return [float(rng.random() < p) for p, count in parts for _ in range(count)]


def alarms(detector: Detector, numbers: Iterable[float]) -> list[int]:
    """How many numbers it had seen at each alarm."""
    found = []
    for seen, x in enumerate(numbers, 1):
        detector.update(x)
        if detector.drift_detected:
            found.append(seen)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_no_alarm_while_the_error_stays_at_its_reference(seed: int) -> None:
    assert not alarms(build("e-detector", 0.13, 2e4), coins(seed, (0.10, 5000)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rise_alarms_within_a_few_hundred(seed: int) -> None:
    numbers = coins(seed, (0.10, 1000), (0.25, 400))
    assert 1000 < alarms(build("e-detector", 0.13, 2e4), numbers)[0] < 1400


@pytest.mark.parametrize("seed", SEEDS)
def test_a_version_bad_from_its_first_answer_alarms_as_soon(seed: int) -> None:
    assert alarms(build("e-detector", 0.13, 2e4), coins(seed, (0.25, 400)))


@pytest.mark.parametrize("seed", SEEDS)
def test_improvement_never_alarms(seed: int) -> None:
    numbers = coins(seed, *[(0.10, 300), (0.02, 300)] * 5)
    assert not alarms(build("e-detector", 0.13, 2e4), numbers)


def test_false_alarms_at_the_tolerated_mean_keep_the_budget() -> None:
    limit, updates = 100.0, 200_000
    found = alarms(build("e-detector", 0.2, limit), coins(1, (0.2, updates)))
    assert 0 < len(found) <= updates / limit


@pytest.mark.parametrize("name", ["ADWIN", "PageHinkley", "HDDMA", "FHDDM"])
def test_a_detector_of_river_stands_in_its_place(name: str) -> None:
    found = alarms(build(name, 0.13, 2e4), coins(3, (0.05, 1500), (0.9, 1500)))
    assert any(seen > 1500 for seen in found)


@pytest.mark.parametrize("name", RIVER)
def test_a_detector_of_river_is_not_heard_on_improvement(name: str) -> None:
    # The tolerated mean lies above both: whatever changes, it is not for the worse.
    assert not alarms(build(name, 0.95, 2e4), coins(3, (0.7, 1500), (0.1, 1500)))


@pytest.mark.parametrize("name", ["e-detector", *RIVER])
def test_its_state_as_json_goes_on_as_it_would_have(name: str) -> None:
    numbers = coins(5, (0.1, KEPT), (0.2, KEPT // 4))
    whole, cut = build(name, 0.12, 1e3), build(name, 0.12, 1e3)
    before = alarms(whole, numbers[:3000])
    assert alarms(cut, numbers[:3000]) == before
    cut = restored(dump(cut))
    if whole.drift_detected:  # an alarm is not part of the state: evidence starts anew after it
        whole = build(name, 0.12, 1e3)
    assert alarms(cut, numbers[3000:]) == alarms(whole, numbers[3000:])


@settings(max_examples=50, deadline=None)
@given(
    mean=st.floats(0.001, 0.999),
    numbers=st.lists(st.floats(0, 1), max_size=200),
)
def test_evidence_is_never_negative_or_infinite(mean: float, numbers: list[float]) -> None:
    detector = build("e-detector", mean, 1e3)
    for x in numbers:
        detector.update(x)
        assert 0 <= detector.statistic < float("inf")


def test_an_unknown_detector_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadConfig, match="did you mean 'ADWIN'"):
        build("ADVIN", 0.1, 1e3)


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(edetector).failed == 0
