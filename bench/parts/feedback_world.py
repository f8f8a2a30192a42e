"""A world of two versions whose answers get feedback as people give it, on which judges of canaries
are tried. Seeded; nothing here knows of a judge.

The champion is right on nine of ten requests, and the two disagree on 8 % where they are equally
good: in 3.5 % one alone is right, in 3.5 % the other, in 1 % both are wrong in different ways. A
challenger that is d points worse is wrong on d points of requests more, on which the champion is
right; from a moment on, if it is to go bad late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DAY = 1440.0
"""Minutes, the unit of time."""

ALONE, BOTH_WRONG_APART, RIGHT = 0.035, 0.01, 0.90


@dataclass(frozen=True, slots=True)
class Feedback:
    """Chances that an answer gets feedback. Delays are exponential, in days.

    right, wrong: of a right and of a wrong answer that was heard.
    review: of a request, whatever was answered.
    """

    name: str
    right: float = 0.0
    wrong: float = 0.0
    review: float = 0.0
    delay: float = 0.75
    longest: float = 10.0


PROFILES = {
    "labels": Feedback("labels", 0.6, 0.6),
    "complaints": Feedback("complaints", 0.2, 0.6),
    "corrections": Feedback("corrections", 0.0, 0.6),
    "thumbs": Feedback("thumbs", 0.1, 0.1),
    "review": Feedback("review", review=0.03),
    "complaints of a fifth": Feedback("complaints", 0.03, 0.2),
    "complaints of a tenth": Feedback("complaints", 0.02, 0.1),
    "thumbs of the happy": Feedback("thumbs", 0.1, 0.03),
}
"""As people give it, by title; what is declared is the name."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is varied.

    Attributes:
        worse: how much less often the challenger is right, 0 to 1; after: from which day on.
        people: nobody asks twice where 0; else so many, of unequal weight, each of whom meets
            disagreements of one direction alone.
        drifts: the champion's accuracy goes from 97 to 80 % and back, and feedback grows and
            shrinks with it.
    """

    profile: Feedback
    worse: float = 0.0
    after: float = 0.0
    people: int = 0
    drifts: bool = False
    per_day: float = 200.0
    days: float = 30.0

    def with_(self, **changes: Any) -> Setting:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Answers:
    """Requests in the order of time, a value each.

    Attributes:
        time: minutes. key: who asks. ticket: uniform by key; the challenger is heard below its
            share of traffic.
        old_right, new_right, differ: of the two answers.
        said_if_right, said_if_wrong: whether feedback comes if the heard answer is so.
        reviewed: whether the review sample draws it. told: when what is said of it is known.
        alone: nobody asks twice. reviewed_only: users say nothing.
    """

    time: Floats
    key: npt.NDArray[np.int64]
    ticket: Floats
    old_right: Bools
    new_right: Bools
    differ: Bools
    said_if_right: Bools
    said_if_wrong: Bools
    reviewed: Bools
    told: Floats
    alone: bool
    reviewed_only: bool


def answers(setting: Setting, rng: np.random.Generator) -> Answers:
    """All requests of one repetition."""
    count = rng.poisson(setting.per_day * setting.days)
    time = np.sort(rng.uniform(0, setting.days * DAY, count))
    phase = np.sin(time / DAY * 2 * np.pi / 14) if setting.drifts else np.zeros(count)
    accuracy = RIGHT + (0.07 * phase - 0.015 * (phase < 0) if setting.drifts else 0.0)
    if setting.people:
        weights = 1.0 / np.arange(1, setting.people + 1)
        key = rng.choice(setting.people, count, p=weights / weights.sum())
        keys = setting.people
    else:
        key, keys = np.arange(count), count
    draw = rng.uniform(size=count)
    only_old = np.where(time >= setting.after * DAY, ALONE + setting.worse, ALONE)
    only_new = ALONE
    alone = draw < only_old + only_new
    if setting.people:  # each meets one direction
        direction = rng.uniform(size=keys)[key]
        loses = alone & (direction < only_old / (only_old + only_new))
    else:
        loses = draw < only_old
    wins = alone & ~loses
    apart = ~alone & (draw < only_old + only_new + BOTH_WRONG_APART)
    rest = 1 - only_old - only_new - BOTH_WRONG_APART
    both_right = np.clip((accuracy - only_old) / rest, 0, 1)
    same_right = ~alone & ~apart & (rng.uniform(size=count) < both_right)
    profile = setting.profile
    busy = 1 + 0.5 * phase if setting.drifts else np.ones(count)
    says = rng.uniform(size=count)
    delay = np.minimum(rng.exponential(profile.delay, count), profile.longest)
    return Answers(
        time=time,
        key=key,
        ticket=rng.uniform(size=keys)[key],
        old_right=loses | same_right,
        new_right=wins | same_right,
        differ=alone | apart,
        said_if_right=says < profile.right * busy,
        said_if_wrong=says < profile.wrong * busy,
        reviewed=rng.uniform(size=count) < profile.review,
        told=time + delay * DAY,
        alone=not setting.people,
        reviewed_only=bool(profile.review),
    )
