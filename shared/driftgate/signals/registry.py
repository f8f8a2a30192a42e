"""All signals, by what a monitor's `value` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftgate.errors import nearest
from driftgate.signals.answer import Reference
from driftgate.signals.inputs import INPUT, feature, feature_sides
from driftgate.signals.operation import OPERATION
from driftgate.signals.output import OUTPUT
from driftgate.signals.quality import QUALITY
from driftgate.signals.reviewers import REVIEWERS
from driftgate.signals.signal import About, AnySignal

if TYPE_CHECKING:
    from driftgate.tasks.port import Task

GROUPS: tuple[tuple[AnySignal, ...], ...] = (QUALITY, REVIEWERS, OUTPUT, INPUT, OPERATION)
SIGNALS: dict[str, AnySignal] = {signal.name: signal for group in GROUPS for signal in group}
"""Of every kind of task."""


def known(task: Task) -> dict[str, tuple[AnySignal, ...]]:
    """What each `value` that monitors of a task may name watches, besides features."""
    return {**task.signals, **{value: (signal,) for value, signal in SIGNALS.items()}}


def streams(
    value: str, task: Task, reference: Reference | None = None, *, both_sides: bool = False
) -> tuple[AnySignal, ...]:
    """What a monitor's `value` watches: any that is not known is the name of a feature.

    Args:
        reference: of a version, which tells the streams that are not known before it is measured.
        both_sides: of a feature: high ones and low ones.
    """
    found = known(task).get(value)
    if found is None:
        found = feature_sides(value) if both_sides else (feature(value),)
    return tuple(signal.resolved(reference or {}) for signal in found)


def mistaken(value: str, about: About, task: Task) -> str | None:
    """What is wrong with a monitor's `value` under its `signal`, in words; None: nothing."""
    (signal, *_), all_known = streams(value, task), known(task)
    if signal.about == about:
        return None
    if value in all_known:
        return f"value {value!r} is of signal {signal.about}, not {about}"
    valid = [name for name, (each, *_) in all_known.items() if each.about == about]
    return f"value {value!r} is none of signal {about}: {nearest(value, valid)}"
