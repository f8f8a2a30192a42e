"""How far a training is, for people: in the log, and in what `/healthz` answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from driftgate.health import Health, Log

from services.trainer.worker import Step

TELLING = 0.1
"""A line in the log for so much more done."""


@dataclass
class Progress:
    """Of one training, called with every step. `name` is the version that is made."""

    name: str
    log: Log
    health: Health
    _started: float = field(default_factory=time.monotonic)
    _logged: float = -1.0

    def __call__(self, step: Step) -> None:
        left = seconds_left(step.share, time.monotonic() - self._started)
        self.health.moved(
            activity=f"training {self.name}: {words(step.share, left)}",
            progress=round(step.share, 3),
            eta=left,
            worker=step.pid,
        )
        if step.share >= self._logged + TELLING:
            self._logged = step.share
            self.log.info("training", version=self.name, share=step.share, doing=step.doing)


def seconds_left(share: float, elapsed: float) -> float | None:
    """Seconds to go if it goes on as before; None while nothing is done."""
    return round(elapsed * (1 - share) / share, 1) if share > 0 else None


def words(share: float, left: float | None) -> str:
    """Such as `42 %, 6 s left`."""
    return f"{share:.0%}".replace("%", " %") + (f", {left:.0f} s left" if left else "")
