"""How versions are trained, by the names that tasks give (`driftgate.tasks`). What a recipe needs
is imported when it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.trainer.worker import Job


@dataclass(frozen=True, slots=True)
class Trained:
    """What a recipe says of the version that it wrote.

    losses, validation: of each epoch; validation on examples that were not learned from, where the
    recipe holds some back. left_out: examples that could not be learned, by reason.
    """

    base_digest: str
    steps: int
    losses: tuple[float, ...]
    metrics: Mapping[str, float]
    validation: tuple[float, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


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
    return replace(trained, losses=rounded(trained.losses))


def head(job: Job, out: Path, progress: Progress) -> Trained:
    """A linear head on the frozen base.

    Raises:
        BadConfig: as `classifier`.
        TrainingFailed: the base's embeddings are no finite numbers.
    """
    from driftgate.bases import pinned
    from services.trainer.head import fit_head
    from services.trainer.method import Example

    trained = fit_head(
        [Example(*example) for example in job.examples],
        pinned(job.base, job.base_sha256 or ""),
        out,
        seed=job.seed,
        threads=job.threads,
        progress=progress,
        checkpoint=Path(job.checkpoint),
    )
    return replace(trained, losses=rounded(trained.losses))


def sft(job: Job, out: Path, progress: Progress) -> Trained:
    """An adapter of a causal language model, tuned on pairs.

    Raises:
        BadConfig: as `classifier`.
        BadInput: no pair is short enough.
        TrainingFailed: it diverged.
    """
    from driftgate.bases import pinned
    from driftgate.generator.prompt import Prompt
    from services.trainer.sft.method import Method
    from services.trainer.sft.pairs import Limits
    from services.trainer.sft.tune import tune

    base, told = pinned(job.base, job.base_sha256 or ""), job.task
    trained = tune(
        job.examples,
        Prompt(told["system"], told["template"]),
        Limits(told["max_input_tokens"], told["max_new_tokens"]),
        Method(**job.method),
        base,
        out,
        seed=job.seed,
        threads=job.threads,
        progress=progress,
        checkpoint=Path(job.checkpoint),
    )
    losses, validation = rounded(trained.losses), rounded(trained.validation)
    return replace(trained, losses=losses, validation=validation)


def rounded(losses: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(loss, 4) for loss in losses)


RECIPES: Mapping[str, Recipe] = {"classifier": classifier, "head": head, "sft": sft}
