"""The bus port: an ordered, partitioned log. `bus_kafka` is Apache Kafka, `bus_memory` the fake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from driftgate.events import Topic

if TYPE_CHECKING:  # apps that only send need no Arrow
    from driftgate.batches import Batch


GIVE_UP_SECONDS = 120.0
# A record of the largest accepted size (1 MB) plus what a dead letter wraps around a larger one.
MAX_RECORD_BYTES = 10_000_000


class Position(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies on the bus. `timestamp` is when the broker got it, ms."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0

    @property
    def position(self) -> Position:
        return Position(self.topic, self.partition)


class Producer(Protocol):
    """Sends records. Nothing is promised before `flush` returns."""

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """
        Raises:
            BusRefused: such a record is never taken. Others may be sent.
            BusUnavailable
        """

    def flush(self) -> None:
        """Returns once every record sent is acknowledged by all in-sync replicas.

        Raises:
            BusRefused: one of them is never taken; all others are acknowledged.
            BusUnavailable: some were not, in time.
        """

    def close(self) -> None:
        """Waits for what was sent, unless some of it was given up: then drops the rest."""


class Rebalance(Protocol):
    """Told of partitions that come and go. Called from inside `poll`."""

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        """Where to start each partition; one left out starts where the group committed."""

    def revoked(self, positions: Iterable[Position]) -> None: ...


class Consumer(Protocol):
    """A member of a group. Reads from the beginning where the group has committed nothing."""

    def poll(self, timeout: float, limit: int = 5000) -> Sequence[Record]:
        """At most `limit` records, in order within a partition; none after `timeout` seconds."""

    def poll_batches(self, timeout: float, limit: int = 5000) -> Sequence[Batch]:
        """As `poll`, by column: at most one batch a partition."""

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        """Durable position of the group: the next offset to read of each partition."""

    def positions(self) -> Mapping[Position, int]:
        """Next offset that `poll` would give, of each partition that this member holds. It also
        passes what no record stands at, as where a topic was compacted or its retention ended."""

    def pause(self, positions: Iterable[Position]) -> None:
        """Reads no further here until `resume`, or until the partition is assigned anew."""

    def resume(self, positions: Iterable[Position]) -> None: ...

    def seek(self, next_offsets: Mapping[Position, int]) -> None:
        """Reads on from there."""

    def close(self) -> None: ...


class Bus(Protocol):
    """A log that many read and write."""

    def ensure(self, topics: Iterable[Topic]) -> None:
        """Creates those that do not exist, and gives those that do their settings. How many
        partitions a topic has stays as it is."""

    def producer(self, give_up_seconds: float = GIVE_UP_SECONDS) -> Producer:
        """What is not acknowledged `give_up_seconds` after `send` returned is not sent any more."""

    def consumer(
        self,
        topics: Sequence[str],
        group: str,
        member: str,
        rebalance: Rebalance | None = None,
        max_work_seconds: float = 300,
        exclusive: bool = False,
    ) -> Consumer:
        """Joins `group`. `member` is stable over restarts, so that a restart moves no partition;
        `max_work_seconds` is the longest time between two polls. In an `exclusive` group the member
        whose name comes first holds every partition, and the others stand by."""

    def read_all(
        self, topics: Sequence[str], since: Mapping[Position, int] | None = None
    ) -> Iterator[Record]:
        """Every record from the beginning to the end as it is now, without a group; of a partition
        in `since`, those from that offset on."""

    def ends(self, topics: Iterable[str]) -> Mapping[Position, int]:
        """Next offset to be written of each partition."""

    def committed(self, group: str) -> Mapping[Position, int]:
        """Committed next offset of each partition of the group."""

    def close(self) -> None: ...
