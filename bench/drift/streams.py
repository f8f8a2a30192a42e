"""Streams of answers on which drift detectors are tried: 1 is wrong, 0 is right. Seeded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint8]
Floats = NDArray[np.float64]
Rate = Callable[[Floats], Floats]
"""How often answers are wrong, by how many came before."""

GOOD, BAD = 0.10, 0.20
HORIZON = 10_000
SLIDE = 10_000
TURN = 5_000
SEED = 20_262


@dataclass(frozen=True, slots=True)
class Worsening:
    """Streams that become worse.

    Attributes:
        numbers: [runs, answers].
        change: how many answers come before.
    """

    numbers: Numbers
    change: int

    @property
    def horizon(self) -> int:
        """Answers from the change on: what a miss counts as."""
        return self.numbers.shape[1] - self.change

    def first(self, runs: int) -> Worsening:
        return Worsening(self.numbers[:runs], self.change)


def step(runs: int, before: int, bad: float = BAD) -> Worsening:
    """From one answer to the next."""
    rates = np.concatenate([np.full(before, GOOD), np.full(HORIZON, bad)])
    return Worsening(drawn(rates, runs, before), before)


def slide(runs: int, before: int = TURN) -> Worsening:
    """Evenly over `SLIDE` answers."""
    falling = np.linspace(GOOD, BAD, SLIDE)
    rates = np.concatenate([np.full(before, GOOD), falling, np.full(HORIZON // 2, BAD)])
    return Worsening(drawn(rates, runs, SLIDE), before)


def drawn(rates: Floats, runs: int, seed: int) -> Numbers:
    rng = np.random.default_rng([SEED, seed])
    return (rng.random((runs, len(rates)), np.float32) < rates).astype(np.uint8)


def wobble(period: int) -> Rate:
    """Between .07 and .13, as a sine."""
    return lambda at: GOOD + 0.03 * np.sin(2 * np.pi * at / period)


HARMLESS: Mapping[str, Rate] = {
    "control": lambda at: np.full_like(at, GOOD),
    "wobble": wobble(500),
    "improvement": lambda at: np.where(at // TURN % 2 == 0, GOOD, GOOD / 2),
}


def steady(rate: Rate, events: int) -> Numbers:
    """One stream [1, events] in which nothing happens that anybody need know of."""
    return drawn(rate(np.arange(events, dtype=float)), 1, events)
