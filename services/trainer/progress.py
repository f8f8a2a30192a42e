"""How far a training is, for people: in the log, and in what `/healthz` answers."""

from __future__ import annotations

import time
from dataclasses import dataclass

from driftgate.health import Health, Log
from services.trainer.worker import Step


@dataclass
class Progress:
    """Of one training, called every second.

    Attributes:
        name: the version that is made.
        started: when, on the monotonic clock.
    """

    name: str
    started: float
    log: Log
    health: Health
    _share: float = 0.0
    _ends: float | None = None

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if step.share > self._share:  # between two steps the time left counts down
            self._share = step.share
            self._ends = now + seconds_left(step.share, now - self.started)
            self.log.info("training", version=self.name, share=step.share, doing=step.doing)
        left = None if self._ends is None else round(max(0.0, self._ends - now), 1)
        self.health.heartbeat(
            activity=f"training {self.name}: {summary(self._share, left)}",
            progress=round(self._share, 3),
            eta=left,
            worker=step.pid,
        )


def seconds_left(share: float, elapsed: float) -> float:
    """Seconds to go if it goes on as before. `share` is done, above 0."""
    return elapsed * (1 - share) / share


def summary(share: float, left: float | None) -> str:
    """Such as `42 %, 6 s left`."""
    return f"{100 * share:.0f} %" + ("" if left is None else f", {left:.0f} s left")
