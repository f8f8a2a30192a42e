"""Compacted topics at hand: the newest event of each key."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from driftgate.bus import Position
from driftgate.events import AnyEvent

E = TypeVar("E", bound=AnyEvent)

TICKS_KEPT = 32


def by_model(event: Any) -> Hashable:
    return event.model


def always(event: Any, views: Views) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class View:
    """One topic as a view.

    Attributes:
        kind: the type of its events.
        key: newest of what.
        own: the service alone writes the topic, so that what it sends is what the view holds.
        keep: whether an event is still of use, asked at each tick. For keys that go on growing in
            number; one that is told of no use stays so.
    """

    kind: type[Any]
    key: Callable[[Any], Hashable] = by_model
    own: bool = False
    keep: Callable[[Any, Views], bool] = always


class Views:
    """All views of a service, and what else is known beside the event that is handled.

    Attributes:
        ticks: times of the last ticks, ms, oldest first.
        place: partition and offset of the event that is handled.
    """

    def __init__(self, declared: Iterable[View] = ()) -> None:
        self._declared = {view.kind: view for view in declared}
        self._events: dict[Any, dict[Any, Any]] = {kind: {} for kind in self._declared}
        self._next: dict[Position, int] = {}
        self.place = Position("", 0), 0
        self.ticks: deque[int] = deque(maxlen=TICKS_KEPT)

    def tick(self, time: int) -> None:
        """Time passes. A tick that is tried again is the same one."""
        if time in self.ticks:
            return
        self.ticks.append(time)
        for view in self._declared.values():
            if view.keep is not always:
                self._forget(view)

    def _forget(self, view: View) -> None:
        """What is of no use any more."""
        held = self._events[view.kind]
        for key in [key for key, event in held.items() if not view.keep(event, self)]:
            del held[key]

    def __getitem__(self, kind: type[E]) -> Mapping[Any, E]:
        """The newest events of a type, by key."""
        return self._events[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._events

    def key(self, event: AnyEvent) -> Hashable:
        """What an event is the newest of."""
        return self._declared[type(event)].key(event)

    def put(self, event: AnyEvent) -> None:
        """The newest event of its key, from now on."""
        view = self._declared.get(type(event))
        if view is not None:
            self._events[view.kind][view.key(event)] = event

    def follow(self, event: AnyEvent, position: Position, offset: int) -> None:
        """As `put`, for an event that was read: one that the view has passed changes nothing."""
        if offset >= self._next.get(position, 0):
            self._next[position] = offset + 1
            self.put(event)

    def sent(self, event: AnyEvent) -> None:
        """An event of ours is on its topic."""
        view = self._declared.get(type(event))
        if view is not None and view.own:
            self.put(event)
