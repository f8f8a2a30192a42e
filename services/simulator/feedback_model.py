"""What users make of answers: on which of them they say something, when, and how wrong it is. Pure.

Every choice follows from the seed and from the request itself, so the same answer to the same
request gets the same feedback in every run, whatever was answered to the others and in whatever
order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, HOUR_MS, Feedback
from services.simulator.kinds import Kind

LEAST_DELAY_MS = 60_000
# Feedback arrives up to so long after it was given, and so out of order.
DISORDER_MS = 6 * HOUR_MS
# Of those who change their mind, so many take their word back; the others give a second one.
RETRACTED = 0.5
LOUD = "loud-"


@dataclass(frozen=True, slots=True)
class FeedbackProfile:
    """Which answers get feedback, and how good it is.

    Attributes:
        share: of wrong answers that get feedback, 0..1.
        share_right: of right ones; None: as many.
        delay_hours: mean of the exponential delay.
        longest_days: nobody gives a first word later than this.
        wrong: share of words that are mistaken, 0..1.
        praise: share of the words for an answer that are a rating, not its label, 0..1.
        changed: share of words that are followed by a second one, or taken back, 0..1.
        thumbs: whether words are ratings alone, up or down, and name no label.
        people: number of loud people, who write much and say what they think; 0: all are alike.
        loud_share: of the others' requests that are written by loud people, 0..1.
        others: willingness of the others, as a part of that of the loud, 0..1.
        name: for people, and what makes the choices of two profiles independent.
    """

    share: float = 0.6
    share_right: float | None = None
    delay_hours: float = 18.0
    longest_days: float = 10.0
    wrong: float = 0.03
    praise: float = 0.0
    changed: float = 0.03
    thumbs: bool = False
    people: int = 0
    loud_share: float = 0.5
    others: float = 0.03
    name: str = "labels"

    def __post_init__(self) -> None:
        """Raises: BadConfig."""
        for name in ("share", "share_right", "wrong", "praise", "changed", "loud_share", "others"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise BadConfig(f"feedback {self.name}: {name} is {value:g}, expected 0 to 1")
        for name in ("delay_hours", "longest_days"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise BadConfig(f"feedback {self.name}: {name} is {value:g}, expected above 0")
        if self.people < 0 or self.people != int(self.people):
            raise BadConfig(
                f"feedback {self.name}: people is {self.people:g}, expected a whole number"
            )

    @property
    def of_right(self) -> float:
        """Share of right answers that get feedback."""
        return self.share if self.share_right is None else self.share_right

    def chance(self, right: bool, subject: str) -> float:
        """That an answer to a person gets feedback."""
        willing = self.others if self.people and not subject.startswith(LOUD) else 1.0
        return willing * (self.of_right if right else self.share)

    def mean_share(self, accuracy: float) -> float:
        """Share of all answers that get feedback, where so many are right."""
        loud = self.loud_share + (1 - self.loud_share) * self.others if self.people else 1.0
        return loud * (accuracy * self.of_right + (1 - accuracy) * self.share)

    @property
    def words(self) -> str:
        """For people."""
        alike = self.of_right == self.share
        right = "" if alike else f"wrong and {self.of_right:.0%} of right "
        ratings = "ratings" if self.thumbs else "feedback"
        few = f", nearly all of it by {self.people:g} people" if self.people else ""
        return (
            f"{self.name}: {ratings} on {self.share:.0%} of {right}answers{few}, after "
            f"{self.delay_hours:g} h on average, {self.wrong:.0%} wrong"
        )


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """A request that was answered.

    Attributes:
        day: on which it was asked, counted from 0; time: when, ms.
        truth: what is right in the world; output: what the router answered; right: whether that
            is as good.
        version: that answered.
        subject: who asked.
    """

    request_id: str
    day: int
    time: int
    truth: str
    output: str
    right: bool
    version: int
    subject: str = ""


def feedback_on(
    request: AnsweredRequest, model: str, kind: Kind, profile: FeedbackProfile, seed: int
) -> list[Feedback]:
    """All that users will say of an answer, in the order of time; mostly nothing."""
    rng = random.Random(f"{seed}/{profile.name}/{request.request_id}")
    if rng.random() >= profile.chance(request.right, request.subject):
        return []
    name = f"{profile.name}-{request.request_id}"
    time = request.time + delay_ms(rng, profile.delay_hours, profile.longest_days)
    first = word(request, model, kind, profile, rng, name, time)
    if rng.random() >= profile.changed:
        return [first]
    later = time + delay_ms(rng, profile.delay_hours, profile.longest_days)
    if rng.random() >= RETRACTED:
        return [first, word(request, model, kind, profile, rng, f"{name}-again", later)]
    taken_back = Feedback(
        feedback_id=f"{name}-retracted",
        request_id=request.request_id,
        model=model,
        kind="retraction",
        retracts=name,
        time=later,
    )
    return [first, taken_back]


def word(
    request: AnsweredRequest,
    model: str,
    kind: Kind,
    profile: FeedbackProfile,
    rng: random.Random,
    feedback_id: str,
    time: int,
) -> Feedback:
    """One word on an answer. Who says nothing to right answers, mistakes none for right."""
    mistaken = rng.random() < profile.wrong
    praises = rng.random() < profile.praise
    never = () if profile.of_right else (request.output,)
    target = kind.corrected(rng, request.truth, mistaken, never)
    rating = None
    if profile.thumbs:
        rating = float(request.right is not mistaken)
    elif praises and kind.right(request.output, target):
        rating = 1.0
    return Feedback(
        feedback_id=feedback_id,
        request_id=request.request_id,
        model=model,
        kind=kind.correction if rating is None else "rating",
        rating=rating,
        time=time,
        **(kind.said(target) if rating is None else {}),
    )


def delay_ms(rng: random.Random, mean_hours: float, longest_days: float) -> int:
    """An exponential delay, at the longest so many days."""
    delay = LEAST_DELAY_MS + rng.expovariate(1 / mean_hours) * HOUR_MS
    return int(min(delay, longest_days * DAY_MS))


def arrival(feedback: Feedback) -> int:
    """When feedback is on the bus, ms."""
    return feedback.time + int(random.Random(feedback.feedback_id).random() * DISORDER_MS)


def asker(person: str, request_id: str, profiles: Sequence[FeedbackProfile], seed: int) -> str:
    """Who writes a request of a person of the world, empty where nobody is known: where few are
    loud, one of them in that person's place, by Zipf's law of their activity.

    In the shipped world the 50 people who write most write 3 % of the requests. Few people can give
    nearly all of the feedback only where they get a good part of the answers.
    """
    loud = next((profile for profile in profiles if profile.people), None)
    if loud is None:
        return person
    rng = random.Random(f"{seed}/asker/{person or request_id}")
    if rng.random() >= loud.loud_share:
        return person
    people = int(loud.people)
    (rank,) = rng.choices(range(1, people + 1), cum_weights=zipf(people))
    return f"{LOUD}{rank:02d}"


@cache
def zipf(people: int) -> list[float]:
    """Cumulated weights of ranks 1, 2, 3 …, each one part of its rank."""
    return list(accumulate(1 / rank for rank in range(1, people + 1)))
