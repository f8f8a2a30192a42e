"""What monitors compare with: means of signals, measured on a version's held-out cases.

The evaluator measures a reference with the very function by which the drift-detector reads live
answers, so the two can only differ where the world does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from driftgate import signals
from driftgate.signals import Answer, AnySignal, Reference
from driftgate.tasks import Task

# A slice value with fewer held-out cases is measured only where a monitor names it. The mean of 30
# is known to 5 points where one in ten is wrong (one standard error).
LEAST_CASES = 30
# Slice values that are measured unasked, the largest. A version's reference goes with its verdict
# in one record of at most 1 MB, of which 200 slices take about a quarter.
MOST_SLICES = 200


def measure(
    answers: Sequence[Answer],
    slices: Iterable[str],
    task: Task,
    weights: Sequence[float] | None = None,
) -> Reference:
    """Means and counts of every signal in every slice, and what the signals need to read an answer.

    Keys: `STREAM|SLICE`, the mean; `n|STREAM|SLICE`, the cases behind it: of weighted ones as many
    of equal weight as tell as much (Kish); `cut|SIGNAL`, where a tail begins, and the like.

    Args:
        slices: measured however few cases they have. So is every other slice value that has enough
            of them, but for the shares of its categories.
        weights: of the answers; all alike when left out.
    """
    weighted = list(zip(answers, [1.0] * len(answers) if weights is None else weights, strict=True))
    watched = signals_of(answers, task)
    reference = {key: x for signal in watched for key, x in signal.fitted(weighted).items()}
    watched = [signal.resolved(reference) for signal in watched]
    single = {signal.name for signal in watched if len(signal.streams) == 1}
    told = [dict(told_by(watched, answer, reference)) for answer in answers]
    named = set(slices)
    for slice_name in [*sorted(named), *(found for found in large(answers) if found not in named)]:
        numbers: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for (answer, weight), streams in zip(weighted, told, strict=True):
            if answer.inside(slice_name):
                for stream, x in streams.items():
                    if slice_name in named or stream in single:
                        numbers[stream].append((x, weight))
        for stream, found in numbers.items():
            x, w = np.array(found).T
            reference[f"{stream}|{slice_name}"] = float(np.average(x, weights=w))
            reference[f"n|{stream}|{slice_name}"] = float(w.sum() ** 2 / (w**2).sum())
    return reference


def signals_of(answers: Iterable[Answer], task: Task) -> list[AnySignal]:
    """All that monitors of these answers may name. A feature with the name of a signal is read by
    that signal, if at all."""
    known = signals.known(task)
    watched = [signal for each in known.values() for signal in each]
    for name in sorted({name for answer in answers for name in answer.features} - known.keys()):
        watched += [signals.feature(name), *signals.feature_sides(name)]
    return watched


def told_by(
    watched: Iterable[AnySignal], answer: Answer, reference: Reference
) -> Iterator[tuple[str, float]]:
    """The number that an answer gives to each stream."""
    for signal in watched:
        yield from signal.numbers(answer, reference)


def large(answers: Iterable[Answer]) -> list[str]:
    """The slice values with enough cases to be measured unasked, largest first."""
    counts = Counter(
        f"{name}={value}" for answer in answers for name, value in answer.slices.items()
    )
    largest = sorted(counts, key=lambda slice_name: (-counts[slice_name], slice_name))
    return [name for name in largest[:MOST_SLICES] if counts[name] >= LEAST_CASES]
