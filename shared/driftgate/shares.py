"""Statistics of shares: so many of so many."""

from __future__ import annotations

import math

Z95 = 1.959963984540054


def wilson(right: float, cases: float) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927, https://doi.org/10.2307/2276774). Of weighted
    cases, `cases` is as many of equal weight as tell as much."""
    if cases <= 0:
        return 0.0, 1.0
    share, spread = right / cases, Z95**2 / cases
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
