"""Which shadows are computed, and when: after the heard answers, in time that nobody waits for, or
within a share of it where somebody always waits. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from services.router.answers import Unheard

# Requests whose shadows may wait: as many as may wait to be heard.
CAPACITY = 1024
# So many are computed at once: a base is as quick a text as with 32, and a request that comes
# meanwhile waits for no more. Fewer where they would take longer than this, s, by the last ones.
BATCH = 8
BATCH_SECONDS = 0.1
# Share of the time of the heard answers that shadows get on top while requests wait. It is not
# saved up for longer than this, s.
SHARE = 0.2
SAVED_SECONDS = 0.25


@dataclass
class ShadowQueue:
    """Requests whose shadows have not answered yet, oldest first."""

    _waiting: deque[Unheard] = field(default_factory=deque)
    _credit: float = 0.0
    _seconds_each: float = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, unheard: Unheard) -> bool:
        """Whether there was room."""
        if len(self._waiting) >= CAPACITY:
            return False
        self._waiting.append(unheard)
        return True

    def may_go(self, live_waits: bool) -> bool:
        """Whether the next are to be computed now."""
        return bool(self._waiting) and (not live_waits or self._credit > 0)

    def take(self) -> list[Unheard]:
        """The next to be computed."""
        slow = self._seconds_each * BATCH > BATCH_SECONDS
        most = max(1, int(BATCH_SECONDS / self._seconds_each)) if slow else BATCH
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def earn(self, seconds: float) -> None:
        """Heard answers took so long."""
        self._credit = min(SAVED_SECONDS, self._credit + SHARE * seconds)

    def spend(self, seconds: float, requests: int) -> None:
        """The shadows of so many requests took so long."""
        self._seconds_each = seconds / requests
        self._credit = max(-SAVED_SECONDS, self._credit - seconds)
