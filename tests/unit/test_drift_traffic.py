"""Slices that are watched by themselves: the heavy values are kept, whatever else there is."""

from __future__ import annotations

from driftgate.drift.traffic import ENOUGH, KEPT, Traffic, counted


def slices(buckets: int, singles: int, heavy: int) -> Traffic:
    """Each bucket has so many values that are met once, and two that are met often."""
    traffic = Traffic()
    for bucket in range(buckets):
        values = [f"u-{bucket}-{n}" for n in range(singles)]
        values += [f"heavy-{n % 2}" for n in range(heavy)]
        traffic.add(counted({"customer": value} for value in values))
    return traffic


def test_heavy_values_stay_among_a_million_others_in_bounded_room() -> None:
    traffic = slices(buckets=20, singles=50_000, heavy=60)
    assert {"customer=heavy-0", "customer=heavy-1"} <= set(traffic.busy)
    assert len(traffic.counts["customer"]) == KEPT
    assert traffic.crowded == ["customer"]


def test_a_value_is_watched_once_it_has_enough_answers() -> None:
    assert slices(1, 5, 2 * ENOUGH - 2).busy == []
    assert slices(1, 5, 2 * ENOUGH).busy == ["customer=heavy-0", "customer=heavy-1"]


def test_slices_beyond_the_twentieth_are_not_counted() -> None:
    traffic = Traffic()
    traffic.add({f"slice-{n:02}": {"a": 1} for n in range(30)})
    assert len(traffic.counts) == 20


def test_values_that_come_once_are_never_enough_however_many_they_are() -> None:
    traffic = slices(buckets=300, singles=1_000, heavy=60)
    assert traffic.busy == ["customer=heavy-0", "customer=heavy-1"]
