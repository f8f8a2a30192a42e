"""What monitors see in a record of topic `inferences` or `outcomes`."""

from __future__ import annotations

import math

from driftgate.bus import Record
from driftgate.events import Event
from driftgate.reference import Answer
from services.drift_detector.monitoring import Observation


def from_inference(record: Record, event: Event) -> Observation | None:
    """An answer that the app got; None for a shadow's, and for one with a number that is not
    finite, which ingest-logger refuses with a dead letter."""
    numbers = (event["confidence"] or 0.0, *event["features"].values())
    if event["role"] != "live" or not all(map(math.isfinite, numbers)):
        return None
    answer = Answer(event["output"], event["confidence"], event["features"], event["slices"])
    return Observation(
        "answer",
        event["request_id"],
        event["model"],
        event["version"],
        event["time"],
        answer,
        str(record.position),
        record.offset,
    )


def from_outcome(record: Record, event: Event) -> Observation | None:
    """A live answer of which it is now known whether it was right; None while it is not."""
    if event["was_correct"] is None:
        return None
    error = float(not event["was_correct"])
    return Observation(
        "outcome",
        event["request_id"],
        event["model"],
        event["version"],
        event["time"],
        Answer(event["output"], slices=event["slices"], error=error),
        str(record.position),
        record.offset,
    )
