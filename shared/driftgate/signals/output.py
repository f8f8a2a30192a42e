"""Signals of what is answered, beside those of the kind of task."""

from __future__ import annotations

from driftgate.signals.estimate import EstimatedError
from driftgate.signals.signal import Signal, Tail

OUTPUT = (
    Signal(
        "low_confidence",
        "output",
        lambda answer: answer.confidence,
        Tail("below", 0.2),
        bad="unsure",
    ),
    EstimatedError(),
)
