"""The loop over Kafka: one replica of a service from its start to SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from driftgate import metrics
from driftgate.bus import Bus, Consumer, Position, Record
from driftgate.codec import Codec
from driftgate.errors import Retriable
from driftgate.events import Tick
from driftgate.health import Health, Log
from driftgate.runtime.backoff import Backoff
from driftgate.runtime.engine import Engine
from driftgate.runtime.service import Service
from driftgate.system_clock import Clock

POLL_SECONDS = 0.2


@dataclass
class Runtime:
    """Runs a service. What it cannot reach it waits for; then it begins anew from what is durable.

    Attributes:
        replica: stable over restarts.
    """

    service: Service
    bus: Bus
    codec: Codec
    replica: str
    log: Log
    health: Health
    clock: Clock = field(default_factory=Clock)
    stopping: threading.Event = field(default_factory=threading.Event)
    _backoff: Backoff = field(default_factory=Backoff)

    def run(self) -> None:
        """Until `stopping` is set."""
        while not self.stopping.is_set():
            try:
                Shift(self).run()
            except Retriable as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                pause = self._backoff.next(self.service.name)
                self.log.warning("begins anew", seconds=pause, error=str(error))
                tries = self._backoff.failures(self.service.name)
                self.health.heartbeat(waiting=f"tried {tries} times: {error}")
                self.stopping.wait(pause)
            else:
                self._backoff.forget(self.service.name)


class Member(Protocol):
    """A consumer in the group, as far as what was polled concerns it."""

    def commit(self, next_offsets: Mapping[Position, int]) -> None: ...

    def pause(self, positions: Iterable[Position]) -> None: ...

    def resume(self, positions: Iterable[Position]) -> None: ...


class Shift:
    """One membership in the consumer group, from joining it to leaving it or losing it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.engine: Engine | None = None
        self.member: Member | None = None
        self._starts: Mapping[Position, int] = {}
        self._paused: set[Position] = set()

    def run(self) -> None:
        """Until the runtime stops.

        Raises:
            Retriable: the bus is away, or what was sent was not acknowledged.
        """
        runtime, service = self.runtime, self.runtime.service
        consumer = runtime.bus.consumer(
            service.topics(),
            service.group(runtime.replica),
            f"{service.name}-{runtime.replica}",
            self,
            service.max_work_seconds,
            exclusive=not service.every_replica,
        )
        runtime.health.watch(self.lag)
        try:
            while not runtime.stopping.is_set():
                self.step(consumer)
        finally:
            consumer.close()
            self.end()

    def step(self, consumer: Consumer) -> None:
        """One poll, and all that follows from it."""
        self.member = consumer
        self.work(consumer.poll(POLL_SECONDS), consumer.positions)

    def work(self, found: Sequence[Record], reached: Callable[[], Mapping[Position, int]]) -> None:
        """All that follows from what was polled: handle, send, remember, commit, in this order.
        `reached` tells the next offset to be polled of each partition that is ours."""
        health = self.runtime.health
        health.ready = self.runtime.service.ready()
        if self.engine is None:  # another replica works
            health.heartbeat(activity="standing by")
            return
        for record in found:
            self.engine.add(record)
        self.engine.order.reached = dict(reached())
        self.engine.advance(ticks_only=bool(found) and self.behind())
        self.hold_back()
        settled = self.engine.settle()
        if settled:
            self.commit(settled)
            self.tell(settled)
        health.heartbeat()

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        """Kafka takes a commit of none but the group's members, as they are at that moment."""
        assert self.member is not None
        self.member.commit(next_offsets)

    def prove(self) -> None:
        """Returns while this replica is the one that works. One that was stopped, that Kafka lost
        sight of, or whose name another process took, would otherwise go on until it hears of it.

        Raises:
            BusUnavailable: another one works.
        """
        shared = self.runtime.service.every_replica
        if shared or self.engine is None or self.member is None:
            return
        self.commit(self.engine.committed())

    def behind(self) -> bool:
        """Whether ticks or states were written that are not polled yet. Records wait for them, so
        that a record is handled after the tick, and with the state, that came before it."""
        assert self.engine is not None
        reached = self.engine.order.reached
        ends = self.runtime.bus.ends([Tick.TOPIC, *self.runtime.service.looked_up()])
        return any(reached.get(position, end) < end for position, end in ends.items())

    def hold_back(self) -> None:
        """Reads no further where more waits than memory should hold."""
        assert self.engine is not None
        assert self.member is not None
        full = {p for p in self.engine.order.reached if self.engine.order.full(p)}
        self.member.pause(full - self._paused)
        self.member.resume(self._paused - full)
        self._paused = full

    def tell(self, settled: Mapping[Position, int]) -> None:
        for position, offset in settled.items():
            metrics.POSITION.labels(position.topic, position.partition).set(offset)
        self.runtime.health.heartbeat(**{str(p): offset for p, offset in settled.items()})

    def lag(self) -> int:
        """Records of ours that were not handled yet. Called from another thread."""
        engine = self.engine
        if engine is None:
            return 0
        reached = dict(engine.order.reached)
        ends = self.runtime.bus.ends({position.topic for position in reached})
        return sum(max(0, ends.get(p, at) - engine.handled(p, at)) for p, at in reached.items())

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """This replica works from now on."""
        if self.engine is None:
            runtime = self.runtime
            engine = Engine(
                runtime.service,
                runtime.bus,
                runtime.codec,
                runtime.log,
                runtime.health,
                runtime.clock,
                replica=runtime.replica,
                fence=self.prove,
            )
            runtime.health.heartbeat(activity=None, waiting=None)
            self.engine = engine  # what it sends as it begins is proven too
            try:
                self._starts = engine.begin()
            except BaseException:
                self.end()
                raise
        return {p: self._starts[p] for p in positions if p in self._starts}

    def revoked(self, positions: Iterable[Position]) -> None:
        """Another replica works: what is in memory is of no use any more."""
        if self.engine is not None:
            self.engine.drop(positions)
        if not self.runtime.service.every_replica:
            self.end()

    def end(self) -> None:
        if self.engine is not None:
            self.engine.close()
            self.engine = None


def stop_on_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
