"""What monitors compare with: means of bounded signals, measured on a version's held-out cases.

The evaluator measures a reference with the very function by which the drift-detector reads live
answers, so the two can only differ where the world does. A signal is a number in 0..1:

    error            1 when the answer is known to be wrong
    share:LABEL      1 when the answer is LABEL
    low_confidence   1 when the confidence lies in the reference's lowest fifth
    low_similarity   1 when the text is as unlike what was learned as the reference's last tenth
    FEATURE          1 when the feature lies in the reference's highest tenth
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftgate.model_repo import ALL

LOW_CONFIDENCE = 0.2
LOW_SIMILARITY = 0.1
HIGH_FEATURE = 0.9

Reference = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as far as monitors look at it. `error` is None while nobody knows."""

    output: str
    confidence: float | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    error: float | None = None

    def inside(self, slice_name: str) -> bool:
        """Whether it belongs to a slice, `all` or `name=value`."""
        name, _, value = slice_name.partition("=")
        return slice_name == ALL or self.slices.get(name) == value


def measure(answers: Sequence[Answer], slices: Iterable[str], labels: Iterable[str]) -> Reference:
    """Means and counts of every signal in every slice, and the cuts that define the tails.

    Keys: `cut|VALUE`; `SIGNAL|SLICE`, the mean; `n|SIGNAL|SLICE`, the cases behind it.
    """
    reference: dict[str, float] = {}
    for value, share in (("low_confidence", LOW_CONFIDENCE), ("low_similarity", LOW_SIMILARITY)):
        numbers = [x for x in (number(answer, value) for answer in answers) if x is not None]
        if numbers:
            reference[f"cut|{value}"] = float(np.quantile(numbers, share))
    for name in sorted({name for answer in answers for name in answer.features}):
        numbers = [a.features[name] for a in answers if name in a.features]
        reference[f"cut|{name}"] = float(np.quantile(numbers, HIGH_FEATURE))
    values = ["error", "share", *(key.removeprefix("cut|") for key in reference)]
    for slice_name in slices:
        inside = [answer for answer in answers if answer.inside(slice_name)]
        sums: dict[str, list[float]] = {f"share:{label}": [] for label in labels}
        for answer in inside:
            for value in values:
                for signal, x in signals(value, answer, reference, labels):
                    sums.setdefault(signal, []).append(x)
        for signal, xs in sums.items():
            reference[f"{signal}|{slice_name}"] = float(np.mean(xs)) if xs else 0.0
            reference[f"n|{signal}|{slice_name}"] = float(len(xs))
    return reference


def signals(
    value: str, answer: Answer, reference: Reference, labels: Iterable[str]
) -> Iterator[tuple[str, float]]:
    """The signals that one answer gives for a monitor's `value`: none when it does not tell."""
    if value == "error":
        if answer.error is not None:
            yield "error", answer.error
    elif value == "share":
        for label in labels:
            yield f"share:{label}", float(answer.output == label)
    else:
        x, cut = number(answer, value), reference.get(f"cut|{value}")
        if x is not None and cut is not None:
            low = value in {"low_confidence", "low_similarity"}
            yield value, float(x < cut if low else x > cut)


def number(answer: Answer, value: str) -> float | None:
    """The number behind a tail signal."""
    if value == "low_confidence":
        return answer.confidence
    return answer.features.get("similarity" if value == "low_similarity" else value)
