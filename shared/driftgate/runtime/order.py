"""In which order what was polled is handled: time comes in order with the events.

A tick says which records lie before it (`positions`, the next offset of each topic-partition when
it was written). It is handled once all of them have been, and before every other; so a decision
does not hang on what Kafka hands out first, or on how often the service was killed. The positions
are a consistent cut, as the barriers of asynchronous snapshots are (Carbone et al. 2015,
https://arxiv.org/abs/1506.08603).

A record that waits, as one that needs a store that is away, holds up its own partition alone: while
it does, ticks and other records, commands above all, pass it, in the order in which they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from driftgate.bus import Position, Record
from driftgate.events import Tick


@dataclass(frozen=True, slots=True)
class Cut:
    """A tick as it was polled, and what lies before it."""

    record: Record
    tick: Tick
    before: Mapping[Position, int]


def cut_of(record: Record, tick: Tick) -> Cut:
    """Positions that cannot be read as topic-partition bound nothing."""
    before = {}
    for name, offset in tick.positions.items():
        topic, _, partition = name.rpartition("-")
        if partition.isdecimal():
            before[Position(topic, int(partition))] = offset
    return Cut(record, tick, before)


@dataclass
class Order:
    """What was polled and not handled yet.

    Attributes:
        reached: next offset to be polled of each partition that is ours.
    """

    reached: Mapping[Position, int] = field(default_factory=dict)
    _queues: dict[Position, deque[Record]] = field(default_factory=dict)
    _cuts: deque[Cut] = field(default_factory=deque)
    _waits: dict[Position, float] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        self._queues.setdefault(record.position, deque()).append(record)

    def add_tick(self, record: Record, tick: Tick) -> None:
        self._cuts.append(cut_of(record, tick))

    def take(self, at: float, ticks_only: bool = False) -> Cut | Sequence[Record] | None:
        """What is to be handled next: a tick, or records of one partition; None when there is
        nothing at the moment `at`, s of a monotonic clock."""
        self._waits = {position: until for position, until in self._waits.items() if until > at}
        cut = self._cuts[0] if self._cuts else None
        if cut is not None and cut.record.position not in self._waits and self._due(cut):
            return self._cuts.popleft()
        if ticks_only:
            return None
        bounds = {} if cut is None or self._waits else cut.before
        for position, queue in self._queues.items():
            if queue and position not in self._waits:
                found = leading(queue, bounds.get(position))
                if found:
                    return found
        return None

    def put_back(self, records: Sequence[Record], until: float) -> None:
        """The first of these could not be handled: all of them come again from `until` on."""
        position = records[0].position
        self._queues[position].extendleft(reversed(records))
        self._waits[position] = until

    def put_back_tick(self, cut: Cut, until: float) -> None:
        self._cuts.appendleft(cut)
        self._waits[cut.record.position] = until

    def drop(self, positions: Iterable[Position]) -> None:
        """Partitions that are ours no longer."""
        for position in positions:
            self._queues.pop(position, None)
            self._waits.pop(position, None)
            self._cuts = deque(cut for cut in self._cuts if cut.record.position != position)

    def next(self, position: Position) -> int:
        """Next offset to be handled of a partition that is ours."""
        if position.topic == Tick.TOPIC:
            ticks = (cut.record.offset for cut in self._cuts if cut.record.position == position)
            return next(ticks, self.reached[position])
        queue = self._queues.get(position)
        return queue[0].offset if queue else self.reached[position]

    def size(self, position: Position) -> int:
        """Records of a partition that wait."""
        return len(self._queues.get(position, ()))

    @property
    def empty(self) -> bool:
        return not self._cuts and not any(self._queues.values())

    def _due(self, cut: Cut) -> bool:
        """Whether all that lies before a tick was handled, as far as it is ours."""
        return all(
            self.next(position) >= cut.before.get(position, 0)
            for position in self.reached
            if position not in self._waits
        )


def leading(queue: deque[Record], bound: int | None) -> list[Record]:
    """Takes the records before offset `bound` off a queue, all where there is none."""
    found: list[Record] = []
    while queue and (bound is None or queue[0].offset < bound):
        found.append(queue.popleft())
    return found
