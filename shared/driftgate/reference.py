"""What monitors compare with: means of signals, measured on a version's held-out cases.

The evaluator measures a reference with the very function by which the drift-detector reads live
answers, so the two can only differ where the world does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from driftgate import signals
from driftgate.signals import Answer, Reference
from driftgate.tasks import Task


def measure(
    answers: Sequence[Answer],
    slices: Iterable[str],
    task: Task,
    weights: Sequence[float] | None = None,
) -> Reference:
    """Means and counts of every signal in every slice, and the cuts that define the tails.

    Keys: `cut|SIGNAL`; `STREAM|SLICE`, the mean; `n|STREAM|SLICE`, the cases behind it: of weighted
    ones as many of equal weight as tell as much (Kish).

    Args:
        weights: of the answers; all alike when left out.
    """
    weighted = list(zip(answers, [1.0] * len(answers) if weights is None else weights, strict=True))
    features = sorted({name for answer in answers for name in answer.features})
    watched = [signal for each in signals.known(task).values() for signal in each]
    watched += [signals.feature(name) for name in features]
    reference = {key: x for signal in watched for key, x in signal.fitted(weighted).items()}
    for slice_name in slices:
        inside = [(answer, w) for answer, w in weighted if answer.inside(slice_name)]
        told: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for signal in watched:
            for answer, weight in inside:
                for stream, x in signal.numbers(answer, reference):
                    told[stream].append((x, weight))
        for stream, numbers in told.items():
            x, w = np.array(numbers).T
            reference[f"{stream}|{slice_name}"] = float(np.average(x, weights=w))
            reference[f"n|{stream}|{slice_name}"] = float(w.sum() ** 2 / (w**2).sum())
    return reference
