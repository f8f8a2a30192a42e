"""What feedback answers get: on which of them, when, and how wrong it is. Pure and seeded.

Every choice follows from the request's id alone, so the same request gets the same feedback in
every run, whatever was answered to the others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, HOUR_MS, Feedback

LEAST_DELAY_MS = 60_000
# Feedback of one day arrives so much out of order.
DISORDER_MS = 6 * HOUR_MS


@dataclass(frozen=True, slots=True)
class FeedbackProfile:
    """Which answers get feedback, and how good it is.

    Attributes:
        share: of answers that get feedback, 0..1.
        delay_hours: mean of the exponential delay.
        longest_days: no feedback comes later than this.
        wrong: share of feedback that names a wrong label, 0..1.
        praise: share of right answers' feedback that is a rating, not a label, 0..1.
    """

    share: float = 0.6
    delay_hours: float = 18.0
    longest_days: float = 10.0
    wrong: float = 0.03
    praise: float = 0.5

    def __post_init__(self) -> None:
        """Raises: BadConfig."""
        for name in ("share", "wrong", "praise"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadConfig(f"feedback: {name} is {getattr(self, name):g}, expected 0 to 1")
        for name in ("delay_hours", "longest_days"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadConfig(f"feedback: {name} is {getattr(self, name):g}, expected above 0")


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """A request that was answered.

    Attributes:
        day: on which it was asked, counted from 0; time: when, ms.
        truth: its label in the world; output: the label that the router answered.
        version: that answered.
    """

    request_id: str
    day: int
    time: int
    truth: str
    output: str
    version: int

    @property
    def right(self) -> bool:
        return self.output == self.truth


def feedback_on(
    request: AnsweredRequest, model: str, labels: Sequence[str], profile: FeedbackProfile, seed: int
) -> Feedback | None:
    """The feedback that a request will get, or None."""
    rng = random.Random(f"{seed}/{request.request_id}")
    if rng.random() >= profile.share:
        return None
    delay = min(rng.expovariate(1 / profile.delay_hours) * HOUR_MS, profile.longest_days * DAY_MS)
    mistaken = rng.random() < profile.wrong
    praises = rng.random() < profile.praise
    other = rng.choice([label for label in labels if label != request.truth])
    label = other if mistaken else request.truth
    rating = label == request.output and praises
    return Feedback(
        feedback_id=f"f-{request.request_id}",
        request_id=request.request_id,
        model=model,
        kind="rating" if rating else "correction",
        rating=1.0 if rating else None,
        label=None if rating else label,
        time=request.time + LEAST_DELAY_MS + int(delay),
    )


def arrival_order(due: Sequence[Feedback], seed: int) -> list[Feedback]:
    """A day's feedback as it arrives."""
    rng = random.Random(seed)
    return sorted(due, key=lambda feedback: feedback.time + rng.random() * DISORDER_MS)
