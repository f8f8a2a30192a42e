"""The detectors of river that a monitor may name in place of our own, the e-detector of
`driftgate.drift.lanes` (ADWIN, PageHinkley, HDDMW ...). Most of them also alarm when things
improve, so they are heard only while the newest numbers lie above the tolerated mean. They keep to
no budget of false alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from driftgate.errors import BadConfig, nearest

OURS = "e-detector"
# The newest numbers, whose mean decides whether a change is for the worse.
RECENT = 50
# Most numbers that stand for the state of a detector; then the older half is forgotten.
KEPT = 4000


class RiverDetector:
    """Watches one stream for a mean above `mean`.

    Its state is the numbers it saw since it last started, from which it is built again: river's
    detectors have no state that can be written without pickle.

    Raises:
        BadConfig: river has none of that name.
    """

    def __init__(self, name: str, mean: float) -> None:
        self.name = name
        self.mean = mean
        self.restore([])

    def update(self, x: float) -> None:
        if self.drift_detected or len(self._seen) >= KEPT:
            self.restore([] if self.drift_detected else self._seen[KEPT // 2 :])
        self._seen.append(x)
        # FHDDM counts right answers; all others count wrong ones, or take any number.
        self._inner.update(1 - x if self.name == "FHDDM" else x)

    def restore(self, state: Sequence[float]) -> None:
        self._inner = river_class(self.name)()
        self._seen: list[float] = []
        for x in state:
            self.update(x)

    @property
    def drift_detected(self) -> bool:
        return bool(self._inner.drift_detected) and self.statistic > self.mean

    @property
    def statistic(self) -> float:
        """Mean of the newest numbers."""
        newest = self._seen[-RECENT:]
        return sum(newest) / len(newest) if newest else 0.0

    @property
    def state(self) -> list[float]:
        """All that it remembers."""
        return list(self._seen)


def river_class(name: str) -> Any:
    """river's detector of that name, as a maker without arguments that repeats itself.

    Raises:
        BadConfig: river has none, or it cannot be made without arguments.
    """
    # river's drift package loads scikit-learn and pandas: only who names a detector of it waits.
    from river import base, drift

    known = {**vars(drift), **vars(drift.binary)}
    detectors = base.DriftDetector | base.BinaryDriftDetector
    kinds = {
        kind.__name__: kind
        for kind in known.values()
        if isinstance(kind, type) and issubclass(kind, detectors)
    }
    kind = kinds.get(name)
    if kind is None:
        raise BadConfig(f"detector {name!r} is unknown: {nearest(name, [OURS, *kinds])}")
    if "seed" in signature(kind).parameters:  # those that draw at random repeat their draws
        return lambda: kind(seed=0)
    return kind


def dump(detector: RiverDetector) -> dict[str, Any]:
    """A detector as JSON."""
    return {"name": detector.name, "mean": detector.mean, "state": detector.state}


def restored(stored: dict[str, Any] | RiverDetector) -> RiverDetector:
    """The detector that `dump` wrote.

    Raises:
        BadConfig: river has none of that name any more.
    """
    if isinstance(stored, RiverDetector):
        return stored
    detector = RiverDetector(stored["name"], stored["mean"])
    detector.restore(stored["state"])
    return detector


Stored = Annotated[RiverDetector, PlainValidator(restored), PlainSerializer(dump)]
