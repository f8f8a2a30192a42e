"""The router with an engine that answers at once, for what is measured around the engine. Which
version answered can be told from the answer: it is the digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from driftgate import config
from driftgate.engines import Prediction
from services.router.main import run


class StubEngine:
    """Answers with the name of the version."""

    def __init__(self, task: str, base: str, digest: str) -> None:
        self._loaded: set[str] = set()

    def load(self, name: str, folder: Path) -> None:
        self._loaded.add(name)

    def unload(self, name: str) -> None:
        self._loaded.discard(name)

    def resident(self) -> frozenset[str]:
        return frozenset(self._loaded)

    def predict_many(self, asked: Mapping[str, Sequence[str]]) -> dict[str, list[Prediction]]:
        return {
            name: [Prediction(name, 0.75, {"similarity": 0.5}, 8) for _ in texts]
            for name, texts in asked.items()
        }


if __name__ == "__main__":
    run(config.load(), StubEngine)
