"""What monitors can watch. A signal is one entry here; those that hang on the kind of task, such as
the share of each label, are the task's (`driftgate.tasks`).

Each turns an answer into a number between 0 and 1, and a monitor watches the mean:

    error            1 when the answer is known to be wrong
    low_confidence   1 when the confidence lies in the reference's lowest fifth
    low_similarity   1 when the text is as unlike what was learned as the reference's last tenth
    FEATURE          1 when the feature lies in the reference's highest tenth

The evaluator measures the reference on held-out cases by the same functions by which the
drift-detector reads live answers, so a signal may use what both know of an answer. Of which answers
quality is told, and whether silence counts, follows from the model's feedback profile, and so does
the reference (`driftgate.drift.quality`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from driftgate.slices import inside

if TYPE_CHECKING:
    from driftgate.tasks.port import Task

TOLERANCE = 0.05

LOGPROB = "logprob"
"""The feature of a written answer that holds the mean log-probability of its tokens."""

Reference = Mapping[str, float]
"""What a version's held-out cases measured; see `driftgate.reference`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as far as monitors look at it.

    Attributes:
        error: 1 where it was wrong; None while nobody knows.
        rating: from 0 to 1; None where nobody gave one.
        edit_distance: of what should have been answered, from 0 to 1; None where nobody wrote that.
    """

    output: str
    confidence: float | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    error: float | None = None
    rating: float | None = None
    edit_distance: float | None = None

    def inside(self, slice_name: str) -> bool:
        """Whether it belongs to a slice, `all` or `name=value`."""
        return inside(self.slices, slice_name)


@dataclass(frozen=True, slots=True)
class Tail:
    """The numbers below, or above, a quantile of the reference's."""

    side: Literal["below", "above"]
    quantile: float

    def holds(self, x: float, cut: float) -> bool:
        """Whether a number lies in the tail that begins at `cut`."""
        return x < cut if self.side == "below" else x > cut


@dataclass(frozen=True, slots=True)
class Signal:
    """One stream of numbers.

    Attributes:
        name: in references and alerts; `VALUE:PART` where a monitor's `value` has several streams.
        about: which `signal` monitors name it under. Quality is told by outcomes, the others by
            answers.
        number: what an answer says; None: nothing. Without a tail it lies between 0 and 1.
        tail: what is watched is how often the number lies there.
        tolerance: of monitors that name none.
    """

    name: str
    about: Literal["quality", "output", "input"]
    number: Callable[[Answer], float | None]
    tail: Tail | None = None
    tolerance: float = TOLERANCE

    @property
    def cut(self) -> str:
        """The reference's key for where the tail begins."""
        return f"cut|{self.name}"

    def told(self, answer: Answer, reference: Reference) -> float | None:
        """The number between 0 and 1 that is watched; None where the answer does not tell, or the
        reference has no tail."""
        x = self.number(answer)
        if x is None or self.tail is None:
            return x
        cut = reference.get(self.cut)
        return None if cut is None else float(self.tail.holds(x, cut))


def feature(name: str) -> Signal:
    """A number about the input that is logged with each answer."""
    return Signal(name, "input", lambda answer: answer.features.get(name), Tail("above", 0.9))


SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        Signal("error", "quality", lambda answer: answer.error),
        Signal(
            "low_confidence", "output", lambda answer: answer.confidence, tail=Tail("below", 0.2)
        ),
        Signal(
            "low_similarity",
            "input",
            lambda answer: answer.features.get("similarity"),
            tail=Tail("below", 0.1),
        ),
    )
}
"""Of every kind of task, by what a monitor's `value` says."""


def known(task: Task) -> dict[str, tuple[Signal, ...]]:
    """The streams of each `value` that monitors of a task may name, besides features."""
    return {**task.signals, **{value: (signal,) for value, signal in SIGNALS.items()}}


def streams(value: str, task: Task) -> tuple[Signal, ...]:
    """The streams of a monitor's `value`: any that is not known is the name of a feature."""
    return known(task).get(value) or (feature(value),)
