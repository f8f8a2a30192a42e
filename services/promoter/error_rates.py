"""Whether a version on trial fails more often than the other, from the routers' own counts. Pure.

It needs no feedback and no store, so it is looked at as soon as a router tells. All versions of a
trial try the same requests, one heard and the others beside it, also where the one that was heard
failed: so without harm an error is the new version's with the chance that a try is, whatever inputs
break both. Counts only grow and are added over the epochs of a trial: one e-value for all of it, at
`harm_alpha`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from driftgate.events import ServingCounts
from services.promoter.e_values import Events, harm


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """What the counts say."""

    e_value: float
    summary: str
    numbers: dict[str, Any]


def failing(counts: Iterable[ServingCounts], old: int, new: int) -> ErrorRates:
    """Of the newest record of each router, process and epoch."""
    tries: Counter[tuple[int, int]] = Counter()
    errors: Counter[tuple[int, int]] = Counter()
    epochs = set()
    for record in counts:
        if {old, new} <= {one.version for one in record.versions}:
            epochs.add(record.epoch)
            for one in record.versions:
                failed = one.errors + one.shadow_errors
                errors[record.epoch, one.version] += failed
                tries[record.epoch, one.version] += one.answers + one.shadow_answers + failed
    events = [
        Events(
            tries[epoch, new] / (tries[epoch, old] + tries[epoch, new]),
            errors[epoch, new],
            errors[epoch, old],
        )
        for epoch in sorted(epochs)
        if tries[epoch, old] and tries[epoch, new]
    ]
    e = harm(events)
    sums = {
        version: (
            sum(errors[epoch, version] for epoch in epochs),
            sum(tries[epoch, version] for epoch in epochs),
        )
        for version in (old, new)
    }
    summary = (
        f"it fails more often: {sums[new][0]} errors in {sums[new][1]} answers, "
        f"the other {sums[old][0]} in {sums[old][1]}"
    )
    numbers = {"errors": [event._asdict() for event in events], "e_value": e}
    return ErrorRates(e, summary, numbers)
