"""Statistics of shares: so many of so many."""

from __future__ import annotations

from scipy import stats


def wilson(right: int, cases: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927, https://doi.org/10.2307/2276774)."""
    if cases == 0:
        return 0.0, 1.0
    found = stats.binomtest(right, cases).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
