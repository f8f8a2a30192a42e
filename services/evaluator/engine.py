"""Versions that answer on torch, one base of each name kept warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from driftgate.artifacts import Artifacts
from driftgate.classifier.base import resolve
from driftgate.classifier.serving import Classifier, Prediction
from services.evaluator.prediction_cache import Version


@dataclass
class WarmEngine:
    """Keeps the last two versions of each base loaded: a candidate and its champion."""

    artifacts: Artifacts
    cache: Path
    threads: int = 1
    _bases: dict[str, Classifier] = field(default_factory=dict)
    _loaded: dict[str, list[str]] = field(default_factory=dict)

    def warm(self, base: str) -> Classifier:
        """The base, loaded once.

        Raises:
            BadConfig, Corrupt: it cannot be found, or is not what its hash says.
        """
        if base not in self._bases:
            self._bases[base] = Classifier(resolve(base), threads=self.threads)
        return self._bases[base]

    def predict(self, version: Version, texts: Sequence[str]) -> list[Prediction]:
        """The version's answers.

        Raises:
            BadConfig, Corrupt: its files are not those of a version of that base.
        """
        classifier = self.warm(version.base)
        if version.digest not in classifier.resident():
            folder = self.artifacts.get_folder(version.uri, self.cache)
            classifier.load(version.digest, folder)
            self.keep(version, classifier)
        return classifier.predict(version.digest, texts)

    def keep(self, version: Version, classifier: Classifier) -> None:
        """Forgets all versions of the base but the last two."""
        loaded = [*self._loaded.get(version.base, []), version.digest]
        for old in loaded[:-2]:
            classifier.unload(old)
        self._loaded[version.base] = loaded[-2:]
