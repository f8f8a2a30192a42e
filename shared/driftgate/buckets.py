"""Who gets which version: one portable hash, cut into ranges.

`bucket = (murmur3_x86_32(utf8(salt ‖ key)) · 10000) >> 32`, murmur3 with seed 0 (Appleby,
https://github.com/aappleby/smhasher). Any language can compute it; these vectors tell whether it
does:

    >>> [bucket("support-triage", key) for key in ("c-00017", "c-00018", "ñandú", "")]
    [8977, 8000, 2319, 4230]
    >>> bucket("", "hello")
    1427

The salt comes first and differs by model, so that two models split the same people independently.
"""

from __future__ import annotations

from collections.abc import Iterable

import mmh3

BUCKETS = 10_000
"""Weights count buckets: 1/10000 of the keys each."""

SQL = f"bitShiftRight(toUInt64(murmurHash3_32(concat({{salt}}, {{key}}))) * {BUCKETS}, 32)"
"""The same in ClickHouse's SQL; `salt` and `key` are expressions of it."""


def bucket(salt: str, key: str) -> int:
    """The bucket of a key, 0 to 9999."""
    return (mmh3.hash(f"{salt}{key}".encode(), signed=False) * BUCKETS) >> 32


def owner(weights: Iterable[int], at: int) -> int:
    """Index of the weight whose range holds bucket `at`, for weights that add up to 10000.

    Ranges lie side by side in the order given. The first starts at 0 whatever it weighs, so when
    the first weight grows, buckets only join it.
    """
    end = 0
    for index, weight in enumerate(weights):
        end += weight
        if at < end:
            return index
    raise ValueError(f"weights add up to {end}, expected {BUCKETS}")
