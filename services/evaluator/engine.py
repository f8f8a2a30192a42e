"""Versions that answer on engines, one of each base kept warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from driftgate.artifacts import Artifacts
from driftgate.engines import Engine, Engines, Prediction
from services.evaluator.prediction_cache import Base, Version


@dataclass
class WarmEngines:
    """Keeps the last two versions of each base loaded: a candidate and its champion."""

    artifacts: Artifacts
    cache: Path
    engines: Engines
    _warm: dict[Base, Engine] = field(default_factory=dict)
    _loaded: dict[Engine, list[str]] = field(default_factory=dict)

    def warm(self, base: Base) -> Engine:
        """The engine of a base, loaded once.

        Raises:
            BadConfig, Corrupt: the base cannot be found, or is not what its hash says.
        """
        if base not in self._warm:
            self._warm[base] = self.engines.of(*base)
        return self._warm[base]

    def predict(self, version: Version, texts: Sequence[str]) -> Sequence[Prediction]:
        """The version's answers.

        Raises:
            BadConfig, Corrupt: its files are not those of a version of that base.
        """
        engine = self.warm(version.base)
        if version.digest not in engine.resident():
            folder = self.artifacts.get_folder(version.uri, self.cache)
            engine.load(version.digest, folder)
            self.keep(version.digest, engine)
        return engine.predict_many({version.digest: texts})[version.digest]

    def keep(self, digest: str, engine: Engine) -> None:
        """Forgets all versions of an engine but the last two."""
        loaded = [*self._loaded.get(engine, []), digest]
        for old in loaded[:-2]:
            engine.unload(old)
        self._loaded[engine] = loaded[-2:]
