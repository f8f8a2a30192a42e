"""What monitors compare with: means of signals, measured on a version's held-out cases.

The evaluator measures a reference with the very function by which the drift-detector reads live
answers, so the two can only differ where the world does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from driftgate import signals
from driftgate.signals import Answer, Reference, Signal
from driftgate.tasks import Task


def measure(
    answers: Sequence[Answer],
    slices: Iterable[str],
    task: Task,
    weights: Sequence[float] | None = None,
) -> Reference:
    """Means and counts of every signal in every slice, and the cuts that define the tails.

    Keys: `cut|VALUE`; `SIGNAL|SLICE`, the mean; `n|SIGNAL|SLICE`, the cases behind it: of weighted
    ones as many of equal weight as tell as much (Kish).

    Args:
        weights: of the answers; all alike when left out.
    """
    weighted = list(zip(answers, [1.0] * len(answers) if weights is None else weights, strict=True))
    features = sorted({name for answer in answers for name in answer.features})
    watched = [signal for streams in signals.known(task).values() for signal in streams]
    watched += [signals.feature(name) for name in features]
    reference = cuts(weighted, watched)
    for slice_name in slices:
        inside = [(answer, w) for answer, w in weighted if answer.inside(slice_name)]
        for signal in watched:
            told = [(signal.told(answer, reference), w) for answer, w in inside]
            numbers = np.array([(x, w) for x, w in told if x is not None])
            if len(numbers):
                x, w = numbers.T
                reference[f"{signal.name}|{slice_name}"] = float(np.average(x, weights=w))
                reference[f"n|{signal.name}|{slice_name}"] = float(w.sum() ** 2 / (w**2).sum())
    return reference


def cuts(weighted: Iterable[tuple[Answer, float]], watched: Iterable[Signal]) -> dict[str, float]:
    """Where the tails begin."""
    found = {}
    for signal in watched:
        told = [(signal.number(answer), w) for answer, w in weighted]
        numbers = [(x, w) for x, w in told if x is not None]
        if signal.tail is not None and numbers:
            found[signal.cut] = quantile(numbers, signal.tail.quantile)
    return found


def quantile(numbers: Sequence[tuple[float, float]], share: float) -> float:
    """Of weighted numbers; as `numpy.quantile` where the weights are alike."""
    x, w = np.array(sorted(numbers)).T
    if (w == w[0]).all():
        return float(np.quantile(x, share))
    middles = (np.cumsum(w) - w / 2) / w.sum()
    return float(np.interp(share, middles, x))
