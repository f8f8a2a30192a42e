"""When so much of a partition is bad that the fault lies elsewhere than in its records. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from driftgate.bus import Position
from driftgate.errors import BadInput

WINDOW = 1000


@dataclass
class DeadLetterLimit:
    """At most `share` of the newest records of a partition may be dead letters: of the last
    batches that have at least `WINDOW` records together. Fewer records breach nothing."""

    share: float
    _recent: dict[Position, deque[tuple[int, int]]] = field(default_factory=dict)

    def breach(
        self, position: Position, records: int, dead: int, last: BadInput | None
    ) -> str | None:
        """Counts a partition's next batch: how many records, how many of them cannot be handled,
        and why the last of those. Returns what to tell the operator if the limit is breached; then
        the batch is not counted, since it is not handled and will come again."""
        batches = self._recent.setdefault(position, deque())
        batches.append((records, dead))
        while sum(count for count, _ in batches) - batches[0][0] >= WINDOW:
            batches.popleft()
        of, bad = (sum(counts) for counts in zip(*batches, strict=True))
        if of < WINDOW or bad <= self.share * of:
            return None
        batches.pop()
        return (
            f"{position}: {bad} of the last {of} records cannot be handled, at most "
            f"{self.share:.0%} may. The last: {last}. "
            "They stay on the topic. Repair the cause (a schema or model that is not declared, "
            "a broken app), or set DRIFTGATE_DEAD_LETTER_LIMIT=1 to give them all up"
        )

    def forget(self, position: Position) -> None:
        self._recent.pop(position, None)
