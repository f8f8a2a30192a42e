"""Kafka to the store: every record becomes a row or a dead letter, once; feedback meets its answer.

The store is the source of truth for how far this got. A batch goes through these steps, each
durable before the next begins, and a crash between any two repeats steps without a trace:

1. judge      what becomes of each record; pure
2. letters    dead letters are sent and acknowledged
3. rows       one atomic insert a topic-partition, of the rows beyond the last one stored
4. outcomes   feedback and answers that met in this batch, or across batches, are sent
5. orphans    feedback whose answer did not come in time gets a dead letter, when time went on
6. marks      the next offset of each partition is stored: where reading starts again
7. commit     the group's offsets, which only tell others how far this got

What a repetition does: letters of the records after the last row may be sent again (the same
source position) and outcomes too (the same id); rows are not stored again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TypeVar
from uuid import uuid4

from driftgate import metrics
from driftgate.artifacts import Artifacts
from driftgate.bus import Bus, Consumer, Position, Producer, Record
from driftgate.clock import Clock
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.dead_letters import UNKNOWN_LABEL, UNKNOWN_MODEL, UNKNOWN_REQUEST, letter
from driftgate.errors import BadInput, BusUnavailable, Terminal
from driftgate.events import DAY_MS, Emit
from driftgate.health import Health, Log
from driftgate.runner import CLOCK, POLL_SECONDS, publish, retrying
from driftgate.store import Store
from services.ingest_logger import declared, join, queries
from services.ingest_logger.declared import Declared
from services.ingest_logger.limit import Limit
from services.ingest_logger.rows import Row, Table
from services.ingest_logger.validate import HOUR_MS, Dead, Outcome, Stored, View, date, handle

SERVICE = "ingest-logger"
POLL_RECORDS = 5000
JOINED = ("inferences", "feedback")
# A broker takes 10 MB; a dead letter with a larger key or value names an artifact instead.
PARKED_VALUE_BYTES = 8_000_000
PARKED_KEY_BYTES = 1_000_000
ORPHANS_EVERY_MS = HOUR_MS

T = TypeVar("T")
Judged = Sequence[tuple[Record, Outcome]]


class StoreAhead(Terminal):
    """The store holds records that the bus does not: a topic was deleted and made again."""


@dataclass
class Ingest:
    """One member of the group `ingest-logger`."""

    settings: Settings
    bus: Bus
    codec: Codec
    store: Store
    artifacts: Artifacts
    clock: Clock
    log: Log
    health: Health
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.tables = {name: Table.of(name, self.codec) for name in self.codec.topics.names()}
        self.declared = Declared(
            self.bus, self.codec, self.artifacts, self.settings.state_dir / "model-repos"
        )
        self.limit = Limit(self.settings.dead_letter_limit)
        self._last_stored: dict[Position, int] = {}  # of each partition that is ours; -1: no row
        self._uncommitted: dict[Position, int] = {}
        self._orphans_at = 0

    # ------------------------------------------------------------ the loop

    def run(self) -> None:
        """Until `stopping` is set.

        Raises:
            Retriable: the store or the bus stayed away for longer than is waited for.
            TooManyDead: a partition has more dead letters than the limit allows.
            StoreAhead: a topic was deleted and made again under the store.
        """
        topics, member = self.codec.topics.names(), f"{SERVICE}-{self.settings.replica}"
        producer = self.again(self.bus.producer)
        consumer = self.again(lambda: self.bus.consumer(topics, SERVICE, member, self))
        try:
            while not self.stopping.is_set():
                self.step(consumer, producer)
        finally:
            consumer.close()
            producer.close()

    def step(self, consumer: Consumer, producer: Producer) -> None:
        """One poll, and all that follows from it."""
        records = self.again(lambda: consumer.poll(POLL_SECONDS, POLL_RECORDS))
        if records:
            judged = self.judge(records)
            self.send(producer, self.letters(judged))
            self.insert(judged)
            self.send(producer, self.outcomes(records))
        self.send(producer, self.orphans())
        if records:
            self.mark(records)
        self.commit(consumer)
        self.health.ready = bool(self._last_stored)
        self.health.moved()

    # ------------------------------------------------------------ partitions that come and go

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """Start where the store says. What is stored beyond the mark is not stored again.

        Raises:
            StoreAhead, StoreUnavailable, BusUnavailable
        """
        mine = list(positions)
        marks = queries.marks(self.store)
        last = queries.last_stored(self.store, sorted({t.name for t in self.tables.values()}))
        ends = self.bus.ends({position.topic for position in mine})
        refuse_lost_topics({p: max(marks.get(p, 0), last.get(p, -1) + 1) for p in mine}, ends)
        self.clock.advance(queries.newest_tick(self.store))
        self._last_stored |= {position: last.get(position, -1) for position in mine}
        self._uncommitted |= {p: marks[p] for p in mine if p in marks}
        self.log.info("assigned", positions=len(mine), marks=sum(marks.get(p, 0) for p in mine))
        return {position: marks.get(position, 0) for position in mine}

    def revoked(self, positions: Iterable[Position]) -> None:
        for position in positions:
            self._last_stored.pop(position, None)
            self._uncommitted.pop(position, None)
            self.limit.forget(position)

    @property
    def hears_clock(self) -> bool:
        """Whether the ticks come to this member of the group."""
        return Position(CLOCK, 0) in self._last_stored

    # ------------------------------------------------------------ the steps

    def judge(self, records: Sequence[Record]) -> Judged:
        """What becomes of each record. A model or label that is not known may have been declared
        a moment ago: the declarations are read again before it is refused."""
        self.tick(records)
        if any(record.topic == declared.TOPIC for record in records):
            self.again(self.declared.refresh)
        judged = self.judge_by_what_is_known(records)
        if any(is_unknown(outcome) for _, outcome in judged) and self.again(self.declared.refresh):
            judged = self.judge_by_what_is_known(records)
        for position, part in by_position(judged):
            self.limit.count(position, [error_of(outcome) for _, outcome in part])
        return judged

    def judge_by_what_is_known(self, records: Sequence[Record]) -> Judged:
        # A member that does not hear a world's ticks does not know its time.
        now = self.clock.now() if self.hears_clock or self.settings.clock == "live" else 0
        view = View(self.declared.models, now, self.declared.refused)
        return [(r, handle(r, self.tables[r.topic], self.codec, view)) for r in records]

    def tick(self, records: Sequence[Record]) -> None:
        """Moves the clock before anything is compared with it: all that was sent before a tick
        is stored by now, and what is sent after it may lie up to a day ahead."""
        for record in records:
            if record.topic == CLOCK:
                try:
                    self.clock.advance(self.codec.decode(CLOCK, record.value)["time"])
                except BadInput:  # gets its dead letter with the others
                    continue
        metrics.CLOCK.set(self.clock.now() / 1000)

    def letters(self, judged: Judged) -> list[Emit]:
        """Dead letters of the records beyond the last row: those before it were sent."""
        found = []
        for record, outcome in judged:
            metrics.RECORDS.labels(record.topic).inc()
            if isinstance(outcome, Dead) and record.offset > self._last_stored[record.position]:
                found.append(self.letter(record, outcome.error))
        return found

    def letter(self, record: Record, error: BadInput) -> Emit:
        """A record's dead letter. What does not fit is parked as an artifact and named."""
        metrics.DEAD.labels(record.topic, error.reason).inc()
        at = f"{record.position}@{record.offset}"
        self.log.warning("dead letter", position=at, reason=error.reason, error=str(error))
        told = dict(letter(record, error, SERVICE, self.clock.now()).event)
        for name, most in (("value", PARKED_VALUE_BYTES), ("key", PARKED_KEY_BYTES)):
            data = told[name]
            if data is not None and len(data) > most:
                uri = self.artifacts.put(data)
                told |= {name: None, "message": f"{told['message']}; its {name} is artifact {uri}"}
        return Emit(f"{record.topic}.dlq", told)

    def insert(self, judged: Judged) -> None:
        """Rows beyond the last one stored: one insert, hence all or none, a topic-partition."""
        for position, part in by_position(judged):
            last = self._last_stored[position]
            rows = [o.row for r, o in part if isinstance(o, Stored) and r.offset > last]
            if rows:
                self.insert_once(self.tables[position.topic].name, rows)
                self._last_stored[position] = rows[-1]["offset"]

    def insert_once(self, table: str, rows: Sequence[Row]) -> None:
        """Tried again under the same token, an insert whose answer was lost stays one insert."""
        token = uuid4().hex
        self.again(lambda: self.store.append(table, rows, token))

    def outcomes(self, records: Sequence[Record]) -> list[Emit]:
        """Feedback and answers that meet because one of them lies in this batch."""
        ranges = ranges_of(record for record in records if record.topic in JOINED)
        if not ranges:
            return []
        feedback = self.again(lambda: queries.feedback_to_join(self.store, ranges))
        if not feedback:
            return []
        ids = [row["request_id"] for row in feedback]
        answers = self.again(lambda: queries.answers_to(self.store, ids))
        found = join.outcomes(feedback, answers, lambda row: lies_in(ranges, row))
        metrics.OUTCOMES.inc(len(found))
        return found

    def orphans(self) -> list[Emit]:
        """Dead letters of feedback whose inference has not come within the model's `orphan_days`.
        Looked for when time went on, by the one member that hears the clock. The feedback stays
        stored: should its inference come after all, they are joined."""
        now = self.clock.now()
        if not self.hears_clock or now - self._orphans_at < ORPHANS_EVERY_MS:
            return []
        self.again(self.declared.refresh)
        found: list[Emit] = []
        for model, config in self.declared.models.items():
            before = now - config.data.orphan_days * DAY_MS
            rows = self.again(partial(queries.orphans, self.store, model, before))
            found += [self.orphan(row, config.data.orphan_days) for row in rows]
        metrics.ORPHANS.inc(len(found))
        self._orphans_at = now
        return found

    def orphan(self, row: Row, days: int) -> Emit:
        topic = row["topic"]
        event = {name: row[name] for name in (c.field for c in self.tables[topic].columns)}
        key, value = self.codec.topics.key(topic, event), self.codec.encode(topic, event)
        record = Record(topic, row["partition"], row["offset"], key, value)
        wanted = (
            f"the id of a live inference that arrives within {days} days of {date(row['time'])}"
        )
        return self.letter(
            record, BadInput(UNKNOWN_REQUEST, "request_id", row["request_id"], wanted)
        )

    def mark(self, records: Sequence[Record]) -> None:
        """All marks of the batch in one insert; from here on it is never read again."""
        marks = {record.position: record.offset + 1 for record in records}
        rows = [
            {"topic": p.topic, "partition": p.partition, "next_offset": at}
            for p, at in marks.items()
        ]
        self.again(lambda: self.store.append("ingest_marks", rows))
        self._uncommitted |= marks
        for position, at in marks.items():
            metrics.POSITION.labels(position.topic, position.partition).set(at)
            self.health.moved(**{str(position): at})

    def commit(self, consumer: Consumer) -> None:
        """Tells the group's offsets. Nothing depends on them, so a failure waits for the next
        round: a member that was put out of the group has to poll before it may commit."""
        if self._uncommitted:
            try:
                consumer.commit(self._uncommitted)
                self._uncommitted.clear()
            except BusUnavailable as error:
                self.log.warning("not committed", error=str(error))

    # ------------------------------------------------------------ I/O

    def send(self, producer: Producer, emits: Sequence[Emit]) -> None:
        """Sends and waits for the acknowledgements."""
        if emits:
            self.again(lambda: publish(producer, self.codec, emits))

    def again(self, work: Callable[[], T]) -> T:
        """Work, tried again while it may help."""
        return retrying(self.log)(work)


def refuse_lost_topics(known: Mapping[Position, int], ends: Mapping[Position, int]) -> None:
    """New records at offsets that are known already would be taken for the old ones.

    Raises:
        StoreAhead
    """
    for position, at in known.items():
        if at > ends.get(position, 0):
            raise StoreAhead(
                f"{position} ends at offset {ends.get(position, 0)}, but the store holds it up to "
                f"{at}: the topic was made anew. Restore it, or begin with an empty database"
            )


def error_of(outcome: Outcome) -> BadInput | None:
    return outcome.error if isinstance(outcome, Dead) else None


def is_unknown(outcome: Outcome) -> bool:
    error = error_of(outcome)
    return error is not None and error.reason in {UNKNOWN_MODEL, UNKNOWN_LABEL}


def ranges_of(records: Iterable[Record]) -> queries.Ranges:
    """First and last offset by position."""
    ranges: dict[Position, tuple[int, int]] = {}
    for record in records:
        first, _ = ranges.get(record.position, (record.offset, 0))
        ranges[record.position] = (first, record.offset)
    return ranges


def lies_in(ranges: queries.Ranges, row: Row) -> bool:
    first, last = ranges.get(Position(row["topic"], row["partition"]), (0, -1))
    return first <= row["offset"] <= last


def by_position(judged: Judged) -> Iterable[tuple[Position, Judged]]:
    """The batch by topic-partition, in order of offset within each."""
    ordered = sorted(judged, key=lambda pair: (pair[0].position, pair[0].offset))
    for position, part in groupby(ordered, key=lambda pair: pair[0].position):
        yield position, list(part)
