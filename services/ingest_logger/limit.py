"""When so much of a partition is bad that the fault lies elsewhere than in its records. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from driftgate.bus import Position
from driftgate.errors import BadInput, Terminal

WINDOW = 1000


class TooManyDead(Terminal):
    """Going on would turn a whole topic into dead letters. The service ends before it sends the
    batch's letters or moves its position, and finds the same records when it is started again."""


@dataclass
class Limit:
    """At most `share` of the last `WINDOW` records of a partition may be dead letters; fewer
    records than that breach nothing."""

    share: float
    recent: dict[Position, deque[bool]] = field(default_factory=dict)

    def count(self, position: Position, errors: Sequence[BadInput | None]) -> None:
        """Takes note of a partition's next records: why each cannot be handled, or None.

        Raises:
            TooManyDead
        """
        window = self.recent.setdefault(position, deque(maxlen=WINDOW))
        window.extend(error is not None for error in errors)
        dead = sum(window)
        if len(window) == WINDOW and dead > self.share * WINDOW:
            raise TooManyDead(
                f"{position}: {dead} of the last {WINDOW} records cannot be handled, at most "
                f"{self.share:.0%} may. The last: {next(e for e in reversed(errors) if e)}. "
                "They stay on the topic. Repair the cause (a schema or model that is not declared, "
                "a broken app), or set DRIFTGATE_DEAD_LETTER_LIMIT=1 to give them all up"
            )

    def forget(self, position: Position) -> None:
        self.recent.pop(position, None)
