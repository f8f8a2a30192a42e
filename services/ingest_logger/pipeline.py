"""Polls on their way from Kafka to the store.

A poll is validated, and then goes through the steps, each durable before the next begins:

1. dead letters are sent and acknowledged
2. rows are stored, one atomic insert a topic-partition, of the records beyond the last row stored
3. outcomes are sent, of feedback and answers that met in this poll or across polls
4. orphans: feedback whose answer did not come in time gets a dead letter, when an hour has passed
5. retention: the store's TTLs follow what models declare
6. marks: the next offset of each partition is stored, where reading starts again

Then the reader commits the group's offsets, which only tell others how far this got.

A crash between any two steps repeats the steps before it. Dead letters of the records after the
last row may be sent again (the same source position), and outcomes too (the same id); no row is
stored twice. A process that does not know that its partitions went to another is stopped by the
fence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Protocol

from driftgate.batches import Batch
from driftgate.model_repo import ModelYaml
from services.ingest_logger.columns import ValidatedBatch
from services.ingest_logger.partitions import Offsets

# Polls that are handed over and not stored, at most: one is validated while the one before it is
# stored.
UNDER_WAY = 2


@dataclass(frozen=True, slots=True)
class Poll:
    """What is to become of one poll.

    Attributes:
        models: those declared, as the poll was validated by.
        now: by the newest tick, ms; 0 before the first.
        is_hourly: whether it is time for what is done once an hour.
        pace: how many times as fast as the machine's clock time runs; 0: it stands still.
    """

    batches: Sequence[ValidatedBatch]
    models: Mapping[str, ModelYaml]
    now: int
    is_hourly: bool = False
    pace: float = 0.0

    @property
    def marks(self) -> Offsets:
        """Where reading goes on once all of it is handled."""
        return {batch.position: batch.last + 1 for batch in self.batches}


class Step(Protocol):
    """One part of what becomes of a poll."""

    def run(self, poll: Poll) -> None:
        """Durable when it returns. A crash may repeat it."""


class Pipeline:
    """Validates on one thread and stores on another, poll after poll in order; so one is validated,
    one stored and a third one read at the same time."""

    def __init__(self, validate: Callable[[Sequence[Batch]], Poll], steps: Sequence[Step]) -> None:
        self._validate, self._steps = validate, steps
        self._validating = futures.ThreadPoolExecutor(1, "validate")
        self._storing = futures.ThreadPoolExecutor(1, "store")
        self._under_way: deque[futures.Future[Poll]] = deque()

    def submit(self, batches: Sequence[Batch]) -> None:
        """Hands a poll over. Call `finished` first where `UNDER_WAY` would be exceeded."""
        before = self._under_way[-1] if self._under_way else None
        poll = self._validating.submit(self._validate, batches)
        self._under_way.append(self._storing.submit(self._run, poll, before))

    def _run(self, poll: futures.Future[Poll], before: futures.Future[Poll] | None) -> Poll:
        """Where the poll before failed, this one fails too: a mark beyond it would lose it."""
        if before is not None:
            before.result()
        done = poll.result()
        for step in self._steps:
            step.run(done)
        return done

    def finished(self, leave: int = 0) -> Iterator[Poll]:
        """Waits for all polls but the last `leave`; raises what they raised."""
        while len(self._under_way) > leave:
            yield self._under_way.popleft().result()

    def wait(self, seconds: float) -> None:
        """Until nothing is under way, or for so long."""
        futures.wait(self._under_way, seconds)

    @property
    def is_idle(self) -> bool:
        return all(poll.done() for poll in self._under_way)

    @property
    def is_full(self) -> bool:
        """Whether a poll that is handed over now would have to wait."""
        return len(self._under_way) >= UNDER_WAY and not self._under_way[0].done()

    def close(self) -> None:
        """Begins nothing new; a step that runs is not waited for."""
        for pool in (self._validating, self._storing):
            pool.shutdown(wait=False, cancel_futures=True)
