"""Follows the desired state: what stands on `routing` is served, and `routing.acks` says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from driftgate import metrics
from driftgate.bus import Bus, Consumer, Position, Producer, Record
from driftgate.clock import Clock
from driftgate.codec import Codec
from driftgate.errors import BadInput, Retriable, Terminal
from driftgate.events import Emit, Event
from driftgate.health import Health, Log
from driftgate.runner import CLOCK, newest, publish
from services.router import snapshot
from services.router.versions import Versions

ROUTING = "routing"
ACKS = "routing.acks"
SERVING = "serving"
REFUSED = "refused"
# Longest wait for a new record, s: so often a router that rests shows that it is alive.
LOOK_SECONDS = 0.1


@dataclass
class Follower:
    """Reads `routing` and `clock` as a group of its own, since every router obeys all of them.

    Attributes:
        router: name of this router, on `routing.acks` and as a group.
        served: told whenever something is served.
    """

    router: str
    bus: Bus
    codec: Codec
    clock: Clock
    versions: Versions
    log: Log
    health: Health
    served: Callable[[], object] = lambda: None
    _producer: Producer | None = None
    _consumer: Consumer | None = None
    _next: dict[Position, int] = field(default_factory=dict)
    _committed: dict[Position, int] = field(default_factory=dict)
    _done: dict[str, Event] = field(default_factory=dict)

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping` is set. After what cannot be reached it begins anew with the newest."""
        while not stopping.is_set():
            try:
                self.look()
            except (Retriable, OSError) as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                self.log.warning("retrying", error=str(error))
                self.leave()
                stopping.wait(LOOK_SECONDS)
            self.health.moved()
        self.leave()

    def recall(self) -> None:
        """Serves the last good routing, before anybody can ask, be Kafka there or not."""
        for routing in snapshot.read(self.versions.kept):
            try:
                self.versions.serve(routing)
            except (Terminal, OSError) as error:
                self.log.warning("last good routing is lost", error=str(error))
        self.tell()

    def look(self) -> None:
        """One look at what is new, and all that follows from it.

        Raises:
            BusUnavailable: leave, and look again.
        """
        if self._consumer is None:
            self.catch_up()
            self._consumer = self.bus.consumer((ROUTING, CLOCK), self.router, self.router, self)
        for record in self._consumer.poll(LOOK_SECONDS):
            self.take(record)
            self._next[record.position] = record.offset + 1
        if self._next != self._committed:
            self._consumer.commit(self._next)
            self._committed = dict(self._next)

    def leave(self) -> None:
        """Forgets the consumer: what it polled, and was not done with, is read again."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def take(self, record: Record) -> None:
        try:
            event = self.codec.decode(record.topic, record.value)
        except BadInput as error:  # ingest-logger writes the dead letter
            metrics.SKIPPED.labels(record.topic).inc()
            self.log.warning("skipped", position=str(record.position), error=str(error))
            return
        if record.topic == CLOCK:
            self.clock.advance(event["time"])
        else:
            self.obey(event)

    def catch_up(self) -> None:
        """Obeys the newest record of each model only: those before it are history."""
        self._next = dict(self.bus.ends((ROUTING, CLOCK)))
        for tick in newest(self.bus, self.codec, CLOCK).values():
            self.clock.advance(tick["time"])
        for routing in newest(self.bus, self.codec, ROUTING).values():
            self.obey(routing)

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """Goes on where this process is, wherever the group was."""
        return {position: self._next.get(position, 0) for position in positions}

    def revoked(self, positions: Iterable[Position]) -> None: ...

    def obey(self, routing: Event) -> None:
        """Follows a record once."""
        if self._done.get(routing["model"]) != routing:
            self.acknowledge(self.follow(routing))
            self._done[routing["model"]] = routing

    def follow(self, routing: Event) -> Event:
        """Serves a record, or refuses it and goes on; returns the acknowledgement."""
        self.health.moved(activity=f"loading epoch {routing['epoch']} of {routing['model']}")
        try:
            served = self.versions.serve(routing)
        except Terminal as error:
            self.log.error(
                "refused", model=routing["model"], epoch=routing["epoch"], why=str(error)
            )
            return self.ack(routing, REFUSED, self.resident(routing["model"]), str(error))
        finally:
            self.health.moved(activity=None)
        self.log.info("serving", model=routing["model"], epoch=routing["epoch"])
        self.tell()
        return self.ack(routing, SERVING, served.digests, None)

    def ack(self, routing: Event, status: str, digests: frozenset[str], why: str | None) -> Event:
        return {
            "router": self.router,
            "model": routing["model"],
            "epoch": routing["epoch"],
            "status": status,
            "digests": sorted(digests),
            "reason": why,
            "time": routing["time"],
        }

    def acknowledge(self, ack: Event) -> None:
        """Returns once the acknowledgement is itself acknowledged."""
        if self._producer is None:
            self._producer = self.bus.producer()
        publish(self._producer, self.codec, [Emit(ACKS, ack)])

    def resident(self, model: str) -> frozenset[str]:
        served = self.versions.snapshot.get(model)
        return served.digests if served else frozenset()

    def tell(self) -> None:
        """Shows what is served to probes and metrics."""
        epochs = {name: one.routing["epoch"] for name, one in self.versions.snapshot.items()}
        for model, epoch in epochs.items():
            metrics.EPOCH.labels(model).set(epoch)
        self.health.moved(epochs=epochs)
        if epochs:
            self.health.ready = True
            self.served()
