"""What a router serves: one immutable value, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from driftgate.engines import Engine
from driftgate.events import Routing
from driftgate.model_repo import Data
from driftgate.routing import Arm, arms_of


class Base(NamedTuple):
    """A base as routing names it, and the kind of task that it serves. digest: SHA-256, hex; empty
    leaves it unpinned."""

    task: str
    name: str
    digest: str


def base_of(arm: Arm) -> Base:
    return Base(arm.task, arm.base, arm.base_digest)


@dataclass(frozen=True, slots=True)
class Served:
    """One model as it is served: the routing record, who computes it, its data policy."""

    routing: Routing
    engines: Mapping[Base, Engine]
    data: Data

    def engine(self, arm: Arm) -> Engine:
        """Who computes a version."""
        return self.engines[base_of(arm)]

    @property
    def digests(self) -> frozenset[str]:
        """Adapters that may be asked."""
        return frozenset(arm.digest for arm in arms_of(self.routing))


Snapshot = Mapping[str, Served]
