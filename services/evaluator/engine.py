"""Versions that answer on engines: those of a candidate and its champion stay warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from driftgate.artifacts import Artifacts
from driftgate.engines import Base, Engine, Engines, Prediction
from driftgate.tasks import Task
from services.evaluator.prediction_cache import Version

KEPT = 2
"""A candidate and its champion are asked in turn."""


@dataclass
class WarmEngines:
    """Keeps the last two bases, and of each the last two versions."""

    artifacts: Artifacts
    cache: Path
    engines: Engines
    _warm: dict[Base, Engine] = field(default_factory=dict)
    _loaded: dict[Base, list[str]] = field(default_factory=dict)

    def warm(self, base: Base) -> Engine:
        """The engine of a base, loaded once while it is among the last ones.

        Raises:
            BadConfig, Corrupt: the base cannot be found, or is not what its hash says.
        """
        engine = self._warm.pop(base, None) or self.engines.of(*base)
        self._warm[base] = engine
        for old in list(self._warm)[:-KEPT]:
            self.drop(old)
        return engine

    def drop(self, base: Base) -> None:
        """Forgets a base. Its engine may live on under another name of the base."""
        engine = self._warm.pop(base)
        for digest in self._loaded.pop(base, []):
            engine.unload(digest)

    def predict(self, version: Version, texts: Sequence[str], task: Task) -> Sequence[Prediction]:
        """The version's answers, asked as its task says.

        Raises:
            BadConfig, Corrupt: its files are not those of a version of that base.
        """
        engine = self.warm(version.base)
        if version.digest not in engine.resident():
            folder = self.artifacts.get_folder(version.uri, self.cache)
            engine.load(version.digest, folder)
            self.keep(version)
        return task.answers(engine, {version.digest: texts})[version.digest]

    def keep(self, version: Version) -> None:
        """Forgets all versions of a base but the last two."""
        loaded = [*self._loaded.get(version.base, []), version.digest]
        for old in loaded[:-KEPT]:
            self._warm[version.base].unload(old)
        self._loaded[version.base] = loaded[-KEPT:]
