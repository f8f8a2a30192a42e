"""Detectors of river in the place of our own: prompt when the mean rises, deaf to improvement."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from river.checks import common

from driftgate.drift.detectors import KEPT, RiverDetector, dump, restored, river_class
from driftgate.errors import BadConfig

# Those of `river.checks` that are about no estimator: a detector predicts nothing.
CHECKS = [
    "check_repr",
    "check_str",
    "check_doc",
    "check_clone_same_class",
    "check_clone_is_idempotent",
    "check_clone_changes_memory_addresses",
    "check_init_default_params_are_not_mutable",
    "check_get_params_matches_signature",
    "check_pickling_supports_roundtrip",
]
RIVER = ["ADWIN", "PageHinkley", "DDM", "EDDM", "HDDMA", "HDDMW", "FHDDM"]


def coins(seed: int, *parts: tuple[float, int]) -> list[float]:
    """Bernoulli numbers: `(probability, how many)` one after another."""
    rng = random.Random(seed)
    return [float(rng.random() < p) for p, count in parts for _ in range(count)]


def alarms(detector: RiverDetector, numbers: Iterable[float]) -> list[int]:
    """How many numbers it had seen at each alarm."""
    found = []
    for seen, x in enumerate(numbers, 1):
        detector.update(x)
        if detector.drift_detected:
            found.append(seen)
    return found


@pytest.mark.parametrize("name", ["ADWIN", "PageHinkley", "HDDMA", "FHDDM"])
def test_a_detector_of_river_alarms_when_the_mean_rises(name: str) -> None:
    found = alarms(RiverDetector(name, 0.13), coins(3, (0.05, 1500), (0.9, 1500)))
    assert any(seen > 1500 for seen in found)


@pytest.mark.parametrize("name", RIVER)
def test_a_detector_of_river_is_not_heard_on_improvement(name: str) -> None:
    # The tolerated mean lies above both: whatever changes, it is not for the worse.
    assert not alarms(RiverDetector(name, 0.95), coins(3, (0.7, 1500), (0.1, 1500)))


@pytest.mark.parametrize("name", RIVER)
def test_its_state_as_json_goes_on_as_it_would_have(name: str) -> None:
    numbers = coins(5, (0.1, KEPT), (0.2, KEPT // 4))
    whole, cut = RiverDetector(name, 0.12), RiverDetector(name, 0.12)
    before = alarms(whole, numbers[:3000])
    assert alarms(cut, numbers[:3000]) == before
    cut = restored(dump(cut))
    if whole.drift_detected:  # an alarm is not part of the state: evidence starts anew after it
        whole = RiverDetector(name, 0.12)
    assert alarms(cut, numbers[3000:]) == alarms(whole, numbers[3000:])


@pytest.mark.parametrize("name", [*RIVER, "KSWIN", "DummyDriftDetector"])
@pytest.mark.parametrize("check", CHECKS)
def test_each_passes_what_river_checks_of_its_own(check: str, name: str) -> None:
    getattr(common, check)(river_class(name)())


@pytest.mark.parametrize("name", RIVER)
def test_each_begins_calm_and_says_the_same_of_the_same_numbers(name: str) -> None:
    """As river demands of a clone."""
    numbers = coins(7, (0.05, 600), (0.6, 600))
    assert not RiverDetector(name, 0.1).drift_detected
    assert alarms(RiverDetector(name, 0.1), numbers) == alarms(RiverDetector(name, 0.1), numbers)


def test_an_unknown_detector_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadConfig, match="did you mean 'ADWIN'"):
        RiverDetector("ADVIN", 0.1)
