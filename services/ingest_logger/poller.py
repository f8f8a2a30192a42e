"""Takes from Kafka what is to be handled together. Runs on the reader's thread, the only one that
talks to the group."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from driftgate.batches import Batch, joined
from driftgate.bus import Consumer
from services.ingest_logger.partitions import Partitions
from services.ingest_logger.pipeline import Pipeline
from services.ingest_logger.retry import Retry

POLL_SECONDS = 0.2
# Slow start: the poll limit grows tenfold, so a crash-looping process still progresses.
FIRST_RECORDS = 1000
GROWTH = 10
# From this many records in one poll on, polls of a short while are stored together: the store likes
# few and large inserts.
GATHER_FROM_RECORDS = 200
GATHER_SECONDS = 0.3
SHORT_POLL_SECONDS = 0.05
# No more is gathered beyond this many bytes; one poll of the client may hold as much again.
GATHER_BYTES = 64 * 1024 * 1024


class Poller:
    """Polls, a few records at first."""

    def __init__(
        self,
        consumer: Consumer,
        partitions: Partitions,
        pipeline: Pipeline,
        retry: Retry,
        most_records: int,
        stopping: threading.Event,
    ) -> None:
        self._consumer, self._partitions, self._pipeline = consumer, partitions, pipeline
        self._retry, self._stopping = retry, stopping
        self._limit, self._most = min(FIRST_RECORDS, most_records), most_records

    def gather(self) -> list[Batch]:
        """One poll; where much comes, all polls of a short while, and of the time that the store is
        busy with earlier ones. One batch a partition."""
        gathered = self.poll(POLL_SECONDS, self._limit)
        count, size = amount(gathered)
        until = time.monotonic() + GATHER_SECONDS
        while GATHER_FROM_RECORDS <= count < self._limit and size < GATHER_BYTES:
            left, assignments = until - time.monotonic(), self._partitions.assignments
            if (left <= 0 and not self._pipeline.is_full) or self._stopping.is_set():
                break
            more = self.poll(max(left, SHORT_POLL_SECONDS), self._limit - count)
            if assignments != self._partitions.assignments:  # what was polled before comes again
                gathered, count, size = [], 0, 0
            records, octets = amount(more)
            gathered, count, size = [*gathered, *more], count + records, size + octets
        return joined(gathered)

    def poll(self, seconds: float, limit: int) -> list[Batch]:
        return list(self._retry(lambda: self._consumer.poll_batches(seconds, limit)))

    def grow(self) -> None:
        """A poll was handled: the next ones may be larger."""
        self._limit = min(GROWTH * self._limit, self._most)


def amount(batches: Iterable[Batch]) -> tuple[int, int]:
    """Records, and bytes of their values."""
    sizes = [(len(batch), batch.values.nbytes) for batch in batches]
    return sum(count for count, _ in sizes), sum(size for _, size in sizes)
