"""What people's feedback can say of the quality of all answers, by how the model's owner declares
that they answer (`driftgate.feedback_profiles`). Pure.

    told      wrong answers among those with feedback: where that hangs on no answer's quality
    heard     bad outcomes among all answers, silence counted: where it does
    reviewed  wrong answers in the random review sample
    twice     what two reviewers say differently of one request of that sample

Each is compared with its like. What held-out cases measured is the reference where feedback is as
good as drawn at random; elsewhere it is what the first answers of the version itself measured, live
and under the same profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from driftgate.model_repo import ModelYaml

Basis = Literal["answers", "told", "heard", "reviewed", "twice"]

# So many answers of a version measure its reference: of 6 % bad ones, to 1.2 points (one standard
# error), by which the bar lies higher. With half as many, luck raised one alarm in 27 simulations
# of 70 steady days (tests/unit/test_drift_feedback.py).
REFERENCE_ANSWERS = 400
# Pairs of reviews, of which a team makes few a day: of 10 % differing ones, to 3 points, by twice
# which the bar lies higher.
REFERENCE_PAIRS = 100

IN_WORDS: dict[Basis, str] = {
    "told": "{bad} answers among those with feedback",
    "heard": "bad outcomes per answer heard",
    "reviewed": "{bad} answers in the review sample",
    "twice": "{bad} pairs of reviews",
}


def in_words(basis: Basis, bad: str) -> str:
    """What the numbers of a stream are, where they are not those of answers by themselves; `bad`:
    see `AnySignal`."""
    return IN_WORDS.get(basis, "").format(bad=bad).lstrip()


@dataclass(frozen=True, slots=True)
class Source:
    """Where the numbers of a stream come from. is_live: so does its reference."""

    basis: Basis
    is_live: bool = False


def needed(basis: Basis) -> int:
    """How many numbers measure a live reference."""
    return REFERENCE_PAIRS if basis == "twice" else REFERENCE_ANSWERS


def sources(config: ModelYaml, *, by_two: bool = False) -> tuple[Source, ...]:
    """What monitors of quality watch. by_two: those of what two reviewers tell together."""
    if by_two:
        asked = config.review.share and config.review.twice
        return (Source("twice", is_live=True),) if asked else ()
    found = []
    match config.feedback.counted:
        case "pairs":
            found.append(Source("told"))
        case "told":
            found.append(Source("told", is_live=True))
        case "heard":
            found.append(Source("heard", is_live=True))
    if "review" in config.feedback.profile:
        found.append(Source("reviewed"))
    return tuple(found)


def measured_under(config: ModelYaml) -> str:
    """What must be the same for a live reference to hold on."""
    profile = ", ".join(sorted(config.feedback.profile))
    return f"{profile}; settled after {config.feedback.settled_hours:g} h"


@dataclass(frozen=True, slots=True)
class Baseline:
    """A reference that is measured on the first live answers of a version.

    Attributes:
        stream: name.
        under: the profile.
        total: of the numbers of `answers`.
        bad: see `AnySignal`.
    """

    stream: str
    basis: Basis
    under: str
    answers: int
    total: float
    bad: str = ""

    @property
    def status(self) -> tuple[str, bool]:
        """Under what it is measured, and whether it is."""
        return self.under, self.is_ready

    @property
    def is_ready(self) -> bool:
        return self.answers >= needed(self.basis)

    @property
    def mean(self) -> float:
        return self.total / max(self.answers, 1)

    @property
    def summary(self) -> str:
        what = in_words(self.basis, self.bad) or "its numbers"
        if self.is_ready:
            return (
                f"{what} were {self.mean * 100:.1f} % of the version's first "
                f"{self.answers} ({self.under}): the reference from now on"
            )
        return (
            f"{what} have no reference yet: it is measured on the version's first "
            f"{needed(self.basis)} ({self.under}), and nothing alarms before"
        )
