"""What a version answers to a suite, computed once: answers are kept by the content of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from driftgate.artifacts import Artifacts
from driftgate.codec import digest
from driftgate.engines import Base, Prediction
from driftgate.tasks import Task

CHUNK = 64
"""Texts asked at once, between two signs of progress."""


@dataclass(frozen=True, slots=True)
class Version:
    """A trained version: its number, the digest and artifact folder of its adapter, its base."""

    number: int
    digest: str
    uri: str
    base: Base


class Predictor(Protocol):
    """Versions that answer."""

    def predict(
        self, version: Version, texts: Sequence[str], task: Task
    ) -> Sequence[Prediction]: ...


@dataclass(frozen=True, slots=True)
class PredictionCache:
    """Answers from the artifact store, else from the versions themselves."""

    predictor: Predictor
    artifacts: Artifacts

    def answers(
        self,
        version: Version,
        texts: Sequence[str],
        task: Task,
        answered: Callable[[int], None],
    ) -> dict[str, Prediction]:
        """The version's answer to each text; `answered` is told of so many more."""
        asked = [*texts, task.asked_with] if task.asked_with else [*texts]
        name = f"evals/predictions/{version.digest}/{digest(asked)}"
        kept = self.artifacts.ref(name)
        if kept is None:
            found: list[Prediction] = []
            for at in range(0, len(texts), CHUNK):
                found += self.predictor.predict(version, texts[at : at + CHUNK], task)
                answered(len(texts[at : at + CHUNK]))
            kept = self.artifacts.put_json([asdict(answer) for answer in found])
            self.artifacts.set_ref(name, kept)
        else:
            answered(len(texts))
        rows = self.artifacts.get_json(kept)
        return {text: Prediction(**row) for text, row in zip(texts, rows, strict=True)}
