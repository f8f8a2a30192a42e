"""The partitions that are ours, and how far each of them got.

The store is the source of truth. Rows carry topic, partition and offset, and a mark says below
which offset all of a partition is handled; the group's offsets only tell others how far this got.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import uuid4

from driftgate.bus import Bus, Consumer, Position
from driftgate.errors import BusUnavailable, Terminal
from driftgate.health import Log
from driftgate.store import Store
from services.ingest_logger import queries
from services.ingest_logger.fence import Fenced, Owner
from services.ingest_logger.rows import table_name

# Next offset by partition.
Offsets = Mapping[Position, int]


class StoreAhead(Terminal):
    """The store holds records that the bus does not: a topic was deleted and made again."""


class Partitions:
    """The reader's thread takes and gives up partitions and notes what is finished; the steps ask
    for the last row stored, and move it.

    Attributes:
        owner: of all that this process inserts.
        assignments: how often partitions came to this process.
    """

    def __init__(self, store: Store, bus: Bus, topics: Sequence[str], log: Log) -> None:
        self.owner = Owner(store, uuid4().hex)
        self.assignments = 0
        self._store, self._bus, self._log = store, bus, log
        self._tables = sorted({table_name(topic) for topic in topics})
        self._last_stored: dict[Position, int] = {}  # -1: no row
        self._next: dict[Position, int] = {}
        self._uncommitted: dict[Position, int] = {}

    def __contains__(self, position: object) -> bool:
        return position in self._last_stored

    def __len__(self) -> int:
        return len(self._last_stored)

    def positions(self) -> list[Position]:
        return list(self._last_stored)

    def take(self, positions: Sequence[Position]) -> Offsets:
        """Becomes the owner of partitions, and says where to start them: at their marks. What is
        stored beyond a mark is not stored again.

        Raises:
            StoreAhead, StoreUnavailable, StoreRefused, BusUnavailable
        """
        self.assignments += 1
        self.give_up(positions)
        self.owner.take(positions)
        marks = queries.marks(self._store)
        last = queries.last_stored(self._store, self._tables)
        ends = self._bus.ends({position.topic for position in positions})
        known = {p: max(marks.get(p, 0), last.get(p, -1) + 1) for p in positions}
        refuse_lost_topics(known, ends)
        starts = {position: marks.get(position, 0) for position in positions}
        self._last_stored |= {position: last.get(position, -1) for position in positions}
        self._next |= starts
        self._uncommitted |= {p: marks[p] for p in positions if p in marks}
        self._log.info("assigned", positions=len(positions), marks=sum(starts.values()))
        return starts

    def give_up(self, positions: Iterable[Position]) -> None:
        for position in positions:
            self._last_stored.pop(position, None)
            self._next.pop(position, None)
            self._uncommitted.pop(position, None)

    def last_stored(self, position: Position) -> int:
        """Offset of the last row of a partition, -1 without one.

        Raises:
            Fenced
        """
        if (found := self._last_stored.get(position)) is None:
            raise Fenced(f"{position} went to another process before it was stored: starting anew")
        return found

    def stored(self, position: Position, offset: int) -> None:
        """Rows up to an offset are in the store."""
        if position in self._last_stored:
            self._last_stored[position] = offset

    def finished(self, marks: Offsets) -> None:
        """All below these marks is handled, and the marks are stored. Of partitions that went
        meanwhile, or came back further on, nothing is noted."""
        ahead = {p: at for p, at in marks.items() if at > self._next.get(p, at)}
        self._next |= ahead
        self._uncommitted |= ahead

    def reached(self) -> Offsets:
        """Next offset to be handled of each partition."""
        return self._next.copy()

    def commit(self, consumer: Consumer) -> None:
        """Tells the group's offsets. Nothing depends on them, so a failure waits for the next
        round: a member that was put out of the group has to poll before it may commit."""
        if self._uncommitted:
            try:
                consumer.commit(self._uncommitted)
                self._uncommitted.clear()
            except BusUnavailable as error:
                self._log.warning("not committed", error=str(error))


def refuse_lost_topics(known: Offsets, ends: Offsets) -> None:
    """New records at offsets that are known already would be taken for the old ones.

    Raises:
        StoreAhead
    """
    for position, at in known.items():
        if at > ends.get(position, 0):
            raise StoreAhead(
                f"{position} ends at offset {ends.get(position, 0)}, but the store holds it up to "
                f"{at}: the topic was made anew. Restore it, or begin with an empty database"
            )
