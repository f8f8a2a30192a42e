"""Signals of quality: what people say of an answer. Those of the edits of texts are of their kind
of task (`driftgate.tasks.text_generation`)."""

from __future__ import annotations

from driftgate.signals.answer import NEUTRAL_RATING, Answer
from driftgate.signals.signal import Signal, Tail


def thumbs_down(answer: Answer) -> float | None:
    return None if answer.rating is None else float(answer.rating < NEUTRAL_RATING)


CONFIDENT = Signal("confident", "output", lambda answer: answer.confidence, Tail("from", 0.8))

QUALITY = (
    Signal("error", "quality", lambda answer: answer.error, bad="wrong"),
    Signal("thumbs_down", "quality", thumbs_down, live=True, bad="down-rated"),
    Signal(
        "calibration",
        "quality",
        lambda answer: answer.error,
        among=CONFIDENT,
        bad="confidently wrong",
    ),
)
