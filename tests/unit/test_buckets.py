"""Anybody may compute a bucket: published vectors, even shares, growth that moves nobody back."""

from __future__ import annotations

import doctest
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from driftgate import buckets
from driftgate.buckets import BUCKETS, bucket, owner


def test_published_vectors() -> None:
    assert doctest.testmod(buckets).failed == 0


def test_buckets_are_evenly_filled() -> None:
    tenths = Counter(bucket("salt", f"key-{n}") * 10 // BUCKETS for n in range(20_000))
    assert sorted(tenths) == list(range(10))
    assert max(tenths.values()) - min(tenths.values()) < 300


def test_models_split_the_same_people_independently() -> None:
    both = sum(
        bucket("one", f"k{n}") < BUCKETS // 2 and bucket("two", f"k{n}") < BUCKETS // 2
        for n in range(20_000)
    )
    assert abs(both / 20_000 - 0.25) < 0.02


@given(st.text(), st.text())
def test_every_key_has_a_bucket(salt: str, key: str) -> None:
    assert 0 <= bucket(salt, key) < BUCKETS


@given(st.integers(0, BUCKETS), st.integers(0, BUCKETS), st.integers(0, BUCKETS - 1))
def test_a_growing_weight_moves_nobody_back(one: int, other: int, at: int) -> None:
    small, large = sorted((one, other))
    before, after = (owner((w, BUCKETS - w), at) for w in (small, large))
    assert after <= before  # whoever had the first arm keeps it
