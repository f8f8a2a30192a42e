"""How versions are trained, by the names that tasks give (`driftgate.tasks`). What a recipe needs
is imported when it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from driftgate.errors import BadConfig

if TYPE_CHECKING:
    from services.trainer.worker import Job


@dataclass(frozen=True, slots=True)
class Made:
    """What a recipe says of the version that it wrote."""

    base_digest: str
    steps: int
    losses: tuple[float, ...]
    metrics: Mapping[str, float]


Progress = Callable[[float, str], None]
"""Told the share done, 0 to 1, and what is being done."""

Recipe = Callable[["Job", Path, Progress], Made]
"""Writes a version into a folder."""


def classifier(job: Job, out: Path, progress: Progress) -> Made:
    """An adapter under a cosine head.

    Raises:
        BadConfig: there is no such base, its digest is not the pinned one, or no adapter can be
            trained on it.
        TrainingFailed: it diverged.
    """
    from driftgate.classifier.base import resolve, same_base
    from services.trainer.finetune import finetune
    from services.trainer.method import Example, Method

    base = resolve(job.base)
    if job.base_sha256 is not None and not same_base(base, job.base_sha256):
        raise BadConfig(
            f"base.sha256 is {job.base_sha256}, but the digest of {job.base} is {base.digest} "
            f"(of its weights alone {base.weights}): correct one of the two in model.yaml"
        )
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
    return Made(base.digest, trained.steps, losses, trained.metrics)


RECIPES: Mapping[str, Recipe] = {"classifier": classifier}
