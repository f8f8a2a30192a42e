"""What the runtime does with each record, whoever polled it: decode, order, handle, send."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftgate import metrics
from driftgate.audit import Audit
from driftgate.bus import Bus, Position, Producer, Record
from driftgate.codec import Codec, canonical
from driftgate.dead_letters import UNHANDLED, dead_letter
from driftgate.errors import BadInput, BusUnavailable, Retriable, Terminal
from driftgate.events import AnyEvent, AuditEntry, Tick
from driftgate.health import Health, Log
from driftgate.runtime.backoff import Backoff
from driftgate.runtime.order import Cut, Held, Key, Order, Part
from driftgate.runtime.service import AuditDraft, Effect, Handler, Memory, Service
from driftgate.runtime.views import TICKS_KEPT, Views
from driftgate.system_clock import Clock, look

DEAD_LETTER = "dead-letter"
# Two clocks may have written each tick, for as long as Kafka had not noticed.
TICKS_RECALLED = 2 * TICKS_KEPT
# So long is worked before what was done is committed, and the group and the supervisor are heard.
WORK_SECONDS = 2.0
# With a third of it to find the partition, it is less than the 10 s after which the group misses a
# member: what this replica could not send does not come when another one works.
GIVE_UP_SECONDS = 7.0
# Characters of an event, or of an error, that the audit tells of what was given up.
MAX_TOLD = 10_000


def no_fence() -> None:
    return


@dataclass
class Engine:
    """One replica of a service, between a consumer that gives records to `add` and takes from
    `settle` how far the group may commit.

    Attributes:
        now: time of the last tick handled, ms; 0 before the first.
        clock: told of each tick when it is handled; for those who need the time between ticks.
        monotonic: seconds, for back-off alone.
        replica: of the service.
        fence: raises BusUnavailable when another replica works by now. Called before anything is
            sent or kept.
    """

    service: Service
    bus: Bus
    codec: Codec
    log: Log
    health: Health
    clock: Clock = field(default_factory=Clock)
    monotonic: Callable[[], float] = time.monotonic
    replica: str = "0"
    fence: Callable[[], None] = no_fence
    views: Views = field(init=False)
    order: Order = field(init=False)
    now: int = field(init=False, default=0)
    _audit: Audit | None = field(init=False, default=None)
    _producer: Producer | None = field(init=False, default=None)
    _backoff: Backoff = field(init=False, default_factory=Backoff)
    _handled: dict[Position, int] = field(init=False, default_factory=dict)
    _settled: dict[Position, int] = field(init=False, default_factory=dict)
    _committed: Mapping[Position, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.order = Order(self.service.relayed)

    @property
    def name(self) -> str:
        """Who decides, in audit entries and dead letters."""
        return self.service.group(self.replica)

    @property
    def audit(self) -> Audit:
        """The chain that our entries go on. Read when it is first needed: the log is long, and a
        router may never decide."""
        if self._audit is None:
            self._audit = Audit.resume(self.name, self.bus, self.codec)
        return self._audit

    def begin(self) -> Mapping[Position, int]:
        """Takes up the service's work, here or where another replica left it: views, memory and
        the time. Returns where to start partitions that are not to start where the group committed.

        Raises:
            BusUnavailable
        """
        self._producer = self.bus.producer(GIVE_UP_SECONDS)
        ends, newest = self._materialise()
        if self.service.memory is not None:
            self._handled = self._remembered(self.service.memory)
            self._settled = dict(self._handled)
        if not self.service.every_replica:
            self._committed = self.bus.committed(self.service.name)
        self.send(self.service.begin(self.views))
        if self.service.every_replica:
            look(self.clock, self.bus, self.codec)  # the last tick is handled only later
            for record in newest:
                self.add(record)
            last_tick = {p: max(end - 1, 0) for p, end in self.bus.ends([Tick.TOPIC]).items()}
            self._recall_time(last_tick)
            return ends | last_tick
        self._recall_time({**self._committed, **self._settled})
        return dict(self._settled)

    def add(self, record: Record) -> None:
        """Takes a record that was polled. Ticks are decoded at once, since they order the rest, and
        what is only looked up is known at once."""
        metrics.RECORDS.labels(record.topic).inc()
        at_once = record.topic == Tick.TOPIC or record.topic in self.service.looked_up()
        if not at_once or self.order.queued(record.position):
            self.order.add(record)
            return
        try:
            event = self._decoded(record)
        except Retriable:
            self.order.add(record)  # and those behind it
            return
        self.order.passed(record)
        self._known_at_once(event, record)

    def _known_at_once(self, event: AnyEvent | None, record: Record) -> None:
        if isinstance(event, Tick):
            self.order.add_tick(record, event)
        elif event is not None:
            self.views.follow(event, record.position, record.offset)

    def advance(self, ticks_only: bool = False) -> None:
        """Handles what may be handled now, for some seconds at most, and sends what it leads to.

        Raises:
            BusUnavailable: what was decided could not be sent in time. Begin anew.
        """
        until = self.monotonic() + WORK_SECONDS
        while (now := self.monotonic()) <= until:
            match self.order.take(now, ticks_only):
                case None:
                    return
                case Cut() as cut:
                    self._tick(cut)
                case Part(cut, model):
                    self._pass_time(cut, model)
                case Held() as held:
                    self._retry(held, until)
                case records:
                    self._run(records, until)

    def settle(self) -> Mapping[Position, int]:
        """What may be committed: the next offset of each partition whose records have had their
        effects since the last call. What the service remembers is kept before."""
        for position in self.order.reached:  # also past offsets that no record stands at
            if (next_ := self.order.next(position)) > self._handled.get(position, 0):
                self._handled[position] = next_
        new = {p: at for p, at in self._handled.items() if self._settled.get(p) != at}
        if new and self.service.memory is not None:
            self.fence()
            try:
                self.service.memory.keep(dict(self._handled))
            except OSError as error:  # what was sent is sent: to begin anew would send it again
                self._cannot_keep(error)
                return {}
        self._settled |= new
        return new

    def committed(self) -> Mapping[Position, int]:
        """What the group has committed of the ticks. To commit it again changes nothing."""
        ticks = Position(Tick.TOPIC, 0)
        return {ticks: self._settled.get(ticks, self._committed.get(ticks, 0))}

    def handled(self, position: Position, default: int) -> int:
        """Next offset to be handled."""
        return self._handled.get(position, default)

    def drop(self, positions: Iterable[Position]) -> None:
        """Partitions that went to another replica."""
        gone = list(positions)
        self.order.drop(gone)
        for position in gone:
            self._handled.pop(position, None)
            self._settled.pop(position, None)

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()

    def _materialise(self) -> tuple[dict[Position, int], list[Record]]:
        """Reads the views to their end; returns where that is, and the newest records to handle."""
        self.views = Views(self.service.views)
        topics = [view.kind.TOPIC for view in self.service.views]
        if not topics:
            return {}, []
        ends = dict(self.bus.ends(topics))
        newest: dict[Any, Record] = {}
        for record in self.bus.read_all(topics):
            event = self._decoded(record)
            if event is not None:
                self.views.follow(event, record.position, record.offset)
                if type(event) in self.service.handlers:
                    newest[record.topic, self.views.key(event)] = record
        return ends, sorted(newest.values(), key=lambda record: record.offset)

    def _remembered(self, memory: Memory) -> dict[Position, int]:
        """Where what is remembered ends. What is not part of it is read from the beginning,
        whatever the group committed: another replica, with a memory of its own, may have."""
        kept = memory.restore()
        return {at: kept.get(at, 0) for at in self.bus.ends(self.service.topics())}

    def _recall_time(self, starts: Mapping[Position, int]) -> None:
        """Time as it was before the ticks that are to be handled, so that what is decided before
        the next one does not hang on a restart."""
        handled = {p: at for p, at in starts.items() if p.topic == Tick.TOPIC and at > 0}
        since = {position: max(at - TICKS_RECALLED, 0) for position, at in handled.items()}
        if not handled:
            return
        for record in self.bus.read_all([Tick.TOPIC], since):
            if record.offset >= handled.get(record.position, 0):
                break
            tick = self._decoded(record)
            if isinstance(tick, Tick) and tick.time > self.now:
                self._advance_clock(tick, record)
                self.now = tick.time

    def _advance_clock(self, tick: Tick, record: Record) -> None:
        self.views.tick(tick.time)
        self.clock.advance(tick, record.timestamp)

    def _run(self, records: Sequence[Record], until: float) -> None:
        """Records of one partition, in their order, as far as time allows."""
        for index, record in enumerate(records):
            if self.monotonic() > until:
                self.order.put_back(records[index:])
                return
            try:
                event = self._decoded(record)
            except Retriable as error:  # whose it is is not known
                self.order.put_back(records[index:], self._again(Key(record.position, ""), error))
                return
            self._worked(Key(record.position, ""))
            if event is None or isinstance(event, Tick):
                self._known_at_once(event, record)
                continue
            key = Key(record.position, getattr(event, "model", ""))
            if self.order.behind(key, record):
                continue
            if waits := self._handle(event, record):
                self.order.hold(key, [record], self._again(key, waits))
            else:
                self._worked(key)

    def _retry(self, held: Held, until: float) -> None:
        """Records of one model that waited, up to the first that must wait again."""
        for index, record in enumerate(held.records):
            if self.monotonic() > until:
                self.order.hold(held.key, held.records[index:], 0.0)
                return
            event = self._decoded(record)
            if event is not None and (waits := self._handle(event, record)):
                self.order.hold(held.key, held.records[index:], self._again(held.key, waits))
                return
            self._worked(held.key)

    def _handle(self, event: AnyEvent, record: Record) -> Retriable | None:
        """What a record leads to; what it must wait for, if it must."""
        if type(event) in self.views:
            self.views.follow(event, record.position, record.offset)
        waits = None
        for part in self._parts(event):
            waits = self._react(part, event, record) or waits
        return waits

    def _tick(self, cut: Cut) -> None:
        """Time passes. A tick at which it does not, as one that two clocks wrote, is nothing."""
        if cut.tick.time <= self.now:
            return
        self.now = cut.tick.time
        self._advance_clock(cut.tick, cut.record)
        metrics.CLOCK.set(self.now / 1000)
        self._pass_time(cut)

    def _pass_time(self, cut: Cut, model: str | None = None) -> None:
        """What a tick leads to, for each model or for one. A model that waits holds up no other."""
        parts: dict[str, list[Any]] = defaultdict(list)
        for part in self._parts(cut.tick):
            parts[getattr(part, "model", "")].append(part)
        for whose in list(parts) if model is None else [model]:
            self._pass_time_of(Part(cut, whose), parts[whose])

    def _pass_time_of(self, due: Part, parts: Sequence[Any]) -> None:
        if self.order.supersedes(due):
            return
        key = Key(due.cut.record.position, due.model)
        for part in parts:
            waits = self._react(part, due.cut.tick, due.cut.record, due.cut.tick.time)
            if waits is not None:
                self.order.hold_part(due, self._again(key, waits))
                return
        self._worked(key)

    def _decoded(self, record: Record) -> AnyEvent | None:
        """None for a deletion, and for what ingest-logger, which reads every topic, makes a dead
        letter of: two would count twice.

        Raises:
            RegistryUnavailable: whether its schema exists is not known.
        """
        if record.value is None:
            return None
        try:
            return self.codec.event(record.topic, record.value)
        except BadInput as error:
            metrics.SKIPPED.labels(record.topic).inc()
            self.log.warning("skipped", position=str(record.position), error=str(error))
            return None

    def _parts(self, event: AnyEvent) -> Sequence[Any]:
        """The parts of an event that are handled by themselves."""
        handler = self.service.handlers.get(type(event))
        return () if handler is None else tuple(handler.each(event, self.views))

    def _react(self, part: Any, event: AnyEvent, record: Record, now: int = 0) -> Retriable | None:
        """Everything that a part of an event leads to; what it must wait for, if it must."""
        now = now or self.now or getattr(event, "time", 0)
        self.views.place = record.position, record.offset
        try:
            self.send(self._effects(self.service.handlers[type(event)], part, now))
        except BusUnavailable:
            raise
        except Retriable as error:
            return error
        except Exception as error:  # noqa: BLE001 - what was not foreseen stays where it arose
            self._failed(error, part, event, record, now)
        return None

    def _effects(self, handler: Handler, part: Any, now: int) -> list[Effect]:
        """The effects of a part of an event. An error that nobody foresaw may pass by itself."""
        for attempt in range(1, self.service.attempts + 1):
            try:
                gathered = handler.gather(part, self.views, now)
                return list(handler.decide(gathered, self.views, now))
            except (Retriable, Terminal):
                raise
            except Exception as error:
                if attempt == self.service.attempts:
                    raise
                metrics.RETRIES.labels(type(error).__name__).inc()
                self.log.exception("failed", attempt=attempt)
        raise AssertionError("a service tries at least once")

    def _failed(
        self, error: Exception, part: Any, event: AnyEvent, record: Record, now: int
    ) -> None:
        """Gives up a part of an event: a dead letter where it is a whole record, and an entry in
        the audit of its model."""
        refused = error if isinstance(error, BadInput) else unforeseen(error, part)
        effects: list[Effect] = []
        if part is event:
            metrics.DEAD.labels(record.topic, refused.reason).inc()
            effects.append(dead_letter(record, refused, self.name, now))
        if not isinstance(error, BadInput) or part is not event:
            self.log.error("given up", error=str(refused), exc_info=error)
            effects += given_up(part, event, refused, now)
        else:
            self.log.warning("dead letter", topic=event.TOPIC, error=str(refused))
        for effect in effects:
            try:
                self.send([effect])
            except Terminal as lost:  # the record stays where it is
                self.log.error("not told", position=str(record.position), error=str(lost))

    def send(self, effects: Iterable[Effect]) -> None:
        """Returns once all is acknowledged. Audit entries come first: a decision that is told and
        then lost is taken again under the same id; one that is not told may never be.

        Raises:
            BusRefused, BadInput: something of it can never be sent.
            BusUnavailable: not acknowledged in time.
        """
        try:
            self._send(effects)
        except Exception:
            self._audit = None  # how far its chains got is for the log to say
            raise

    def _send(self, effects: Iterable[Effect]) -> None:
        drafts: list[AuditEntry] = []
        events: list[AnyEvent] = []
        for effect in effects:
            if isinstance(effect, AuditDraft):
                drafts += self.audit.chained(effect)
            else:
                events.append(effect)
        # Encoded before: what cannot be is found before anything is sent.
        encoded = [[self.codec.record(event) for event in part] for part in (drafts, events)]
        for records in filter(None, encoded):
            self.fence()
            self._publish(records)
        for event in events:
            self.views.sent(event)
        self.service.observe(events, self.views)

    def _publish(self, records: Sequence[tuple[str, bytes | None, bytes]]) -> None:
        assert self._producer is not None
        for topic, key, value in records:
            self._producer.send(topic, key, value)
        self._producer.flush()
        for topic, _, _ in records:
            metrics.EMITTED.labels(topic).inc()

    def _worked(self, key: Key) -> None:
        """What may have waited waits no longer."""
        if self._backoff.failures(key):
            self._backoff.forget(key)
            if not self.order.waits:
                self.health.heartbeat(waiting=None)

    def _cannot_keep(self, error: OSError) -> None:
        metrics.RETRIES.labels(type(error).__name__).inc()
        self.log.error("memory not kept", error=str(error))
        self.health.heartbeat(waiting=f"memory: {error}")

    def _again(self, key: Key, error: Retriable) -> float:
        """When what waits is tried again. Outages are waited for, however long."""
        pause = self._backoff.next(key)
        tries = self._backoff.failures(key)
        place = " ".join(filter(None, (str(key.position), key.model)))
        metrics.RETRIES.labels(type(error).__name__).inc()
        self.log.warning("waits", position=place, seconds=pause, error=str(error))
        self.health.heartbeat(waiting=f"{place}, tried {tries} times: {error}")
        return self.monotonic() + pause


def unforeseen(error: Exception, part: Any) -> BadInput:
    """An error that a dead letter can tell."""
    told = str(error) if isinstance(error, Terminal) else f"{type(error).__name__}: {error}"
    why = f"one that can be handled ({told[:MAX_TOLD]})"
    return BadInput(UNHANDLED, "event", type(part).__name__, why)


def cut(value: Any) -> Any:
    """A value, or the beginning of one that is too long for an entry of the audit."""
    text = canonical(value)
    if len(text) <= MAX_TOLD:
        return value
    return {"begins": text[:MAX_TOLD], "characters": len(text)}


def given_up(part: Any, event: AnyEvent, error: BadInput, now: int) -> list[Effect]:
    """The audit entry of a failure; the same failure of the same model is told once."""
    model = getattr(part, "model", "")
    if not model:
        return []
    cause: Any = {"error": str(error)} if part is not event else event.as_dict()
    return [
        AuditDraft(
            model=model,
            decision=DEAD_LETTER,
            inputs={"event": cut(event.as_dict())},
            result={"reason": error.reason, "message": str(error)},
            summary=f"not handled: {error}",
            time=now,
            version=getattr(part, "version", None),
            cause=cause,
        )
    ]
