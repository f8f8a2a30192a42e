"""What people make of answers: which are commented, when, and how wrongly. Pure and seeded.

Every choice hangs on the request's id alone, so the same request gets the same fate in every run,
whatever was answered to the others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, HOUR_MS


@dataclass(frozen=True, slots=True)
class Habits:
    """How people give feedback.

    Attributes:
        share: of answers that get feedback, 0..1.
        delay_hours: mean of the exponential delay.
        longest_days: nobody comments later than this.
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
class Answered:
    """One request that was answered."""

    request_id: str
    time: int
    truth: str
    answer: str


def feedback(
    answered: Answered, model: str, labels: Sequence[str], habits: Habits, seed: int
) -> dict[str, Any] | None:
    """The feedback event that a request will get, or None."""
    rng = random.Random(f"{seed}/{answered.request_id}")
    if rng.random() >= habits.share:
        return None
    delay = min(rng.expovariate(1 / habits.delay_hours) * HOUR_MS, habits.longest_days * DAY_MS)
    mistaken = rng.random() < habits.wrong
    praises = rng.random() < habits.praise
    other = rng.choice([label for label in labels if label != answered.truth])
    said = other if mistaken else answered.truth
    rating = said == answered.answer and praises
    return {
        "feedback_id": f"f-{answered.request_id}",
        "request_id": answered.request_id,
        "model": model,
        "kind": "rating" if rating else "correction",
        "rating": 1.0 if rating else None,
        "label": None if rating else said,
        "edited": None,
        "reason": None,
        "reviewer": None,
        "time": answered.time + 60_000 + int(delay),
    }


def sending_order(due: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """A day's feedback as it arrives: up to six hours out of order."""
    rng = random.Random(seed)
    return sorted(due, key=lambda event: event["time"] + rng.random() * 6 * HOUR_MS)
