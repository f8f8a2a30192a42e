"""How versions are trained, by the names that tasks give (`driftgate.tasks`). What a recipe needs
is imported when it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.trainer.worker import Job


@dataclass(frozen=True, slots=True)
class Trained:
    """What a recipe says of the version that it wrote."""

    base_digest: str
    steps: int
    losses: tuple[float, ...]
    metrics: Mapping[str, float]


Progress = Callable[[float, str], None]
"""Told the share done, 0 to 1, and what is being done."""

Recipe = Callable[["Job", Path, Progress], Trained]
"""Writes a version into a folder."""


def classifier(job: Job, out: Path, progress: Progress) -> Trained:
    """An adapter under a cosine head.

    Raises:
        BadConfig: there is no such base, its digest is not the pinned one, or no adapter can be
            trained on it.
        TrainingFailed: it diverged.
    """
    from driftgate.bases import pinned
    from services.trainer.finetune import finetune
    from services.trainer.method import Example, Method

    base = pinned(job.base, job.base_sha256 or "")
    trained = finetune(
        [Example(*example) for example in job.examples],
        Method(**job.method),
        base,
        out,
        seed=job.seed,
        threads=job.threads,
        progress=progress,
        checkpoint=Path(job.checkpoint),
    )
    losses = tuple(round(loss, 4) for loss in trained.losses)
    return Trained(base.digest, trained.steps, losses, trained.metrics)


RECIPES: Mapping[str, Recipe] = {"classifier": classifier}
