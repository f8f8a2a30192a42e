"""What monitors see in an event on topic `inferences` or `outcomes`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from driftgate.bus import Position
from driftgate.events import Inference, Outcome
from driftgate.latest_word import RETRACTION, is_word
from driftgate.signals import LOGPROB, Answer

NEITHER = 0.5


@dataclass(frozen=True, slots=True)
class Word:
    """What was said of an answer, as far as `driftgate.latest_word` looks at it.

    rating: 0 says that the answer was wrong, 1 that it was right, whichever way that was said;
    None in a retraction. thumb, edit_distance: the rating and the edit by themselves, as far as
    they were given.
    """

    outcome_id: str
    kind: str
    rating: float | None
    feedback_time: int
    reviewer: str | None = None
    retracts: str | None = None
    thumb: float | None = None
    edit_distance: float | None = None

    @property
    def label(self) -> None:
        return None

    @property
    def edited(self) -> None:
        return None

    @property
    def picked(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer, or one word on an answer.

    Attributes:
        kind: answer, from topic `inferences`; outcome, what users said; review, what a reviewer
            said of the random sample; pair, what two reviewers said of one request
            (`driftgate.drift.second_reviews`).
        time: when it could be known, ms.
        origin, offset: where it lay.
        word: what was said; None of an answer, and of what an older release kept.
        answered: when the answer was given, ms; 0 where that is `time`.
        taught: the label that somebody says is right, or nothing where they edited the answer; None
            where they did neither.
    """

    kind: Literal["answer", "outcome", "review", "pair"]
    request_id: str
    version: int
    time: int
    answer: Answer
    origin: str
    offset: int
    word: Word | None = None
    answered: int = 0
    taught: str | None = None

    @property
    def order(self) -> tuple[int, str, str, int]:
        return self.time, self.kind, self.request_id, self.offset

    @property
    def identity(self) -> str:
        """A request counts once as an answer, once by what users said, once by the review, once by
        two reviewers together."""
        return f"{self.kind}:{self.request_id}"

    @property
    def dated(self) -> int:
        """When the answer was given, ms: whatever people say is about that time."""
        return self.answered or self.time

    def before(self, cut: Mapping[str, int]) -> bool:
        """Whether it lies before a tick's positions, or they say nothing of its origin."""
        return self.offset < cut.get(self.origin, self.offset + 1)


def observed(event: Inference | Outcome, place: tuple[Position, int]) -> Observation | None:
    """See `of_inference` and `of_outcome`."""
    if isinstance(event, Inference):
        return of_inference(event, place)
    return of_outcome(event, place)


def of_inference(event: Inference, place: tuple[Position, int]) -> Observation | None:
    """An answer that the app got; None for a shadow's, for one that nobody waited for to its end,
    and for one with a number that is not finite, which ingest-logger refuses with a dead letter."""
    features = dict(event.features)
    if event.logprob is not None:
        features[LOGPROB] = event.logprob
    numbers = (event.confidence or 0.0, event.latency_ms, event.cost, *features.values())
    heard = event.role == "live" and event.finish_reason != "cancelled"
    if not heard or not all(map(math.isfinite, numbers)):
        return None
    answer = Answer(
        event.output,
        event.confidence,
        features,
        event.slices,
        latency_ms=event.latency_ms or None,  # 0 where nobody measured it
        cost=event.cost or None,
        finish_reason=event.finish_reason,
    )
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
    """What was said of a live answer, or taken back; None where nothing was said, and for a review
    of what was picked for its value, which says nothing of all answers."""
    says = is_word(event) or event.was_correct is not None
    if event.picked is not None or not (says or event.kind == RETRACTION):
        return None
    drawn = event.kind == "review" and event.propensity is not None
    correct = event.was_correct
    rating = None if event.kind == RETRACTION else NEITHER if correct is None else float(correct)
    error = None if correct is None else 1.0 - correct
    return Observation(
        "review" if drawn else "outcome",
        event.request_id,
        event.version,
        event.time,
        Answer(
            event.output,
            event.confidence,
            slices=event.slices,
            error=error,
            rating=event.rating,
            edit_distance=event.edit_distance,
        ),
        named(place[0]),
        place[1],
        Word(
            event.outcome_id,
            event.kind,
            rating,
            event.feedback_time,
            event.reviewer,
            event.retracts,
            event.rating,
            event.edit_distance,
        ),
        event.inference_time,
        "" if event.label is None and event.edited is not None else event.label,
    )


@lru_cache(maxsize=1024)
def named(position: Position) -> str:
    """A partition's name, made once: thousands of observations hold it."""
    return str(position)
