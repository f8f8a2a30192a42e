"""In which order what was polled is handled: time comes in order with the events.

A tick says which records lie before it (`positions`, the next offset of each topic-partition when
it was written). It is handled once all of them have been, and before every other; so a decision
does not hang on what Kafka hands out first, or on how often the service was killed. The positions
are a consistent cut, as the barriers of asynchronous snapshots are (Carbone et al. 2015,
https://arxiv.org/abs/1506.08603).

What waits, as a record that needs a store that is away, is kept by model: later records of the same
model and partition stay behind it, and all else passes it: other models, other partitions, commands
above all, and ticks. Of the ticks that a model waits for the newest is enough.

Partitions that others read (`service.Relayed`) have come as far as this service was told of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple

from driftgate.bus import Position, Record
from driftgate.events import Tick
from driftgate.runtime.service import Relayed

# Records of one partition that are held in memory, at most: of models that wait, and of all others,
# where they come faster than they are handled.
HIGH_WATER = 50_000
READ_AHEAD = 5_000
# Of those that tell of thousands each.
TOLD_AHEAD = 50


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


@dataclass(frozen=True, slots=True)
class Part:
    """What waits of a tick: the part of one model."""

    cut: Cut
    model: str


class Key(NamedTuple):
    """Whose records wait, and where."""

    position: Position
    model: str


@dataclass(frozen=True, slots=True)
class Held:
    """Records of one model and partition, in their order, that wait."""

    key: Key
    records: list[Record]


@dataclass
class Order:
    """What was polled and not handled yet.

    Attributes:
        relayed: the partitions that others read for us.
        reached: next offset to be polled of each partition that is ours.
    """

    relayed: Relayed | None = None
    reached: dict[Position, int] = field(default_factory=dict)
    _queues: dict[Position, deque[Record]] = field(default_factory=dict)
    _cuts: deque[Cut] = field(default_factory=deque)
    _stopped: dict[Position, float] = field(default_factory=dict)
    _held: dict[Key, tuple[Held, float]] = field(default_factory=dict)
    _parts: dict[str, tuple[Part, float]] = field(default_factory=dict)
    _retries_first: bool = False

    def add(self, record: Record) -> None:
        self._queues.setdefault(record.position, deque()).append(record)
        self.passed(record)

    def add_tick(self, record: Record, tick: Tick) -> None:
        self._cuts.append(cut_of(record, tick))

    def passed(self, record: Record) -> None:
        """A record was polled; one that is not added needs nothing more."""
        self.reached[record.position] = record.offset + 1

    def queued(self, position: Position) -> bool:
        """Whether records of a partition wait in their order."""
        return bool(self._queues.get(position))

    def take(self, at: float, ticks_only: bool = False) -> Cut | Part | Held | list[Record] | None:
        """What is to be handled next: a tick, what waited, or records of one partition; None when
        there is nothing at the moment `at`, s of a monotonic clock."""
        self._stopped = {p: until for p, until in self._stopped.items() if until > at}
        cut = self._cuts[0] if self._cuts else None
        if cut is not None and self._due(cut):
            return self._cuts.popleft()
        if ticks_only:
            return None
        # In turns, so that neither what is slow to fail nor a long backlog holds up the other.
        self._retries_first = not self._retries_first
        if self._retries_first:
            return self._take_waiting(at) or self._take_new(cut)
        return self._take_new(cut) or self._take_waiting(at)

    def _take_waiting(self, at: float) -> Part | Held | None:
        """What has been due for longest, so that what is slow to fail has no more than its turn."""
        waiting: list[tuple[Part | Held, float]] = [*self._parts.values(), *self._held.values()]
        if not waiting:
            return None
        found, until = min(waiting, key=itemgetter(1))
        if until > at:
            return None
        if isinstance(found, Part):
            del self._parts[found.model]
        else:
            del self._held[found.key]
        return found

    def _take_new(self, cut: Cut | None) -> list[Record] | None:
        """Records of one partition that lie before the next tick."""
        bounds = {} if cut is None else cut.before
        for position, queue in self._queues.items():
            if not queue or position in self._stopped:
                continue
            if self._tells(position):
                if not self._told_enough(position, bounds):
                    return [queue.popleft()]
            elif found := leading(queue, bounds.get(position)):
                return found
        return None

    def _tells(self, position: Position) -> bool:
        """Whether records of a partition tell of another one."""
        return self.relayed is not None and position.topic == self.relayed.told.TOPIC

    def _told_enough(self, carrier: Position, bounds: Mapping[Position, int]) -> bool:
        """Whether all that lies before the next tick is known of what is told of there."""
        assert self.relayed is not None
        source = self.relayed.source(carrier)
        return source in bounds and self.relayed.reached(source) >= bounds[source]

    def put_back(self, records: Sequence[Record], until: float = 0.0) -> None:
        """These were taken and not handled: they come again, and nothing of their partition comes
        before `until`."""
        position = records[0].position
        self._queues.setdefault(position, deque()).extendleft(reversed(records))
        self._stopped[position] = until

    def hold(self, key: Key, records: Sequence[Record], until: float) -> None:
        """Records of one model that cannot be handled: they come again at `until`."""
        self._held[key] = Held(key, list(records)), until

    def behind(self, key: Key, record: Record) -> bool:
        """Whether a record stays behind one of its model that waits."""
        if key not in self._held:
            return False
        self._held[key][0].records.append(record)
        return True

    def hold_part(self, part: Part, until: float) -> None:
        """A model's part of a tick cannot be handled: it comes again at `until`."""
        self._parts[part.model] = part, until

    def supersedes(self, part: Part) -> bool:
        """Whether this part takes the place of an earlier one that waits."""
        if part.model not in self._parts:
            return False
        self._parts[part.model] = part, self._parts[part.model][1]
        return True

    def drop(self, positions: Iterable[Position]) -> None:
        """Partitions that are ours no longer."""
        gone = set(positions)
        for position in gone:
            self._queues.pop(position, None)
            self._stopped.pop(position, None)
            self.reached.pop(position, None)
        self._cuts = deque(cut for cut in self._cuts if cut.record.position not in gone)
        self._held = {key: of for key, of in self._held.items() if key.position not in gone}
        self._parts = {
            model: (part, until)
            for model, (part, until) in self._parts.items()
            if part.cut.record.position not in gone
        }

    def next(self, position: Position) -> int:
        """Next offset to be handled of a partition that is ours: the lowest that waits."""
        return min((r.offset for r in self._first(position)), default=self.reached[position])

    def size(self, position: Position) -> int:
        """Records of a partition that wait."""
        held = (of.records for of, _ in self._held.values() if of.key.position == position)
        cuts = sum(cut.record.position == position for cut in self._cuts)
        return len(self._queues.get(position, ())) + sum(map(len, held)) + cuts

    def full(self, position: Position) -> bool:
        """Whether more of a partition waits than memory should hold."""
        ahead = len(self._queues.get(position, ()))
        longest = TOLD_AHEAD if self._tells(position) else READ_AHEAD
        return ahead > longest or self.size(position) > HIGH_WATER

    @property
    def waits(self) -> bool:
        """Whether anything waits for what is away."""
        return bool(self._held or self._parts or self._stopped)

    def _first(self, position: Position) -> Iterator[Record]:
        """The first of each that waits in a partition."""
        yield from islice(self._queues.get(position, ()), 1)
        for held, _ in self._held.values():
            if held.key.position == position:
                yield held.records[0]
        cuts = chain(islice(self._cuts, 1), (part.cut for part, _ in self._parts.values()))
        yield from (cut.record for cut in cuts if cut.record.position == position)

    def _due(self, cut: Cut) -> bool:
        """Whether all that lies before a tick was handled or waits, as far as it is ours."""
        return all(self._has_come(position, bound) for position, bound in cut.before.items())

    def _has_come(self, position: Position, bound: int) -> bool:
        if self.relayed is not None and position.topic in self.relayed.topics:
            return self.relayed.reached(position) >= bound
        if self._tells(position):  # what it tells counts, wherever that lies
            return True
        if position not in self.reached or position in self._stopped:
            return True
        queue = self._queues.get(position)
        if queue:
            return queue[0].offset >= bound
        # One that is full is not read on until what waits there is handled.
        return self.reached[position] >= bound or self.full(position)


def leading(queue: deque[Record], bound: int | None) -> list[Record]:
    """Takes the records before offset `bound` off a queue, all where there is none."""
    found: list[Record] = []
    while queue and (bound is None or queue[0].offset < bound):
        found.append(queue.popleft())
    return found
