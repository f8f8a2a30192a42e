"""Follows the desired state: what stands on `routing` is served, and `routing.acks` says so.

An acknowledgement is a lease: at ticks the router says again what it serves or refuses, so that one
that is gone is noticed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from driftgate import metrics
from driftgate.errors import Retriable
from driftgate.events import AnyEvent, Routing, RoutingAck, Tick
from driftgate.health import Health, Log
from driftgate.routing import contradiction
from driftgate.runtime import Effect, Handler, Service, View, Views
from driftgate.topology import ROUTER
from services.router.loading import Load
from services.router.snapshot import Served
from services.router.versions import Versions, summary

# So long a start waits for what was served last, s: a base on disk takes seconds. So long records
# are waited for too where time stands still between ticks, and the leases with it.
LOAD_SECONDS = 30.0
# So long records are waited for between two ticks, s, all of them together, where time goes on: no
# lease is renewed meanwhile. What comes of one that takes longer is told at a tick.
FOLLOW_SECONDS = 1.0
LEASE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What a router has to say of a model, whenever it says so.

    Attributes:
        told: what it last said, and when.
    """

    ack: RoutingAck
    told: RoutingAck | None


class Followed(NamedTuple):
    """The newest record of a model, and where it lay."""

    epoch: int
    offset: int


@dataclass
class Follower:
    """The edge of the service: loads, and says what is loaded.

    Attributes:
        router: name of this router on `routing.acks`.
        shown: told whenever something is served.
        patience: `FOLLOW_SECONDS`.
        ending: the router is not ready any more, whatever it serves.
    """

    router: str
    versions: Versions
    log: Log
    health: Health
    shown: Callable[[], object] = lambda: None
    patience: float = FOLLOW_SECONDS
    ending: bool = False
    _loads: dict[str, Load] = field(default_factory=dict)
    _followed: dict[str, Followed] = field(default_factory=dict)
    _waited: float = 0.0
    _goes_on: bool = False
    _told: dict[str, RoutingAck] = field(default_factory=dict)

    def service(self) -> Service:
        return Service(
            name=ROUTER,
            handlers={
                Routing: Handler(acknowledge, self.follow),
                Tick: Handler(acknowledge, self.ticked, each=self.followed),
            },
            views=(View(Routing),),
            observe=self.observe,
            ready=lambda: bool(self.versions.snapshot) and not self.ending,
            every_replica=True,
        )

    def recall(self) -> None:
        """Serves the last good routing, before anybody can ask, be Kafka there or not."""
        self.versions.sweep()
        loads = [self.load(routing) for routing in self.versions.last_good.read()]
        deadline = time.monotonic() + LOAD_SECONDS
        for load in loads:
            load.wait_for_answers(deadline - time.monotonic())

    def follow(self, routing: Routing, views: Views, now: int) -> Standing | None:
        """Serves a record, or refuses it and goes on. One that comes after a higher epoch is
        passed over."""
        record = Followed(routing.epoch, views.place[1])
        newest = self._followed.get(routing.model)
        if newest is not None and is_stale(record, newest):
            about = {"model": routing.model, "epoch": routing.epoch, "newest": newest.epoch}
            self.log.warning("passed over", **about)
        else:
            self._followed[routing.model] = record
            self.wait(self.load(routing))
        return self.standing(routing, views, now)

    def followed(self, tick: Tick, views: Views) -> Iterable[Routing]:
        """The newest record of each model."""
        self._goes_on = tick.pace > 0
        return views[Routing].values()

    def ticked(self, routing: Routing, views: Views, now: int) -> Standing | None:
        """Time passed: records are waited for again."""
        self._waited = 0.0
        return self.standing(routing, views, now)

    def wait(self, load: Load) -> None:
        """For as long as records may be waited for before the next tick."""
        begin, patience = time.monotonic(), self.patience if self._goes_on else LOAD_SECONDS
        load.wait(max(0.0, patience - self._waited))
        self._waited += time.monotonic() - begin

    def standing(self, routing: Routing, views: Views, now: int) -> Standing | None:
        """Where this router stands with a record's model; None while it served nothing of it."""
        load = self._loads.get(routing.model)
        if load is not None and (error := load.error) is not None:
            return self.stands(load.routing, error)
        if load is not None and (outage := load.outage) is not None:
            return self.stands(load.routing, outage, retrying=True)
        served = self.versions.snapshot.get(routing.model)
        return self.stands(served.routing) if served is not None else None

    def load(self, routing: Routing) -> Load:
        """Begins to put a record into service, in place of the one before of its model."""
        before = self._loads.get(routing.model)
        if before is not None:
            if before.running and not contradiction(before.routing, routing):
                return before
            before.supersede()
        load = Load(routing, self.serve, self.log)
        self._loads[routing.model] = load
        return load.start()

    def serve(self, routing: Routing, answers: Callable[[], object]) -> None:
        """Returns once a record is served, and who stands by is loaded; calls `answers` before
        that. Called in the thread of its load."""

        def serving() -> None:
            self.show()
            answers()

        about = {"model": routing.model, "epoch": routing.epoch}
        self.health.heartbeat(activity=f"loading epoch {routing.epoch} of {routing.model}")
        try:
            self.versions.serve(routing, serving)
        except Retriable:
            raise
        except Exception as error:
            self.log.error("refused", **about, why=summary(error))
            raise
        finally:
            self.health.heartbeat(activity=None)
        if lacks := lacking(self.versions.snapshot.get(routing.model)):
            self.log.warning("serving without standby", **about, why=lacks)
        self.log.info("serving", **about)
        self.show()

    def show(self) -> None:
        """Shows what is served to probes and metrics."""
        epochs = {name: one.routing.epoch for name, one in self.versions.snapshot.items()}
        for model, epoch in epochs.items():
            metrics.EPOCH.labels(model).set(epoch)
        self.health.heartbeat(epochs=epochs)
        self.health.ready = not self.ending
        self.shown()

    def end(self) -> None:
        """Tells probes that the router is not ready, before it refuses anybody."""
        self.ending = True
        self.health.ready = False

    def stands(
        self, routing: Routing, error: BaseException | None = None, retrying: bool = False
    ) -> Standing:
        """A record is served, be it without some who should stand by, or is refused for an error,
        which may pass."""
        served = self.versions.snapshot.get(routing.model)
        reason = summary(error) if error is not None else lacking(served)
        ack = RoutingAck(
            router=self.router,
            model=routing.model,
            epoch=routing.epoch,
            status="serving" if error is None else "refused",
            digests=tuple(sorted(served.digests)) if served is not None else (),
            reason=f"waits: {reason}" if retrying else reason,
            retrying=retrying,
            time=routing.time,
        )
        return Standing(ack, self._told.get(routing.model))

    def observe(self, sent: Sequence[AnyEvent], views: Views) -> None:
        self._told |= {ack.model: ack for ack in sent if isinstance(ack, RoutingAck)}


def lacking(served: Served | None) -> str | None:
    """Who of a model that is served should stand by, and does not."""
    absent = served.absent if served is not None else {}
    return "; ".join(f"standby {version}: {why}" for version, why in absent.items()) or None


def is_stale(record: Followed, newest: Followed) -> bool:
    """Whether a record comes after a higher epoch. One that lies before it is of a topic that was
    made anew."""
    return record.epoch < newest.epoch and record.offset > newest.offset


def acknowledge(standing: Standing | None, views: Views, now: int) -> Iterable[Effect]:
    """Tells where the router stands when that is new, and again once a lease has passed."""
    if standing is None:
        return
    ack, told = standing.ack, standing.told
    if told is None or now - told.time >= LEASE_MS or differs(ack, told):
        yield replace(ack, time=now)


def differs(ack: RoutingAck, told: RoutingAck) -> bool:
    """Whether a router stands elsewhere than it said. What it waits for may be told in other words
    at each try."""
    reason = told.reason if ack.retrying and told.retrying else ack.reason
    return replace(ack, time=told.time, reason=reason) != told
