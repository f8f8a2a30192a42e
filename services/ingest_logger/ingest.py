"""Kafka to the store: every record becomes a row or a dead letter, once; feedback meets its answer.

Three threads, each taking polls in order: one reads, and is the only one to talk to the group; one
judges; one does the rest.

The store is the source of truth for how far this got. A poll goes through these steps, each
durable before the next begins, and a crash between any two repeats steps without a trace:

1. judge      what becomes of each record; nothing is written
2. letters    dead letters are sent and acknowledged
3. rows       one atomic insert a topic-partition, of the rows beyond the last one stored
4. outcomes   feedback and answers that met in this batch, or across batches, are sent
5. orphans    feedback whose answer did not come in time gets a dead letter, when time went on
6. marks      the next offset of each partition is stored: where reading starts again
7. commit     the group's offsets, which only tell others how far this got

What a repetition does: letters of the records after the last row may be sent again (the same
source position) and outcomes too (the same id); rows are not stored again. A process that does not
know that its partitions went to another is stopped by the fence (`fence`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar
from uuid import uuid4

import pyarrow as pa

from driftgate import metrics
from driftgate.artifacts import Artifacts
from driftgate.batches import Batch, joined
from driftgate.bus import Bus, Consumer, Position, Producer
from driftgate.clock import Clock
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.dead_letters import UNKNOWN_LABEL, UNKNOWN_MODEL, UNKNOWN_SCHEMA
from driftgate.errors import BadInput, BusUnavailable, StoreRefused, Terminal
from driftgate.events import HOUR_MS, Emit
from driftgate.health import Health, Log
from driftgate.runner import CLOCK, POLL_SECONDS, publish, retrying
from driftgate.schemas import Schemas
from driftgate.store import Store
from driftgate.topology import INGEST
from services.ingest_logger import (
    columns,
    declared,
    join,
    keeping,
    letters,
    memory,
    migrating,
    queries,
)
from services.ingest_logger.columns import Judged
from services.ingest_logger.declared import Declared
from services.ingest_logger.fence import Fenced, Owner, is_fenced, note
from services.ingest_logger.limit import Limit, TooManyDead
from services.ingest_logger.rows import Row, Table
from services.ingest_logger.validate import View

SERVICE = INGEST
# A process begins with few records and takes so many times as many each time: so one that is
# killed again and again gets on all the same.
FIRST_RECORDS = 1000
GROWTH = 10
# From so many records on, the next polls are made while these are judged and stored.
BULK_RECORDS = 5_000
# So many in one poll are thick: what comes within a short while is stored together.
THICK_RECORDS = 200
GATHER_SECONDS = 0.3
SHORT_POLL_SECONDS = 0.05
# No more is gathered beyond so many bytes; one poll of the client may hold as much again.
GATHER_BYTES = 64 * 1024 * 1024
INSERTERS = 2
# So many polls may be handed over and not stored: one is judged while the one before it is stored.
UNDER_WAY = 2
# How long a rebalance waits for what is under way: less than the group waits for a member.
FLUSH_SECONDS = 8.0
JOINED = ("inferences", "feedback")
ORPHANS_EVERY_MS = HOUR_MS
# A partition with too many dead letters is looked at again after this time.
BLOCKED_SECONDS = 60.0
LAG_SECONDS = 10.0
# What may be known by now, if it is asked for again.
MAY_BE_NEW = frozenset({UNKNOWN_MODEL, UNKNOWN_LABEL, UNKNOWN_SCHEMA})

T = TypeVar("T")
# Next offset of each partition.
Marks = Mapping[Position, int]


class Poll(NamedTuple):
    """What is to become of one poll, judged at a time."""

    judged: Sequence[Judged]
    now: int


class Blocked(NamedTuple):
    """Why a partition is read no further for a while, and from where it is read then."""

    first: int
    why: str


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
        self._schemas: Schemas | None = None  # those whose fields have their columns
        self.declared = Declared(
            self.bus, self.codec, self.artifacts, self.settings.state_dir / "model-repos"
        )
        self.owner = Owner(self.store, uuid4().hex)
        self.limit = Limit(self.settings.dead_letter_limit)
        self.blocked: dict[Position, Blocked] = {}
        self._held: set[Position] = set()  # those blocked that the client was told of
        self._last_stored: dict[Position, int] = {}  # of each partition that is ours; -1: no row
        self._next: dict[Position, int] = {}  # as the marks say
        self._uncommitted: dict[Position, int] = {}
        self._judging = futures.ThreadPoolExecutor(1, "judge")
        self._storing = futures.ThreadPoolExecutor(1, "store")
        self._inserters = futures.ThreadPoolExecutor(INSERTERS, "insert")
        self._under_way: deque[futures.Future[Marks]] = deque()
        self._assignments = 0
        self._poll_records = FIRST_RECORDS
        self._orphans_at = 0
        self._unblock_at = self._lag_at = self._give_back_at = 0.0

    # ------------------------------------------------------------ the loop

    def run(self) -> None:
        """Until `stopping` is set.

        Raises:
            Retriable: the store or the bus stayed away for longer than is waited for.
            Fenced: the partitions went to another process, unnoticed.
            StoreAhead: a topic was deleted and made again under the store.
        """
        topics, member = self.codec.topics.names(), f"{SERVICE}-{self.settings.replica}"
        self.again(self.take_schemas)
        producer = self.again(self.bus.producer)
        consumer = self.again(lambda: self.bus.consumer(topics, SERVICE, member, self))
        try:
            while not self.stopping.is_set():
                self.step(consumer, producer)
            self.finish(consumer)
        finally:
            self._judging.shutdown(wait=False, cancel_futures=True)
            consumer.close()
            producer.close()

    def step(self, consumer: Consumer, producer: Producer) -> None:
        """One poll, and all that follows from it. Where there is much, it is judged and stored
        beside the next polls, one after the other."""
        self.unblock(consumer)
        polled = self.gather(consumer)
        self.finish(consumer, but=UNDER_WAY - 1)
        before = self._under_way[-1] if self._under_way else None
        judged = self._judging.submit(self.judge, polled)
        self._under_way.append(self._storing.submit(self.handle, judged, producer, before))
        if sum(map(len, polled)) < BULK_RECORDS:
            self.finish(consumer)
        self.hold(consumer)
        self.tell_lag()
        self.tell_health()
        self.give_back_memory()

    def gather(self, consumer: Consumer) -> list[Batch]:
        """One poll; where records come thick, all polls of a short while: the store likes few and
        large inserts. While the store is busy with earlier ones, that while is longer."""
        gathered = self.poll(consumer, POLL_SECONDS, self._poll_records)
        count, size = amount(gathered)
        until = time.monotonic() + GATHER_SECONDS
        while THICK_RECORDS <= count < self._poll_records and size < GATHER_BYTES:
            left, assignments = until - time.monotonic(), self._assignments
            if (left <= 0 and not self.is_storing()) or self.stopping.is_set():
                break
            more = self.poll(consumer, max(left, SHORT_POLL_SECONDS), self._poll_records - count)
            if assignments != self._assignments:  # what was polled before comes again
                gathered, count, size = [], 0, 0
            records, octets = amount(more)
            gathered, count, size = [*gathered, *more], count + records, size + octets
        return joined(gathered)

    def is_storing(self) -> bool:
        """Whether what was polled by now had to wait."""
        return len(self._under_way) >= UNDER_WAY and not self._under_way[0].done()

    def poll(self, consumer: Consumer, seconds: float, limit: int) -> list[Batch]:
        return list(self.again(lambda: consumer.poll_batches(seconds, limit)))

    def handle(
        self,
        poll: futures.Future[Poll],
        producer: Producer,
        before: futures.Future[Marks] | None = None,
    ) -> Marks:
        """All that is to become of a poll, but the commit. Where what came before it failed, this
        fails too: a mark beyond it would lose it."""
        if before is not None:
            before.result()
        judged, now = poll.result()
        if judged:
            self.send(producer, self.letters(judged, now))
            self.store_rows(judged)
            self.send(producer, self.outcomes(judged))
        self.send(producer, self.orphans(now))
        return self.mark(judged) if judged else {}

    def finish(self, consumer: Consumer, but: int = 0) -> None:
        """Waits for what is under way, `but` for so many; raises what it raised."""
        while len(self._under_way) > but:
            marks = self._under_way.popleft().result()
            # Partitions may have gone meanwhile, and come back further on.
            mine = {p: at for p, at in marks.items() if at > self._next.get(p, at)}
            self._next |= mine
            self._uncommitted |= mine
            self._poll_records = min(GROWTH * self._poll_records, self.settings.poll_records)
        self.commit(consumer)

    # ------------------------------------------------------------ partitions that come and go

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """Start where the store says. What is stored beyond the mark is not stored again.

        Raises:
            StoreAhead, StoreUnavailable, BusUnavailable
        """
        mine = list(positions)
        if not all(work.done() for work in self._under_way):
            raise Fenced(
                f"{mine[0]} came back before what was read of it was stored: starting anew"
            )
        self._assignments += 1
        self.forget([*mine, *(self.blocked.keys() - self._last_stored)])
        self.owner.take(mine)
        marks = queries.marks(self.store)
        last = queries.last_stored(self.store, sorted({t.name for t in self.tables.values()}))
        ends = self.bus.ends({position.topic for position in mine})
        refuse_lost_topics({p: max(marks.get(p, 0), last.get(p, -1) + 1) for p in mine}, ends)
        self.clock.advance(queries.newest_tick(self.store))
        self._last_stored |= {position: last.get(position, -1) for position in mine}
        self._next |= {position: marks.get(position, 0) for position in mine}
        self._uncommitted |= {p: marks[p] for p in mine if p in marks}
        self.log.info("assigned", positions=len(mine), marks=sum(marks.get(p, 0) for p in mine))
        return {position: marks.get(position, 0) for position in mine}

    def revoked(self, positions: Iterable[Position]) -> None:
        """What is under way is finished first. If that takes too long, it is dropped or fails: by
        the next owner's fence, or since the partition is no longer known here."""
        futures.wait(self._under_way, FLUSH_SECONDS)
        self.forget(positions)

    def forget(self, positions: Iterable[Position]) -> None:
        gone = set(positions)
        for position in gone:
            self._last_stored.pop(position, None)
            self._next.pop(position, None)
            self._uncommitted.pop(position, None)
            self.blocked.pop(position, None)
            self.limit.forget(position)
        self._held -= gone

    @property
    def hears_clock(self) -> bool:
        """Whether the ticks come to this member of the group."""
        return Position(CLOCK, 0) in self._last_stored

    # ------------------------------------------------------------ the steps

    def judge(self, polled: Sequence[Batch]) -> Poll:
        """What becomes of each record. A schema, model or label that is not known may have been
        made known a moment ago: it is asked for again before the record is refused."""
        batches = [batch for batch in polled if self.is_open(batch.position)]
        self.tick(batches)
        if any(batch.position.topic == declared.TOPIC for batch in batches):
            self.learn()
        judged = self.judge_by_what_is_known(batches)
        unknown = {what for part in judged for what in may_be_known_by_now(part)}
        is_new = self.learn(unknown) if unknown else False
        judged = self.bearable(self.judge_by_what_is_known(batches) if is_new else judged)
        now = self.clock.now()
        if self.is_time_for_orphans(now):
            self.learn()
        return Poll(judged, now)

    def is_open(self, position: Position) -> bool:
        return position in self._last_stored and position not in self.blocked

    def judge_by_what_is_known(self, batches: Sequence[Batch]) -> list[Judged]:
        self.again(self.take_schemas)
        # A member that does not hear a world's ticks does not know its time.
        now = self.clock.now() if self.hears_clock or self.settings.clock == "live" else 0
        known, key = self.declared, self.settings.subject_key.get_secret_value().encode()
        view = View(known.models, known.maskers, key, now, known.refused)
        return [
            columns.judge(batch, self.tables[batch.position.topic], self.codec, view)
            for batch in batches
        ]

    def learn(self, schema_ids: Iterable[int | None] = (None,)) -> bool:
        """Reads declarations and schemas again; says whether there was anything new. Each part is
        tried again by itself: only its first success finds anything new."""
        for schema_id in schema_ids:
            self.again(partial(self.codec.refresh, schema_id))
        new_schemas = self.again(self.take_schemas)
        new_models = self.again(self.declared.refresh)
        if new_models and self.settings.clock == "live":  # TTLs count the time of the wall
            self.again(lambda: keeping.keep(self.store, self.declared.models))
        return new_schemas or new_models

    def take_schemas(self) -> bool:
        """Gives every field of every schema its column; says whether there was a new schema."""
        schemas = self.codec.schemas
        if schemas is self._schemas:
            return False
        tables = {name: Table.of(name, self.codec) for name in self.codec.topics.names()}
        for table in {table.name: table for table in tables.values()}.values():
            migrating.add_columns(self.store, table, self.codec)
        self.tables, self._schemas = tables, schemas
        return True

    def tick(self, batches: Sequence[Batch]) -> None:
        """Moves the clock before anything is compared with it: what is sent after a tick may lie
        up to a day ahead of the tick before."""
        for batch in batches:
            for value in batch.values.to_pylist() if batch.position.topic == CLOCK else ():
                try:
                    self.clock.advance(self.codec.read(CLOCK, value)["time"])
                except BadInput:  # gets its dead letter with the others
                    continue
        metrics.CLOCK.set(self.clock.now() / 1000)

    def bearable(self, judged: Sequence[Judged]) -> list[Judged]:
        """All but the partitions of which too much is bad: of their batch nothing is handled, nor
        of those that were polled after it."""
        kept = []
        for part in judged:
            last = part.dead[-1][1] if part.dead else None
            try:
                self.limit.count(part.position, part.count, len(part.dead), last)
                kept.append(part)
            except TooManyDead as error:
                self.log.error("blocked", position=str(part.position), error=str(error))
                self.blocked[part.position] = Blocked(part.first, str(error))
        return kept

    def hold(self, consumer: Consumer) -> None:
        """Reads partitions that were blocked no further for a while; the others go on."""
        mine = self._last_stored.keys() - self._held
        new = {p: at.first for p, at in self.blocked.copy().items() if p in mine}
        if new:
            consumer.pause(new)
            consumer.seek(new)
            self._held |= new.keys()
            self._unblock_at = time.monotonic() + BLOCKED_SECONDS

    def unblock(self, consumer: Consumer) -> None:
        """Looks at blocked partitions again: the cause may be repaired. What was polled beyond
        their first bad batch has to be gone by then."""
        if self._held and time.monotonic() >= self._unblock_at:
            self.finish(consumer)
            consumer.resume(self._held)
            for position in self._held:
                del self.blocked[position]
            self._held.clear()

    def letters(self, judged: Sequence[Judged], now: int) -> list[Emit]:
        """Dead letters of the records beyond the last row: those before it were sent."""
        found = []
        for part in judged:
            position = part.position
            metrics.RECORDS.labels(position.topic).inc(part.count)
            for record, error in part.dead:
                if record.offset > self.last_stored(position):
                    at = f"{position}@{record.offset}"
                    self.log.warning(
                        "dead letter", position=at, reason=error.reason, field=error.field
                    )
                    found.append(letters.letter(record, error, now, self.artifacts))
        return found

    def store_rows(self, judged: Sequence[Judged]) -> None:
        """Rows beyond the last one stored; of outcomes those whose id is not stored yet. Two
        partitions' inserts have nothing to do with each other: they are made side by side."""
        rows = [self.beyond_last(part) for part in judged]
        list(self._inserters.map(self.insert, judged, self.once(judged, rows)))

    def beyond_last(self, part: Judged) -> pa.Table:
        offsets = part.rows["offset"].to_numpy()
        return part.rows.slice(offsets.searchsorted(self.last_stored(part.position), side="right"))

    def once(self, judged: Sequence[Judged], rows: Sequence[pa.Table]) -> list[pa.Table]:
        """The same without outcomes that are stored already: a crash may have sent them again."""
        ids = [
            table["outcome_id"].to_pylist() if part.position.topic == join.TOPIC else []
            for part, table in zip(judged, rows, strict=True)
        ]
        wanted = list(chain.from_iterable(ids))
        known = self.again(lambda: queries.stored_outcomes(self.store, wanted)) if wanted else set()
        return [
            table.filter(pa.array(join.are_new(own, known))) if own else table
            for own, table in zip(ids, rows, strict=True)
        ]

    def insert(self, part: Judged, rows: pa.Table) -> None:
        """One insert, hence all or none, a topic-partition."""
        position = part.position
        self.last_stored(position)  # it may have gone meanwhile
        if len(rows):
            self.insert_once(position, rows)
            if position in self._last_stored:
                self._last_stored[position] = rows["offset"][-1].as_py()
            metrics.QUERYABLE.observe(max(0.0, time.time() - part.since / 1000))

    def last_stored(self, position: Position) -> int:
        """Offset of the last row of a partition, -1 without one.

        Raises:
            Fenced
        """
        if (found := self._last_stored.get(position)) is None:
            raise Fenced(f"{position} went to another process before it was stored: starting anew")
        return found

    def insert_once(self, position: Position, rows: pa.Table) -> None:
        """Tried again under the same token, an insert whose answer was lost stays one insert.

        Raises:
            Fenced
        """
        table, token = self.tables[position.topic].name, uuid4().hex
        condition = self.owner.condition(position)
        try:
            self.again(
                lambda: self.store.append_columns(table, rows, token, condition, note(position))
            )
        except StoreRefused as error:
            if is_fenced(error):
                raise Fenced(f"{position} is another process's by now: starting anew") from error
            raise

    def outcomes(self, judged: Sequence[Judged]) -> list[Emit]:
        """Feedback and answers that meet because one of them was just stored."""
        ranges = {
            part.position: (part.first, part.last)
            for part in judged
            if part.position.topic in JOINED
        }
        if not ranges:
            return []
        feedback = self.again(lambda: queries.feedback_to_join(self.store, ranges))
        if not feedback:
            return []
        ids = [row["request_id"] for row in feedback]
        answers = self.again(lambda: queries.answers_to(self.store, ids))
        found = join.outcomes(feedback, answers, lambda row: lies_in(ranges, row))
        metrics.OUTCOMES.inc(len(found))
        for emit in found:
            delay = emit.event["feedback_time"] - emit.event["inference_time"]
            metrics.JOIN_DELAY.observe(max(0, delay) / 1000)
        return found

    def is_time_for_orphans(self, now: int) -> bool:
        return self.hears_clock and now - self._orphans_at >= ORPHANS_EVERY_MS

    def orphans(self, now: int) -> list[Emit]:
        """Dead letters of feedback whose inference has not come within the model's `orphan_days`.
        Looked for when time went on, by the one member that hears the clock. The feedback stays
        stored: should its inference come after all, they are joined."""
        if not self.is_time_for_orphans(now):
            return []
        found = self.again(
            lambda: letters.orphans(self.store, self.declared.models, self.codec, now)
        )
        metrics.ORPHANS.inc(len(found))
        self._orphans_at = now
        return found

    def mark(self, judged: Sequence[Judged]) -> Marks:
        """All marks of a poll in one insert; from here on it is never read again."""
        marks = {part.position: part.last + 1 for part in judged}
        self.again(lambda: queries.mark(self.store, marks))
        for position, at in marks.items():
            metrics.POSITION.labels(position.topic, position.partition).set(at)
            self.health.moved(**{str(position): at})
        return marks

    def commit(self, consumer: Consumer) -> None:
        """Tells the group's offsets. Nothing depends on them, so a failure waits for the next
        round: a member that was put out of the group has to poll before it may commit."""
        if self._uncommitted:
            try:
                consumer.commit(self._uncommitted)
                self._uncommitted.clear()
            except BusUnavailable as error:
                self.log.warning("not committed", error=str(error))

    def tell_health(self) -> None:
        metrics.BLOCKED.set(len(self.blocked))
        self.health.ready = bool(self._last_stored)
        self.health.moved(blocked={str(p): at.why for p, at in self.blocked.copy().items()})

    def tell_lag(self) -> None:
        """How far behind the ends of its partitions this is, now and then."""
        if time.monotonic() < self._lag_at:
            return
        self._lag_at = time.monotonic() + LAG_SECONDS
        try:
            ends = self.bus.ends({position.topic for position in self._last_stored})
        except BusUnavailable:
            return
        for position, at in self._next.items():
            behind = max(0, ends.get(position, at) - at)
            metrics.LAG.labels(position.topic, position.partition).set(behind)

    def give_back_memory(self) -> None:
        """Now and then; else this would hold for good what its largest poll ever needed."""
        if time.monotonic() >= self._give_back_at:
            self._give_back_at = time.monotonic() + memory.GIVE_BACK_SECONDS
            memory.give_back()

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


def amount(batches: Iterable[Batch]) -> tuple[int, int]:
    """Records, and bytes of their values."""
    sizes = [(len(batch), batch.values.nbytes) for batch in batches]
    return sum(count for count, _ in sizes), sum(size for _, size in sizes)


def may_be_known_by_now(part: Judged) -> set[int | None]:
    """Schema ids that were not known, and None for anything else that was not."""
    return {
        error.value if error.reason == UNKNOWN_SCHEMA else None
        for _, error in part.dead
        if error.reason in MAY_BE_NEW
    }


def lies_in(ranges: queries.Ranges, row: Row) -> bool:
    first, last = ranges.get(Position(row["topic"], row["partition"]), (0, -1))
    return first <= row["offset"] <= last
