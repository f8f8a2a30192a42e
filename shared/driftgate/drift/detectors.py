"""When a stream of bounded numbers has become worse: the detector that a monitor names.

`e-detector` is ours; any detector of river can stand in its place by its name (ADWIN, PageHinkley,
HDDMW ...). Most of those also alarm when things improve, so they are heard only while the newest
numbers lie above the tolerated mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Annotated, Any, Protocol

from pydantic import PlainSerializer, PlainValidator

from driftgate.drift.edetector import OURS, EDetector
from driftgate.errors import BadConfig, nearest

# The newest numbers, whose mean decides whether a change is for the worse.
RECENT = 50
# Most numbers that stand for the state of a river detector; then the older half is forgotten.
KEPT = 4000


class Detector(Protocol):
    """Watches one stream for a mean above `mean`."""

    name: str
    mean: float
    threshold: float

    def update(self, x: float) -> None: ...

    @property
    def drift_detected(self) -> bool: ...

    @property
    def statistic(self) -> float: ...

    @property
    def state(self) -> list[float]:
        """All that it remembers, as numbers."""

    def restore(self, state: Sequence[float]) -> None: ...


class OneSided:
    """A detector of river that is heard only when the newest numbers are worse than tolerated.

    Its state is the numbers it saw since it last started, from which it is built again: river's
    detectors have no state that can be written without pickle. `threshold` is that of the
    statistic shown, the mean of the newest numbers.
    """

    def __init__(self, name: str, mean: float) -> None:
        self.name = name
        self.mean = self.threshold = mean
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
        newest = self._seen[-RECENT:]
        return sum(newest) / len(newest) if newest else 0.0

    @property
    def state(self) -> list[float]:
        return list(self._seen)


def build(name: str, mean: float, threshold: float) -> Detector:
    """The detector of that name for a tolerated mean.

    Raises:
        BadConfig: nobody has a detector of that name.
    """
    return EDetector(mean, threshold) if name == OURS else OneSided(name, mean)


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


def dump(detector: Detector) -> dict[str, Any]:
    """A detector as JSON."""
    parts = ("name", "mean", "threshold", "state")
    return {part: getattr(detector, part) for part in parts}


def restored(stored: dict[str, Any]) -> Detector:
    """The detector that `dump` wrote."""
    detector = build(stored["name"], stored["mean"], stored["threshold"])
    detector.restore(stored["state"])
    return detector


Stored = Annotated[Detector, PlainValidator(restored), PlainSerializer(dump)]
