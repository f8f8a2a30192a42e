"""The steps of the pipeline: all that is written because of a poll."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from functools import partial
from itertools import chain
from uuid import uuid4

import pyarrow as pa

from driftgate import metrics
from driftgate.artifacts import Artifacts
from driftgate.bus import Position
from driftgate.codec import Codec
from driftgate.errors import StoreRefused
from driftgate.events import AnyEvent, Feedback, Inference, Outcome
from driftgate.health import Health, Log
from driftgate.model_repo import ModelYaml
from driftgate.store import Store
from driftgate.tasks import task_of
from services.ingest_logger import dead_letter_queue, join, queries, retention
from services.ingest_logger.columns import ValidatedBatch
from services.ingest_logger.fence import Fenced, is_fenced, note
from services.ingest_logger.partitions import Partitions
from services.ingest_logger.pipeline import Poll
from services.ingest_logger.retry import Retry
from services.ingest_logger.rows import Row, table_name

JOINED = (Inference.TOPIC, Feedback.TOPIC)
INSERTERS = 2

# Sends events, and returns once all of them are acknowledged.
Send = Callable[[Sequence[AnyEvent]], None]


class SendDeadLetters:
    """Of the records beyond the last row: the dead letters of those before it were sent."""

    def __init__(self, partitions: Partitions, artifacts: Artifacts, send: Send, log: Log) -> None:
        self._partitions, self._artifacts, self._send = partitions, artifacts, send
        self._log = log

    def run(self, poll: Poll) -> None:
        found = []
        for batch in poll.batches:
            metrics.RECORDS.labels(batch.position.topic).inc(batch.count)
            for record, error in batch.dead:
                if record.offset > self._partitions.last_stored(batch.position):
                    at = f"{batch.position}@{record.offset}"
                    self._log.warning(
                        "dead letter", position=at, reason=error.reason, field=error.field
                    )
                    now = poll.now or record.timestamp
                    letter = dead_letter_queue.dead_letter(record, error, now, self._artifacts)
                    found.append(letter)
        self._send(found)


class StoreRows:
    """Rows beyond the last one stored; of outcomes those whose id is not stored yet. One insert,
    hence all or none, a topic-partition; those of two partitions are made side by side."""

    def __init__(self, store: Store, partitions: Partitions, retry: Retry) -> None:
        self._store, self._partitions, self._retry = store, partitions, retry
        self._inserters = futures.ThreadPoolExecutor(INSERTERS, "insert")

    def run(self, poll: Poll) -> None:
        rows = [self.beyond_last(batch) for batch in poll.batches]
        list(self._inserters.map(self.insert, poll.batches, self.once(poll.batches, rows)))

    def beyond_last(self, batch: ValidatedBatch) -> pa.Table:
        offsets = batch.rows["offset"].to_numpy()
        last = self._partitions.last_stored(batch.position)
        return batch.rows.slice(offsets.searchsorted(last, side="right"))

    def once(self, batches: Sequence[ValidatedBatch], rows: Sequence[pa.Table]) -> list[pa.Table]:
        """The rows without outcomes that are stored already: a crash may have sent them again."""
        ids = [
            table["outcome_id"].to_pylist() if batch.position.topic == Outcome.TOPIC else []
            for batch, table in zip(batches, rows, strict=True)
        ]
        every = list(chain.from_iterable(ids))
        known = self._retry(lambda: queries.stored_outcomes(self._store, every)) if every else set()
        return [
            table.filter(pa.array(join.are_new(own, known))) if own else table
            for own, table in zip(ids, rows, strict=True)
        ]

    def insert(self, batch: ValidatedBatch, rows: pa.Table) -> None:
        position = batch.position
        self._partitions.last_stored(position)  # refuses where the partition went meanwhile
        if len(rows):
            self._insert(position, rows)
            self._partitions.stored(position, rows["offset"][-1].as_py())
            metrics.QUERYABLE.observe(max(0.0, time.time() - batch.since / 1000))

    def _insert(self, position: Position, rows: pa.Table) -> None:
        """Tried again under the same token, an insert whose answer was lost stays one insert.

        Raises:
            Fenced
        """
        insert = partial(
            self._store.append_columns,
            table_name(position.topic),
            rows,
            token=uuid4().hex,
            condition=self._partitions.owner.condition(position),
            note=note(position),
        )
        try:
            self._retry(insert)
        except StoreRefused as error:
            if is_fenced(error):
                raise Fenced(f"{position} is another process's by now: starting anew") from error
            raise


class SendOutcomes:
    """Of feedback and answers that meet because one of them was just stored."""

    def __init__(self, store: Store, send: Send, retry: Retry) -> None:
        self._store, self._send, self._retry = store, send, retry

    def run(self, poll: Poll) -> None:
        ranges = {
            batch.position: (batch.first, batch.last)
            for batch in poll.batches
            if batch.position.topic in JOINED
        }
        found = self.outcomes(ranges, poll.models)
        metrics.OUTCOMES.inc(len(found))
        for outcome in found:
            delay = outcome.feedback_time - outcome.inference_time
            metrics.JOIN_DELAY.observe(max(0, delay) / 1000)
        self._send(found)

    def outcomes(self, ranges: queries.Ranges, models: Mapping[str, ModelYaml]) -> list[Outcome]:
        if not ranges:
            return []
        feedback = self._retry(lambda: queries.feedback_to_join(self._store, ranges))
        if not feedback:
            return []
        ids = [row["request_id"] for row in feedback]
        answers = self._retry(lambda: queries.answers_to(self._store, ids))
        tasks = {name: task_of(declared.task) for name, declared in models.items()}
        return join.outcomes(feedback, answers, lambda row: lies_in(ranges, row), tasks)


def lies_in(ranges: queries.Ranges, row: Row) -> bool:
    first, last = ranges.get(Position(row["topic"], row["partition"]), (0, -1))
    return bool(first <= row["offset"] <= last)


class GiveUpOrphans:
    """Dead letters of feedback whose inference has not come within the model's `orphan_days`. The
    feedback stays stored: should its inference come after all, they are joined."""

    def __init__(self, store: Store, codec: Codec, send: Send, retry: Retry) -> None:
        self._store, self._codec, self._send, self._retry = store, codec, send, retry

    def run(self, poll: Poll) -> None:
        if poll.is_hourly:
            found = self._retry(
                lambda: dead_letter_queue.orphans(self._store, poll.models, self._codec, poll.now)
            )
            metrics.ORPHANS.inc(len(found))
            self._send(found)


class SetRetention:
    """The store's TTLs as the declared models say. They count the time of the machine's clock, so
    where the events have another, as in a simulated world, nothing is removed."""

    def __init__(self, store: Store, retry: Retry) -> None:
        self._store, self._retry = store, retry
        self._set_for: Mapping[str, ModelYaml] | None = None

    def run(self, poll: Poll) -> None:
        if poll.pace == 1 and poll.models is not self._set_for:
            self._retry(lambda: retention.set_ttls(self._store, poll.models))
            self._set_for = poll.models


class StoreMarks:
    """All marks of a poll in one insert; from here on it is never read again."""

    def __init__(self, store: Store, health: Health, retry: Retry) -> None:
        self._store, self._health, self._retry = store, health, retry

    def run(self, poll: Poll) -> None:
        if marks := poll.marks:
            self._retry(lambda: queries.mark(self._store, marks))
        for position, at in marks.items():
            metrics.POSITION.labels(position.topic, position.partition).set(at)
            self._health.heartbeat(**{str(position): at})
