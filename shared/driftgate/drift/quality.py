"""What people's feedback can say of the quality of all answers, by how the model's owner declares
that they answer (`driftgate.feedback_profiles`). Pure.

    told      wrong answers among those with feedback: where that hangs on no answer's quality
    heard     bad outcomes among all answers, silence counted: where it does
    reviewed  wrong answers in the random review sample

Each is compared with its like. What held-out cases measured is the reference where feedback is as
good as drawn at random; elsewhere it is what the first answers of the version itself measured, live
and under the same profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from driftgate.model_repo import ModelYaml

Basis = Literal["answers", "told", "heard", "reviewed"]

# So many answers of a version measure its reference: of 6 % bad ones, to 1.2 points (one standard
# error), by which the bar lies higher. With half as many, luck raised one alarm in 27 simulations
# of 70 steady days (tests/unit/test_drift_feedback.py).
REFERENCE_ANSWERS = 400

IN_WORDS: dict[Basis, str] = {
    "told": "wrong answers among those with feedback",
    "heard": "bad outcomes per answer heard",
    "reviewed": "wrong answers in the review sample",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the numbers of a stream come from. is_live: so does its reference."""

    basis: Basis
    is_live: bool = False


def sources(config: ModelYaml) -> tuple[Source, ...]:
    """What monitors of quality watch."""
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
    """

    stream: str
    basis: Basis
    under: str
    answers: int
    total: float

    @property
    def status(self) -> tuple[str, bool]:
        """Under what it is measured, and whether it is."""
        return self.under, self.is_ready

    @property
    def is_ready(self) -> bool:
        return self.answers >= REFERENCE_ANSWERS

    @property
    def mean(self) -> float:
        return self.total / max(self.answers, 1)

    @property
    def summary(self) -> str:
        what = IN_WORDS.get(self.basis, "its numbers")
        if self.is_ready:
            return (
                f"{what} were {self.mean * 100:.1f} % of the version's first "
                f"{self.answers} ({self.under}): the reference from now on"
            )
        return (
            f"{what} have no reference yet: it is measured on the version's first "
            f"{REFERENCE_ANSWERS} ({self.under}), and nothing alarms before"
        )
