"""What a router serves: one immutable value, swapped whole, and its copy on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from driftgate.codec import canonical
from driftgate.events import Event
from driftgate.model_repo import Data


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
    """A base with resident versions; see `driftgate.classifier.serving.Classifier`."""

    def load(self, name: str, folder: Path) -> None: ...
    def unload(self, name: str) -> None: ...
    def resident(self) -> frozenset[str]: ...
    def predict_many(
        self, asked: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Sequence[Answer]]: ...


@dataclass(frozen=True, slots=True)
class Served:
    """One model as it is served: the routing record, who computes it, its data policy."""

    routing: Event
    engine: Engine
    data: Data

    @property
    def digests(self) -> frozenset[str]:
        """Adapters that may be asked."""
        return digests(self.routing)


Snapshot = Mapping[str, Served]


def digests(routing: Event) -> frozenset[str]:
    """Adapters that a routing record needs."""
    return frozenset(arm["digest"] for arm in (*routing["arms"], *routing["shadows"]))


def write(path: Path, routings: Iterable[Event]) -> None:
    """Keeps the routing that is served: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(canonical([dict(routing) for routing in routings]))
    beside.rename(path)


def read(path: Path) -> list[Event]:
    """The routing that was served last; empty where none was kept."""
    if not path.exists():
        return []
    kept: list[Event] = json.loads(path.read_text())
    return kept
