"""Memory over the time of a benchmark."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

MIB = 2**20


@dataclass
class Memory:
    """Bytes held, asked for every so many seconds while the block runs."""

    now: Callable[[], int]
    every: float = 1.0
    seen: list[int] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Memory:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.seen.append(self.now())

    @property
    def most(self) -> int:
        return max(self.seen, default=0)
