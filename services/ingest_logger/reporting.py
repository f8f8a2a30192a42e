"""What this member of the group says of itself: health, and how far behind it is."""

from __future__ import annotations

from driftgate import metrics
from driftgate.bus import Bus
from driftgate.health import Health
from services.ingest_logger.blocked_partitions import BlockedPartitions
from services.ingest_logger.partitions import Partitions


class Reporter:
    def __init__(
        self, health: Health, bus: Bus, partitions: Partitions, blocked: BlockedPartitions
    ) -> None:
        self._health, self._bus = health, bus
        self._partitions, self._blocked = partitions, blocked
        health.watch(self.lag)

    def tell(self) -> None:
        """Once a poll."""
        reasons = self._blocked.reasons()
        metrics.BLOCKED.set(len(reasons))
        self._health.ready = len(self._partitions) > 0
        self._health.heartbeat(blocked={str(position): why for position, why in reasons.items()})

    def lag(self) -> int:
        """Records of ours that are not handled; those of blocked partitions wait for the operator.
        Called from a thread of the health check.

        Raises:
            BusUnavailable
        """
        reached = self._partitions.reached()
        ends = self._bus.ends({position.topic for position in reached})
        behind = {p: max(0, ends.get(p, at) - at) for p, at in reached.items()}
        for position, records in behind.items():
            metrics.LAG.labels(position.topic, position.partition).set(records)
        return sum(records for p, records in behind.items() if p not in self._blocked)
