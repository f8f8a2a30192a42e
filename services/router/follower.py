"""Follows the desired state: what stands on `routing` is served, and `routing.acks` says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from driftgate import metrics
from driftgate.bus import Bus, Position, Producer
from driftgate.clock import Clock
from driftgate.codec import Codec
from driftgate.errors import Retriable, Terminal
from driftgate.events import Event
from driftgate.health import Health, Log
from driftgate.runner import CLOCK, newest

from services.router import snapshot
from services.router.versions import Versions

ROUTING = "routing"
ACKS = "routing.acks"
SERVING = "serving"
REFUSED = "refused"
# How late a router may notice a new routing record, s. Asking costs about a millisecond.
LOOK_SECONDS = 0.1


@dataclass
class Follower:
    """Looks at `routing` and `clock`, and acts when they moved.

    Attributes:
        router: name of this router on `routing.acks`.
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
    _ends: Mapping[Position, int] = field(default_factory=dict)
    _done: dict[str, Event] = field(default_factory=dict)

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping` is set. What cannot be reached is tried again at the next look."""
        while not stopping.is_set():
            try:
                self.look()
            except (Retriable, OSError) as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                self.log.warning("retrying", error=str(error))
            self.health.moved()
            stopping.wait(LOOK_SECONDS)

    def recall(self) -> None:
        """Serves the last good routing, before anybody can ask, be Kafka there or not."""
        for routing in snapshot.read(self.versions.kept):
            try:
                self.versions.serve(routing)
            except (Terminal, OSError) as error:
                self.log.warning("last good routing is lost", error=str(error))
        self.tell()

    def look(self) -> None:
        """One look at the desired state, and all that follows from it.

        Raises:
            BusUnavailable: nothing was lost; look again.
        """
        ends = self.bus.ends((ROUTING, CLOCK))
        if ends == self._ends:
            return
        for tick in newest(self.bus, self.codec, CLOCK).values():
            self.clock.advance(tick["time"])
        for model, routing in newest(self.bus, self.codec, ROUTING).items():
            if self._done.get(model) != routing:
                self.acknowledge(self.follow(routing))
                self._done[model] = routing
        self._ends = ends

    def follow(self, routing: Event) -> Event:
        """Serves a record, or refuses it and goes on; returns the acknowledgement."""
        try:
            served = self.versions.serve(routing)
        except Terminal as error:
            self.log.error(
                "refused", model=routing["model"], epoch=routing["epoch"], why=str(error)
            )
            return self.ack(routing, REFUSED, self.resident(routing["model"]), str(error))
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
        key = self.codec.topics.key(ACKS, ack)
        self._producer.send(ACKS, key, self.codec.encode(ACKS, ack))
        self._producer.flush()

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
