"""How far an examination is, for people: in what `/healthz` answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from driftgate.health import Health


@dataclass
class Progress:
    """Of one examination of so many texts. `name` is the version that is judged."""

    name: str
    texts: int
    health: Health
    now: Callable[[], float] = time.monotonic
    _done: int = 0
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.now()

    def answered(self, layer: str, texts: int) -> None:
        """So many more texts of a layer are answered; none of a suite that has none."""
        if not texts:
            return
        self._done += texts
        share = self._done / self.texts
        left = (self.now() - self._started) * (1 - share) / share
        self.health.heartbeat(
            activity=f"judging {self.name}: {layer}, {left:.0f} s left",
            progress=round(share, 3),
            eta=round(left, 1),
        )
