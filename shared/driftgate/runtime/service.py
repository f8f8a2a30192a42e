"""What a service declares: which events it handles, what it must know to do so, and what each event
leads to. The rest (polling, decoding, time, retries, sending, dead letters, committing, health) is
the runtime's.

A handler is `(event, views, now) -> effects`. It is pure: no clock, network, environment or log.
What it needs from outside (rows of the store, a trained adapter) is read before it, by `gather`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from driftgate.bus import Position
from driftgate.events import AnyEvent, Tick
from driftgate.runtime.views import View, Views


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDraft:
    """A decision on its way to topic `audit`, before the runtime gives it its place in the chain.

    Attributes:
        inputs: what the decision was made of; enough to make it again.
        cause: what makes it this very decision, when that is not all of `inputs`: a decision whose
            model, version and cause stand in the log is not logged again.
        summary: for people.
        time: ms.
    """

    model: str
    decision: str
    inputs: Any
    result: Any
    summary: str
    time: int
    version: int | None = None
    cause: Any = None


Effect = AnyEvent | AuditDraft


def unchanged(event: Any, views: Views, now: int) -> Any:
    return event


def whole(event: Any, views: Views) -> Iterable[Any]:
    return (event,)


@dataclass(frozen=True, slots=True)
class Handler:
    """What becomes of one type of event.

    Attributes:
        decide: the decision, `(gathered, views, now) -> effects`. Pure.
        gather: reads at the edge what the decision looks at, `(part, views, now) -> gathered`. May
            take long. It is tried again after a Retriable error, for as long as that lasts.
        each: the parts of an event that are handled by themselves, as one for each model on a tick:
            a part that fails stops no other. A part has a `model`.
    """

    decide: Callable[[Any, Views, int], Iterable[Effect]]
    gather: Callable[[Any, Views, int], Any] = unchanged
    each: Callable[[Any, Views], Iterable[Any]] = whole


class Memory(Protocol):
    """What a service remembers beside its views, kept together with how far it has read."""

    def restore(self) -> Mapping[Position, int]:
        """Brings back what was kept; the next offset of each partition that is part of it. Others
        are read from their beginning; all of them where nothing was kept."""

    def keep(self, positions: Mapping[Position, int]) -> None:
        """Durable when it returns. What comes after the positions of the last `restore`, or the
        last durable `keep`, is read again after a restart: a memory may pass calls over. Where a
        record or tick waits its position stands at it, and what passed it is read again too."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """Topics that every replica reads a share of, and tells the one that works of. So a replica
    that only reads takes work off it, and each partition is told of in its own order.

    Attributes:
        topics: that are read so.
        told: type of the events that tell. Its topic has a partition for each of those: for
            partitions 0 of `topics`, in their order, then for partitions 1, and so on.
        reached: next offset that the service was not told of yet.
    """

    topics: tuple[str, ...]
    told: type[Any]
    reached: Callable[[Position], int]

    def carrier(self, source: Position) -> Position:
        """Where a partition is told of."""
        place = self.topics.index(source.topic)
        return Position(self.told.TOPIC, source.partition * len(self.topics) + place)

    def source(self, carrier: Position) -> Position:
        """What is told of there."""
        number, place = divmod(carrier.partition, len(self.topics))
        return Position(self.topics[place], number)


def no_effects(views: Views) -> Iterable[Effect]:
    return ()


def always_ready() -> bool:
    return True


def ignore(sent: Sequence[AnyEvent], views: Views) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service.

    Attributes:
        name: also the consumer group.
        handlers: by type of event. A tick moves the time whether it is handled or not.
        views: compacted topics that are kept at hand, newest event by key.
        begin: what the views lead to when the service starts: what a crash kept from being sent.
        observe: told what was sent, each time and when the service starts; for metrics and health.
        ready: whether it can serve, once it has polled.
        memory: None for a service whose views are all that it knows.
        every_replica: each replica reads everything, as a group of its own, beginning with the
            newest event of each key. Otherwise one replica works and the others stand by.
        relayed: what other replicas read for the one that works. A tick is handled once all that
            lies before it was told of, and what lies after it is not.
        max_work_seconds: longest time that one event may take.
        attempts: how often an event is tried whose handler fails in a way that nobody foresaw.
    """

    name: str
    handlers: Mapping[type[Any], Handler]
    views: tuple[View, ...] = ()
    begin: Callable[[Views], Iterable[Effect]] = no_effects
    observe: Callable[[Sequence[AnyEvent], Views], None] = ignore
    ready: Callable[[], bool] = always_ready
    memory: Memory | None = None
    every_replica: bool = False
    relayed: Relayed | None = None
    max_work_seconds: float = 300.0
    attempts: int = 3

    def topics(self) -> tuple[str, ...]:
        """What a consumer of the service subscribes to."""
        followed = (view.kind for view in self.views if not view.own)
        kinds: dict[Any, None] = dict.fromkeys((*self.handlers, *followed, Tick))
        return tuple(kind.TOPIC for kind in kinds)

    def looked_up(self) -> frozenset[str]:
        """Topics that are views and nothing else: what is newest there counts, in no order."""
        found = (view.kind for view in self.views if not view.own)
        return frozenset(kind.TOPIC for kind in found if kind not in self.handlers)

    def group(self, replica: str) -> str:
        return f"{self.name}-{replica}" if self.every_replica else self.name
