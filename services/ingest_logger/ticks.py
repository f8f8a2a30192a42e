"""What time it is: ticks on topic `clock` say so, the same way whoever writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from driftgate import metrics
from driftgate.batches import Batch
from driftgate.bus import Position
from driftgate.codec import Codec
from driftgate.errors import BadInput
from driftgate.events import Tick
from driftgate.runtime import Clock
from driftgate.store import Store
from services.ingest_logger import queries
from services.ingest_logger.partitions import Partitions


@dataclass
class Ticks:
    """One member of the group hears the ticks, since topic `clock` has one partition. The others
    take the newest from the store, and know what time it is if time runs on by itself after it.

    Attributes:
        clock: goes by the newest tick that this member knows.
    """

    codec: Codec
    store: Store
    partitions: Partitions
    clock: Clock = field(default_factory=Clock)
    _newest: Tick | None = None

    @property
    def are_heard(self) -> bool:
        """Whether the ticks come to this member of the group."""
        return Position(Tick.TOPIC, 0) in self.partitions

    @property
    def are_known(self) -> bool:
        """Whether there was one."""
        return self._newest is not None

    @property
    def pace(self) -> float:
        """How many times as fast as the machine's clock time runs; 0: it stands still."""
        return self._newest.pace if self._newest else 0.0

    def now(self) -> int:
        """What times may be compared with, ms; 0 while that is not known."""
        return self.clock.now() if self.are_heard or self.pace else 0

    def hear(self, batches: Sequence[Batch]) -> None:
        """Moves the clock by what was polled, before anything is compared with it: what is sent
        after a tick may lie up to a day ahead of the tick before."""
        for batch in batches:
            if batch.position.topic == Tick.TOPIC:
                for record in batch.records():
                    try:
                        tick = Tick.of(self.codec.read(record.topic, record.value))
                    except BadInput:  # becomes a dead letter with the others
                        continue
                    self._take(tick, record.timestamp)
        metrics.CLOCK.set(self.clock.now() / 1000)

    def look_up(self) -> bool:
        """Takes the newest tick from the store; says whether it was not known.

        Raises:
            StoreUnavailable, StoreRefused
        """
        found = queries.newest_tick(self.store)
        return found is not None and self._take(*found)

    def _take(self, tick: Tick, written: int) -> bool:
        """Says whether the tick is newer than those before."""
        if self._newest is not None and tick.time <= self._newest.time:
            return False
        self._newest = tick
        self.clock.advance(tick, written)
        return True
