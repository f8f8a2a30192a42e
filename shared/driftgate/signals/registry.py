"""All signals, by what a monitor's `value` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftgate.signals.signal import AnySignal, Signal, Tail

if TYPE_CHECKING:
    from driftgate.tasks.port import Task


def feature(name: str) -> Signal:
    """A number about the input that is logged with each answer."""
    return Signal(name, "input", lambda answer: answer.features.get(name), Tail("above", 0.9))


SIGNALS: dict[str, AnySignal] = {
    signal.name: signal
    for signal in (
        Signal("error", "quality", lambda answer: answer.error),
        Signal(
            "low_confidence", "output", lambda answer: answer.confidence, tail=Tail("below", 0.2)
        ),
        Signal(
            "low_similarity",
            "input",
            lambda answer: answer.features.get("similarity"),
            tail=Tail("below", 0.1),
        ),
    )
}
"""Of every kind of task."""


def known(task: Task) -> dict[str, tuple[AnySignal, ...]]:
    """What each `value` that monitors of a task may name watches, besides features."""
    return {**task.signals, **{value: (signal,) for value, signal in SIGNALS.items()}}


def streams(value: str, task: Task) -> tuple[AnySignal, ...]:
    """What a monitor's `value` watches: any that is not known is the name of a feature."""
    return known(task).get(value) or (feature(value),)
