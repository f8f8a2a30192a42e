"""The router with an engine that answers at once, for what is measured around the engine. Which
version answered can be told from the answer: it is the digest. Versions that stand in the file
`BROKEN`, one a line, fail on a fifth of the texts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

from driftgate import config
from driftgate.engines import Prediction
from services.router.main import run

BROKEN = "BENCH_BROKEN"
FAILS_ON_ONE_OF = 5


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
        broken = self.broken()
        for name, texts in asked.items():
            if name in broken and any(
                crc32(text.encode()) % FAILS_ON_ONE_OF == 0 for text in texts
            ):
                raise RuntimeError("broken on purpose")
        return {
            name: [Prediction(name, 0.75, {"similarity": 0.5}, 8) for _ in texts]
            for name, texts in asked.items()
        }

    def broken(self) -> set[str]:
        path = Path(os.environ.get(BROKEN, "-"))
        return set(path.read_text().split()) if path.exists() else set()


def unlucky(text: str) -> bool:
    return crc32(text.encode()) % FAILS_ON_ONE_OF == 0


if __name__ == "__main__":
    run(config.load(), StubEngine)
