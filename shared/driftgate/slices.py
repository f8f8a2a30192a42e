"""Named parts of traffic: `all`, or those whose slice `name` has a value, `name=value`."""

from __future__ import annotations

from collections.abc import Mapping

ALL = "all"


def inside(slices: Mapping[str, str], wanted: str) -> bool:
    """Whether what has these slices belongs to the one that is wanted."""
    name, _, value = wanted.partition("=")
    return wanted == ALL or slices.get(name) == value
