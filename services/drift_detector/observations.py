"""What monitors see in an event on topic `inferences` or `outcomes`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from driftgate.bus import Position
from driftgate.events import Inference, Outcome
from driftgate.signals import Answer


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer or outcome. `kind` tells which monitors: answers come from topic `inferences`,
    outcomes from `outcomes`. `origin` and `offset` say where it lay."""

    kind: Literal["answer", "outcome"]
    request_id: str
    version: int
    time: int
    answer: Answer
    origin: str
    offset: int

    @property
    def order(self) -> tuple[int, str, str, int]:
        return self.time, self.kind, self.request_id, self.offset

    @property
    def identity(self) -> str:
        """A request counts once as an answer, and once as an outcome."""
        return f"{self.kind}:{self.request_id}"

    def before(self, cut: Mapping[str, int]) -> bool:
        """Whether it lies before a tick's positions, or they say nothing of its origin."""
        return self.offset < cut.get(self.origin, self.offset + 1)


def of_inference(event: Inference, place: tuple[Position, int]) -> Observation | None:
    """An answer that the app got; None for a shadow's, and for one with a number that is not
    finite, which ingest-logger refuses with a dead letter."""
    numbers = (event.confidence or 0.0, *event.features.values())
    if event.role != "live" or not all(map(math.isfinite, numbers)):
        return None
    answer = Answer(event.output, event.confidence, event.features, event.slices)
    return Observation(
        "answer",
        event.request_id,
        event.version,
        event.time,
        answer,
        named(place[0]),
        place[1],
    )


def of_outcome(event: Outcome, place: tuple[Position, int]) -> Observation | None:
    """A live answer of which it is now known whether it was right; None while it is not."""
    if event.was_correct is None:
        return None
    error = float(not event.was_correct)
    return Observation(
        "outcome",
        event.request_id,
        event.version,
        event.time,
        Answer(event.output, slices=event.slices, error=error),
        named(place[0]),
        place[1],
    )


@lru_cache(maxsize=1024)
def named(position: Position) -> str:
    """A partition's name, made once: thousands of observations hold it."""
    return str(position)
