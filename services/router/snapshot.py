"""What a router serves: one immutable value, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftgate.engines import Base, Engine
from driftgate.events import Routing
from driftgate.model_repo import Data
from driftgate.routing import Arm, residents_of


def base_of(arm: Arm) -> Base:
    return Base(arm.task, arm.base, arm.base_digest)


@dataclass(frozen=True, slots=True)
class Served:
    """One model as it is served: the routing record, who computes it, its data policy.

    Attributes:
        absent: versions that should stand by and could not be loaded, and why.
    """

    routing: Routing
    engines: Mapping[Base, Engine]
    data: Data
    absent: Mapping[int, str] = field(default_factory=dict)

    def engine(self, arm: Arm) -> Engine:
        """Who computes a version."""
        return self.engines[base_of(arm)]

    @property
    def digests(self) -> frozenset[str]:
        """Adapters that are kept in memory."""
        residents = residents_of(self.routing)
        return frozenset(arm.digest for arm in residents if arm.version not in self.absent)


Snapshot = Mapping[str, Served]
