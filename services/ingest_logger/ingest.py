"""Kafka to the store: every record becomes a row or a dead letter, once; feedback meets its answer.

Here the parts are put together, and the reader's thread goes round: it is the only one that talks
to the consumer group. What becomes of a poll stands in `pipeline`, how far things got in
`partitions`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Self

from driftgate import metrics
from driftgate.artifacts import Artifacts
from driftgate.bus import Bus, Consumer, Position, Producer
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import AnyEvent
from driftgate.health import Health, Log
from driftgate.store import Store
from driftgate.topology import INGEST
from services.ingest_logger import steps
from services.ingest_logger.blocked_partitions import BlockedPartitions
from services.ingest_logger.dead_letter_limit import DeadLetterLimit
from services.ingest_logger.declared import Declared
from services.ingest_logger.fence import Fenced
from services.ingest_logger.memory import GiveBack
from services.ingest_logger.partitions import Partitions
from services.ingest_logger.pipeline import UNDER_WAY, Pipeline
from services.ingest_logger.poller import Poller, amount
from services.ingest_logger.reporting import Reporter
from services.ingest_logger.retry import retry_of
from services.ingest_logger.ticks import Ticks
from services.ingest_logger.validator import Catalog, Validator

# From this many records in a poll on, the next polls are made while it is validated and stored.
BULK_RECORDS = 5_000
# How long a rebalance waits for what is under way: less than the group waits for a member.
FLUSH_SECONDS = 8.0


class Ingest:
    """One member of the consumer group, from joining it to leaving it."""

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        codec: Codec,
        store: Store,
        artifacts: Artifacts,
        log: Log,
        health: Health,
        stopping: threading.Event | None = None,
    ) -> None:
        """
        Raises:
            Retriable: the store or the bus stayed away for longer than is waited for.
        """
        retry, topics = retry_of(log), codec.topics.stored()
        self._stopping = stopping or threading.Event()
        self.partitions = Partitions(store, bus, topics, log)
        self.blocked = BlockedPartitions(DeadLetterLimit(settings.dead_letter_limit), log)
        self.ticks = Ticks(codec, store, self.partitions)
        key = settings.subject_key.get_secret_value().encode()
        declared = Declared(bus, codec, artifacts, settings.state_dir / "model-repos", key)
        catalog = Catalog(codec, store, declared, retry)
        catalog.learn_schemas()
        validate = Validator(codec, catalog, self.ticks, self.partitions, self.blocked, key, retry)
        self._producer = retry(bus.producer)

        def send(events: Sequence[AnyEvent]) -> None:
            retry(partial(publish, self._producer, codec, events))

        self.pipeline = Pipeline(
            validate,
            [
                steps.SendDeadLetters(self.partitions, artifacts, send, log),
                steps.StoreRows(store, self.partitions, retry),
                steps.SendOutcomes(store, send, retry),
                steps.GiveUpOrphans(store, codec, send, retry),
                steps.SetRetention(store, retry),
                steps.StoreMarks(store, health, retry),
            ],
        )
        member = f"{INGEST}-{settings.replica}"
        self.consumer: Consumer = retry(lambda: bus.consumer(topics, INGEST, member, self))
        self.poller = Poller(
            self.consumer,
            self.partitions,
            self.pipeline,
            retry,
            settings.poll_records,
            self._stopping,
        )
        self._reporter = Reporter(health, bus, self.partitions, self.blocked)
        self._memory = GiveBack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.close()
        self.consumer.close()
        self._producer.close()

    def run(self) -> None:
        """Until `stopping` is set.

        Raises:
            Retriable: the store or the bus stayed away for longer than is waited for.
            Fenced: the partitions went to another process, unnoticed.
            StoreAhead: a topic was deleted and made again under the store.
        """
        while not self._stopping.is_set():
            self.step()
        self.finish()

    def step(self) -> None:
        """One poll, and all that follows from it. Where there is much, it is validated and stored
        while the next polls are made."""
        if self.blocked.are_due:
            self.finish()
            self.blocked.resume(self.consumer)
        batches = self.poller.gather()
        self.finish(leave=UNDER_WAY - 1)
        self.pipeline.submit(batches)
        records, _ = amount(batches)
        if records < BULK_RECORDS:
            self.finish()
        self.blocked.pause(self.consumer, self.partitions)
        self._reporter.tell()
        self._memory.now_and_then()

    def finish(self, leave: int = 0) -> None:
        """Waits for all polls under way but the last `leave`, raises what they raised, and
        commits."""
        for poll in self.pipeline.finished(leave):
            self.partitions.finished(poll.marks)
            self.poller.grow()
        self.partitions.commit(self.consumer)

    # ------------------------------------------------------------ partitions that come and go

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """Starts partitions where the store says.

        Raises:
            Fenced: what was read of them before is still being stored.
            StoreAhead, StoreUnavailable, StoreRefused, BusUnavailable
        """
        ours = list(positions)
        if not self.pipeline.is_idle:
            raise Fenced(
                f"{ours[0]} came back before what was read of it was stored: starting anew"
            )
        self.blocked.keep_only(self.partitions)
        self.blocked.forget(ours)
        starts = self.partitions.take(ours)
        self.ticks.look_up()
        return starts

    def revoked(self, positions: Iterable[Position]) -> None:
        """What is under way is finished first. If that takes too long, it is dropped or fails: by
        the next owner's fence, or since the partition is no longer known here."""
        gone = list(positions)
        self.pipeline.wait(FLUSH_SECONDS)
        self.partitions.give_up(gone)
        self.blocked.forget(gone)


def publish(producer: Producer, codec: Codec, events: Sequence[AnyEvent]) -> None:
    """Sends events, and returns once all of them are acknowledged.

    Raises:
        BusUnavailable: some were not, in time.
    """
    if not events:
        return
    records = [codec.record(event) for event in events]
    for record in records:
        producer.send(*record)
    producer.flush()
    for topic, _, _ in records:
        metrics.EMITTED.labels(topic).inc()
