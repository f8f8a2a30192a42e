"""From the spool to Kafka: a thread that sends what is in the spool, in order, and removes it once
Kafka has acknowledged it. An outage is waited for; a process that is killed leaves the rest to its
successor. A record that Kafka does not take is set aside in the spool, and holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from time import monotonic, sleep

from driftgate import metrics
from driftgate.bus import Producer
from driftgate.errors import BusGaveUp, BusRefused, BusUnavailable, Retriable
from driftgate.health import Log
from driftgate.runtime.backoff import Backoff
from services.router.spool import Encoded, Spool, Spooled, SpoolFull, as_text

# Records sent at once: some 500 KB.
ROUND = 500
# So long records wait for company before they are sent, s: work for one record costs as much as
# for ten, and it is taken from the requests that come meanwhile.
LINGER_SECONDS = 0.01
# What is not acknowledged after this time tells that Kafka is away, s.
AWAY_SECONDS = 2.0
# Pause between two tries of a router that ends, s.
PAUSE_SECONDS = 0.1
# The client tries for so long, a week, s. While it tries itself it doubles nothing.
GIVE_UP_SECONDS = 7 * 86_400.0
# So often in a row a record may fail as nobody foresaw before it is set aside.
TRIES = 3
# Characters of an error that are kept.
MAX_ERROR = 300
# So many of those that were set aside last are shown.
SHOWN = 5


@dataclass
class Round:
    """Records that Kafka was sent at once and has not acknowledged yet.

    Attributes:
        begun: s of a monotonic clock.
        last: place up to which the spool is sent, or set aside.
        direct: who waits for those that are not from the spool.
        spooled: those that are.
        refused: what is set aside of them once the others are on Kafka, and why.
    """

    begun: float
    last: int
    direct: list[Future[None]]
    spooled: list[Spooled] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


@dataclass
class Delivery:
    """What goes to Kafka. `run` belongs to one thread, all else to any.

    Attributes:
        connect: makes a producer that tries for `GIVE_UP_SECONDS`, without asking Kafka anything.
        show: told which records are set aside, by key, the last of them, and why.
    """

    spool: Spool
    connect: Callable[[], Producer]
    log: Log
    show: Callable[[Mapping[str, str]], object] = lambda _: None
    _producer: Producer | None = None
    _round: Round | None = None
    _gave_up: bool = False
    _failing: tuple[int, int] = (0, 0)
    _aside: dict[int, str] = field(default_factory=dict)
    _appended: int = field(init=False)
    _delivered: int = field(init=False)
    _direct: list[tuple[Sequence[Encoded], Future[None]]] = field(default_factory=list)
    _awaited: list[tuple[int, Future[None]]] = field(default_factory=list)
    _changed: Condition = field(default_factory=Condition)
    _ending: Event = field(default_factory=Event)
    _end_by: float = 0.0
    _thread: Thread | None = None

    def __post_init__(self) -> None:
        try:
            self._appended, first = self.spool.last(), self.spool.first()
            self._delivered = self._appended if first is None else first - 1
            metrics.SPOOLED.set(self.spool.count())
            self._show_aside()
        except SpoolFull:  # what is in it goes out with the first answer that it takes
            self._appended = self._delivered = 0

    def start(self) -> None:
        """In a thread that no ending process waits for."""
        self._thread = Thread(target=self.run, name="delivery", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ends the thread once all is delivered, or after that time: the rest stays in the spool
        for the next start."""
        self._end_by = monotonic() + seconds
        self._ending.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def appended(self, place: int) -> None:
        """There is something in the spool, up to a place."""
        with self._changed:
            self._appended = max(self._appended, place)
            self._changed.notify_all()

    def acknowledged(self, place: int) -> Future[None]:
        """Done once Kafka has acknowledged all up to a place of the spool. Who waits no longer
        cancels it."""
        done: Future[None] = Future()
        with self._changed:
            if place > self._delivered:
                self._awaited = [one for one in self._awaited if not one[1].cancelled()]
                self._awaited.append((place, done))
                return done
        done.set_result(None)
        return done

    @property
    def away(self) -> bool:
        """Whether Kafka did not take what it was sent last, or takes long to acknowledge it."""
        under_way = self._round
        return self._gave_up or (
            under_way is not None and monotonic() - under_way.begun > AWAY_SECONDS
        )

    def send_past_spool(self, records: Sequence[Encoded]) -> None:
        """For what the spool cannot take: returns once Kafka has acknowledged it.

        Raises:
            BusUnavailable: Kafka is away. Whether the records arrived is not known.
        """
        if self.away:
            raise BusUnavailable("Kafka is away")
        done: Future[None] = Future()
        with self._changed:
            self._direct.append((records, done))
            self._changed.notify_all()
        try:
            done.result(AWAY_SECONDS)
        except TimeoutError:
            with self._changed:  # who is told that they were not kept asks again
                self._direct = [one for one in self._direct if one[1] is not done]
            raise BusUnavailable(f"no acknowledgement in {AWAY_SECONDS:g} s") from None

    def run(self) -> None:
        """Until `stop`, and all is delivered or time is up."""
        backoff = Backoff()
        while not (self._ending.is_set() and (self._idle() or monotonic() >= self._end_by)):
            try:
                self.wait()
                self.deliver()
                backoff.forget("delivery")
            except Retriable as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                self.log.warning("answers wait for Kafka", error=str(error))
                self._pause(backoff.next("delivery"))
            except Exception as error:  # noqa: BLE001 - a thread that ends would keep all answers
                self.log.error("delivery failed", error=repr(error))
                self._pause(backoff.next("delivery"))

    def wait(self) -> None:
        """Until there is something to send, and a moment for its company."""
        with self._changed:
            self._changed.wait_for(lambda: not self._idle() or self._ending.is_set())
        self._ending.wait(LINGER_SECONDS)

    def _pause(self, seconds: float) -> None:
        """Ends early for what goes past the spool, since somebody waits for it, and lasts no longer
        than `PAUSE_SECONDS` once the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._direct or self._ending.is_set(), seconds)
        if self._ending.is_set():
            sleep(PAUSE_SECONDS)

    def deliver(self) -> None:
        """One round: sends what is there, waits for Kafka, removes it from the spool.

        Raises:
            BusUnavailable: Kafka has not acknowledged it yet. The next round waits on, or sends it
                again where the client has given up.
            SpoolFull: the disk cannot note that it was. It is not sent again by this process.
        """
        if self._round is None and not self._begin():
            return
        assert self._producer is not None
        try:
            self._producer.flush()
        except BusGaveUp as error:
            self._give_up(error)
            raise
        except BusRefused as error:
            self._refused(error)
        self._end()

    def _idle(self) -> bool:
        return self._round is None and not self._direct and self._appended <= self._delivered

    def _begin(self) -> bool:
        """Hands what is there to the client; whether there is anything."""
        with self._changed:
            direct, self._direct = self._direct, []
        records = self._spooled(alone=not direct)
        if not records and not direct:
            return False
        self._round = Round(monotonic(), self._delivered, [done for _, done in direct])
        try:
            self._producer = self._producer or self.connect()
            self._send_spooled(self._producer, records, self._round)
            for record in (record for some, _ in direct for record in some):
                self._send_direct(self._producer, record)
        except Exception as error:  # whatever it was, nothing of the round may pass for sent
            self._give_up(error)
            raise
        return True

    def _spooled(self, alone: bool) -> list[Spooled]:
        """The next of the spool. One that cannot be read holds up nothing that goes past it.

        Raises:
            SpoolFull: it cannot be read, and there is nothing else to send.
        """
        try:
            return self.spool.after(self._delivered, ROUND)
        except SpoolFull:
            self._gave_up = False  # whether Kafka is there, only what goes past the spool can tell
            if alone:
                raise
            return []

    def _send_spooled(self, producer: Producer, records: Sequence[Spooled], into: Round) -> None:
        """Up to the first that fails as nobody foresaw: those before it are of this round, it is
        tried again by the next, and after some tries it is set aside.

        Raises:
            BusUnavailable: none of them may pass for sent.
            Exception: what the first of them failed with, where there is nothing else to send.
        """
        for record in records:
            try:
                producer.send(*record[1:])
            except Retriable:
                raise
            except BusRefused as error:
                into.refused[record.place] = str(error)
            except Exception as error:
                if self._fails_again(record.place) < TRIES:
                    if not into.spooled and not into.direct:
                        raise
                    return
                into.refused[record.place] = repr(error)
            into.spooled.append(record)
            into.last = record.place

    def _fails_again(self, place: int) -> int:
        """How often in a row a record has failed by now."""
        before, times = self._failing
        self._failing = place, times + 1 if place == before else 1
        return self._failing[1]

    def _send_direct(self, producer: Producer, record: Encoded) -> None:
        try:
            producer.send(*record)
        except BusRefused as error:
            self._drop([record], error)

    def _refused(self, error: BusRefused) -> None:
        """Kafka has taken all of the round but some; any, where nobody says which."""
        assert self._round is not None
        wrong = error.records or [record[1:] for record in self._round.spooled]
        kept = [record for record in self._round.spooled if record[1:] in wrong]
        self._round.refused |= {record.place: str(error) for record in kept}
        known = {record[1:] for record in kept}
        self._drop([record for record in error.records if record not in known], error)

    def _drop(self, records: Sequence[Encoded], error: BusRefused) -> None:
        """What is not in the spool cannot be kept."""
        metrics.UNLOGGED.inc(len(records))
        for _, key, _ in records:
            self.log.error("dropped: Kafka does not take it", key=as_text(key), error=str(error))

    def _give_up(self, error: Exception) -> None:
        """The next round sends it again, by another producer."""
        self._gave_up = True
        producer, self._producer = self._producer, None
        under_way, self._round = self._round, None
        for done in under_way.direct if under_way is not None else ():
            with suppress(InvalidStateError):  # who waited has gone
                done.set_exception(BusUnavailable(str(error)))
        if producer is not None:
            with suppress(Retriable):
                producer.close()

    def _end(self) -> None:
        """All of the round is on Kafka, or set aside."""
        under_way, self._round, self._gave_up = self._round, None, False
        assert under_way is not None
        with self._changed:
            self._delivered = max(self._delivered, under_way.last)
            done = [future for place, future in self._awaited if place <= self._delivered]
            self._awaited = [one for one in self._awaited if one[0] > self._delivered]
            metrics.SPOOLED.set(self._appended - self._delivered)
        for future in (*done, *under_way.direct):
            with suppress(InvalidStateError):  # who waited has gone
                future.set_result(None)
        self._remove(under_way)

    def _remove(self, sent: Round) -> None:
        """Keeps in the spool what must not be sent again, and removes the rest."""
        for record in sent.spooled:
            if record.place in sent.refused:
                error = self._aside[record.place] = sent.refused[record.place][:MAX_ERROR]
                self.log.error(
                    "set aside: Kafka does not take it", key=as_text(record.key), error=error
                )
        self.spool.remove(self._delivered, self._aside)
        if self._aside:
            self._aside.clear()
            self._show_aside()

    def _show_aside(self) -> None:
        aside = self.spool.set_aside()
        metrics.SET_ASIDE.set(len(aside))
        self.show(dict(aside[-SHOWN:]))
