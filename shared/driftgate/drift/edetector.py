"""The mixture Shiryaev-Roberts e-detector, after Shin, Ramdas, Rinaldo, "E-detectors: a
nonparametric framework for sequential change detection", arXiv 2203.03532."""

from __future__ import annotations

from collections.abc import Sequence

from river.base import DriftDetector

OURS = "e-detector"
# How far towards 1 the mean of each hedged alternative lies from the tolerated mean: from a slow
# slide to an outright break. Mixing over them removes the need to know the new mean.
ALTERNATIVES = (0.03, 0.06, 0.12, 0.24, 0.48)


class EDetector(DriftDetector):
    """Alarms when numbers in 0..1 have come to a mean above `mean`; never when it falls.

    For each alternative `a`, with the bet `b = a / mean`, it keeps the evidence
    `M <- (M + 1) (1 + b (x - mean))`, and alarms when the mean of all `M` reaches `threshold`.
    While the expectation of each number, given those before, is at most `mean`, the average number
    of updates to a false alarm is at least `threshold`, under any dependence.

    Parameters
    ----------
    mean
        Highest tolerated mean, in 0..1 exclusive.
    threshold
        Evidence at which it alarms. The update after an alarm starts anew.

    Examples
    --------
    >>> detector = EDetector(mean=0.15, threshold=1e4)
    >>> for number in range(1, 1000):
    ...     detector.update(number % 10 == 0)  # one in ten
    >>> detector.drift_detected
    False
    >>> for number in range(1, 1000):
    ...     detector.update(number % 3 == 0)  # one in three
    ...     if detector.drift_detected:
    ...         break
    >>> number
    72
    """

    _drift_detected: bool  # river's, which has no types

    def __init__(self, mean: float, threshold: float) -> None:
        super().__init__()
        self.name = OURS
        self.mean = mean
        self.threshold = threshold
        self.evidence = [0.0] * len(ALTERNATIVES)
        self._growth = {x: growth(x, mean) for x in (0.0, 1.0)}

    def update(self, x: float) -> None:
        """One more number, in 0..1."""
        if self._drift_detected:
            self._reset()
        # Written out, since the detector's time goes here: a fifth of what a loop takes.
        p, q, r, s, t = self._growth.get(x) or growth(x, self.mean)
        a, b, c, d, e = self.evidence
        a, b, c, d, e = (a + 1) * p, (b + 1) * q, (c + 1) * r, (d + 1) * s, (e + 1) * t
        self.evidence = [a, b, c, d, e]
        self._drift_detected = (a + b + c + d + e) / 5 >= self.threshold

    @property
    def statistic(self) -> float:
        """The e-value that is compared with `threshold`."""
        return sum(self.evidence) / len(self.evidence)

    @property
    def state(self) -> list[float]:
        """All that it remembers."""
        return list(self.evidence)

    def restore(self, state: Sequence[float]) -> None:
        """Goes on from a `state` that is not that of an alarm."""
        self.evidence = list(state)

    def _reset(self) -> None:
        super()._reset()
        self.evidence = [0.0] * len(ALTERNATIVES)


def growth(x: float, mean: float) -> tuple[float, ...]:
    """By what the evidence of each alternative is multiplied for a number."""
    gain = (x - mean) / mean
    return tuple(1 + alternative * gain for alternative in ALTERNATIVES)
