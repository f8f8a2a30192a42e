"""Signals of what is asked, and features: numbers about it that are logged under a name."""

from __future__ import annotations

from dataclasses import replace

from driftgate.signals.answer import SIMILARITY, Answer
from driftgate.signals.shares import Shares
from driftgate.signals.signal import Signal, Tail

LOW, HIGH = Tail("below", 0.1), Tail("above", 0.9)


def feature(name: str) -> Signal:
    """How often a feature is high."""
    return Signal(name, "input", lambda answer: answer.features.get(name), HIGH, both_sides=True)


def feature_sides(name: str) -> tuple[Signal, Signal]:
    """How often a feature is high, and how often it is low."""
    number = feature(name).number
    high = Signal(f"{name}:high", "input", number, HIGH)
    return high, replace(high, name=f"{name}:low", tail=LOW)


def new_words(answer: Answer) -> float | None:
    share = answer.features.get("new_words")
    return share if share is not None and 0 <= share <= 1 else None


INPUT = (
    Signal(
        "low_similarity",
        "input",
        lambda answer: answer.features.get(SIMILARITY),
        LOW,
        bad="unlike the training data",
    ),
    Signal("new_words", "input", new_words),
    Shares("language", "input", lambda answer: answer.slices.get("language")),
)
