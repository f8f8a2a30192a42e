"""What a router serves: one immutable value, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from driftgate.events import Routing
from driftgate.model_repo import Data
from driftgate.routing import Arm, arms_of


class Answer(Protocol):
    """What an engine says about one text; see `driftgate.classifier.serving.Prediction`."""

    @property
    def label(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def similarity(self) -> float: ...
    @property
    def tokens(self) -> int: ...


class Engine(Protocol):
    """A base with resident versions, by the digests of their adapters; see
    `driftgate.classifier.serving.Classifier`. It gets one call at a time, from whatever thread
    its caller keeps for it; only `resident` may be asked from any other."""

    def load(self, name: str, folder: Path) -> None: ...
    def unload(self, name: str) -> None: ...
    def resident(self) -> frozenset[str]: ...
    def predict_many(
        self, asked: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Sequence[Answer]]: ...


class Base(NamedTuple):
    """A base as routing names it. digest: SHA-256, hex; empty leaves it unpinned."""

    name: str
    digest: str


def base_of(arm: Arm) -> Base:
    return Base(arm.base, arm.base_digest)


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
