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


def measure(answers: Sequence[Answer], slices: Iterable[str], task: Task) -> Reference:
    """Means and counts of every signal in every slice, and the cuts that define the tails.

    Keys: `cut|VALUE`; `SIGNAL|SLICE`, the mean; `n|SIGNAL|SLICE`, the cases behind it.
    """
    features = sorted({name for answer in answers for name in answer.features})
    watched = [signal for streams in signals.known(task).values() for signal in streams]
    watched += [signals.feature(name) for name in features]
    reference = cuts(answers, watched)
    for slice_name in slices:
        inside = [answer for answer in answers if answer.inside(slice_name)]
        for signal in watched:
            told = [signal.told(answer, reference) for answer in inside]
            numbers = [x for x in told if x is not None]
            if numbers:
                reference[f"{signal.name}|{slice_name}"] = float(np.mean(numbers))
                reference[f"n|{signal.name}|{slice_name}"] = float(len(numbers))
    return reference


def cuts(answers: Sequence[Answer], watched: Iterable[Signal]) -> dict[str, float]:
    """Where the tails begin."""
    found = {}
    for signal in watched:
        numbers = [x for x in map(signal.number, answers) if x is not None]
        if signal.tail is not None and numbers:
            found[signal.cut] = float(np.quantile(numbers, signal.tail.quantile))
    return found
