"""Who may store the records of a partition.

A member that was frozen, or cut off, may wake after its partitions went to another and finish an
insert that the other has made too. So whoever gets a partition first writes itself down as its
owner. Every insert names its owner and is refused by the store, as it begins, when another is
written down. Inserts of a former owner that had begun before are killed; what they had stored by
then is seen when the new owner asks how far the table goes. (A fencing token whose check is made by
the storage: M. Kleppmann, Designing Data-Intensive Applications, chapter 8.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from driftgate.bus import Position
from driftgate.errors import StoreRefused, Terminal
from driftgate.sql import quoted
from driftgate.store import Store

FENCED = "fenced"
THROWN = 395  # ClickHouse's FUNCTION_THROW_IF_VALUE_IS_NON_ZERO

EPOCHS = "SELECT topic, partition, max(epoch) AS epoch FROM ingest_owners GROUP BY ALL"
OWNER = """
throwIf((
    SELECT argMax(owner, (epoch, owner)) FROM ingest_owners
    WHERE topic = {topic} AND partition = {partition}
) != {owner}, '{fenced}') = 0
"""
KILL = """
KILL QUERY WHERE query_kind = 'Insert'
    AND extract(query, '/\\\\* ingest (\\\\S+) \\\\*/') IN ({positions}) SYNC
"""


class Fenced(Terminal):
    """Another process owns the partition by now: this one was away for too long."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One process that stores records. `name` is its own, for its whole life."""

    store: Store
    name: str

    def take(self, positions: Sequence[Position]) -> None:
        """Becomes the owner; when this returns, no insert of a former owner can come any more.

        Raises:
            StoreUnavailable, StoreRefused
        """
        rows = self.store.query(EPOCHS)
        epochs = {Position(row["topic"], row["partition"]): row["epoch"] for row in rows}
        self.store.append(
            "ingest_owners",
            [
                {
                    "topic": position.topic,
                    "partition": position.partition,
                    "epoch": epochs.get(position, 0) + 1,
                    "owner": self.name,
                }
                for position in positions
            ],
        )
        names = ", ".join(quoted(str(position)) for position in positions)
        self.store.command(KILL.format(positions=names))

    def condition(self, position: Position) -> str:
        """Holds in the store while this is the owner, and throws when it is not."""
        return OWNER.format(
            topic=quoted(position.topic),
            partition=position.partition,
            owner=quoted(self.name),
            fenced=FENCED,
        )


def note(position: Position) -> str:
    """What an insert's statement says, so that it can be found and killed."""
    return f"ingest {position}"


def is_fenced(error: StoreRefused) -> bool:
    return error.code == THROWN and FENCED in str(error)
