"""Partitions that are not read any further for a while, since too much of them is bad."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from driftgate.bus import Consumer, Position
from driftgate.health import Log
from services.ingest_logger.columns import ValidatedBatch
from services.ingest_logger.dead_letter_limit import DeadLetterLimit

# A blocked partition is tried again after this time: the cause may be repaired.
BLOCKED_SECONDS = 60.0


class Blocked(NamedTuple):
    """From which offset a partition is read when it is tried again, and why it is blocked."""

    first: int
    why: str


class BlockedPartitions:
    """Validation blocks partitions, on its own thread; the reader pauses and resumes them."""

    def __init__(self, limit: DeadLetterLimit, log: Log) -> None:
        self.limit = limit
        self._log = log
        self._blocked: dict[Position, Blocked] = {}
        self._paused: set[Position] = set()  # those that the consumer was told of
        self._resume_at = 0.0

    def __contains__(self, position: object) -> bool:
        return position in self._blocked

    def reasons(self) -> Mapping[Position, str]:
        return {position: blocked.why for position, blocked in self._blocked.copy().items()}

    def admit(self, batches: Sequence[ValidatedBatch]) -> list[ValidatedBatch]:
        """All but those that breach the limit. Nothing of such a batch is handled, nor of what was
        polled of its partition after it."""
        admitted = []
        for batch in batches:
            last = batch.dead[-1][1] if batch.dead else None
            why = self.limit.breach(batch.position, batch.count, len(batch.dead), last)
            if why is None:
                admitted.append(batch)
            else:
                self._log.error("blocked", position=str(batch.position), error=why)
                self._blocked[batch.position] = Blocked(batch.first, why)
        return admitted

    def pause(self, consumer: Consumer, ours: Container[Position]) -> None:
        """Tells the consumer of partitions that were blocked since the last call. They are read
        again from their first batch that breached the limit."""
        new = {
            position: blocked.first
            for position, blocked in self._blocked.copy().items()
            if position in ours and position not in self._paused
        }
        if new:
            consumer.pause(new)
            consumer.seek(new)
            self._paused |= new.keys()
            self._resume_at = time.monotonic() + BLOCKED_SECONDS

    @property
    def are_due(self) -> bool:
        """Whether it is time to try again."""
        return bool(self._paused) and time.monotonic() >= self._resume_at

    def resume(self, consumer: Consumer) -> None:
        """Reads on. What was polled beyond the first bad batch has to be gone by then."""
        consumer.resume(self._paused)
        for position in self._paused:
            del self._blocked[position]
        self._paused.clear()

    def forget(self, positions: Iterable[Position]) -> None:
        """Partitions that are not ours any more, or ours anew."""
        for position in positions:
            self._blocked.pop(position, None)
            self._paused.discard(position)
            self.limit.forget(position)

    def keep_only(self, ours: Container[Position]) -> None:
        """Forgets partitions that were blocked after they had gone."""
        self.forget([position for position in self._blocked if position not in ours])
