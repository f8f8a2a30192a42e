"""What is told of a detector: delays, with misses counted as the horizon, and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MILLION = 1e6

Alarms = Sequence[Sequence[int]]
"""Of each run, the answers after which a detector alarmed, counted from 1."""


@dataclass(frozen=True, slots=True)
class Delays:
    """p50, p95: answers from a change to the first alarm after it. early: alarms before it."""

    p50: float
    p95: float
    missed: int
    runs: int
    early: int

    @property
    def words(self) -> str:
        return f"{self.p50:,.0f} / {self.p95:,.0f}, {self.missed} of {self.runs} missed"


def delays(alarms: Alarms, change: int, horizon: int) -> Delays:
    """What the runs come to; one without an alarm after the change counts as `horizon`."""
    first = [next((at - change for at in run if at > change), None) for run in alarms]
    told = [horizon if delay is None else min(delay, horizon) for delay in first]
    p50, p95 = np.percentile(told, [50, 95], method="inverted_cdf")
    early = sum(at <= change for run in alarms for at in run)
    return Delays(float(p50), float(p95), first.count(None), len(first), early)


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    alarms: int
    events: float

    @property
    def rate(self) -> float:
        """Per million events."""
        return self.alarms / self.events * MILLION

    @property
    def at_most(self) -> float:
        """Upper 95 % bound on the rate per million events: exact, of a Poisson count (Garwood,
        1936)."""
        return float(stats.chi2.ppf(0.95, 2 * (self.alarms + 1))) / 2 / self.events * MILLION

    @property
    def words(self) -> str:
        return f"{self.alarms} in {power(self.events)}: ≤ {self.at_most:.2f} per 10⁶"


def power(number: float) -> str:
    """3·10⁷"""
    digits = len(str(round(number))) - 1
    first = f"{number / 10**digits:g}"
    exponent = str(digits).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'' if first == '1' else first + '·'}10{exponent}"
