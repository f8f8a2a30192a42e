"""How versions are trained, by the names that tasks give (`driftgate.tasks`). What a recipe needs
is imported when it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.trainer.worker import Job


@dataclass(frozen=True, slots=True)
class Preferred:
    """How preferences were learned. pairs, validated: so many, and so many held back beside them.

    losses: of each epoch. validation: before the first step, then of each epoch. best: the epoch
    that was kept, from 1; 0 where none was better than the start. wins: the share of the validated
    pairs whose chosen answer is the likelier one, before the first step and at the end.
    """

    pairs: int
    validated: int
    losses: tuple[float, ...]
    validation: tuple[float, ...]
    best: int
    wins: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a recipe says of the version that it wrote.

    losses, validation: of each epoch; validation on examples that were not learned from, where the
    recipe holds some back. left_out: examples that could not be learned, by reason. preferred: of a
    recipe that learns preferences. notes: what did not go as declared, a clause each. recipe: the
    one that was chosen, of a recipe that chooses.
    """

    base_digest: str
    steps: int
    losses: tuple[float, ...]
    metrics: Mapping[str, float]
    validation: tuple[float, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    preferred: Preferred | None = None
    notes: tuple[str, ...] = ()
    recipe: str = ""


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
        [*(Example(*one) for one in job.examples), *(Example(*one) for one in job.names)],
        Method(**job.method),
        base,
        out,
        seed=job.seed,
        threads=job.threads,
        progress=progress,
        checkpoint=Path(job.checkpoint),
    )
    return whole(trained)


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
        names=[Example(*name) for name in job.names],
        seed=job.seed,
        threads=job.threads,
        progress=progress,
        checkpoint=Path(job.checkpoint),
    )
    return whole(trained)


def auto(job: Job, out: Path, progress: Progress) -> Trained:
    """`head` or `classifier`: what is right more often about examples that were left out.

    Raises:
        BadConfig, TrainingFailed: as `classifier` and `head`.
    """
    from services.trainer.auto import by_the_better

    return by_the_better(job, out, progress)


def sft(job: Job, out: Path, progress: Progress) -> Trained:
    """An adapter of a causal language model, tuned on pairs.

    Raises:
        BadConfig: as `classifier`.
        BadInput: no pair is short enough.
        TrainingFailed: it diverged.
    """
    from services.trainer.sft.tune import tune

    return whole(tune(job.examples, out=out, progress=progress, **asked(job)))


def dpo(job: Job, out: Path, progress: Progress) -> Trained:
    """An adapter of a causal language model that learned which of two answers is preferred.

    Raises:
        BadConfig, TrainingFailed: as `sft`.
        BadInput: too few pairs are short enough.
    """
    from services.trainer.dpo.method import Dpo
    from services.trainer.dpo.tune import tune

    preferences, settings = job.preferences, Dpo(**job.dpo)
    return whole(tune(preferences, settings, out=out, progress=progress, **asked(job)))


def sft_then_dpo(job: Job, out: Path, progress: Progress) -> Trained:
    """`sft`, and preferences from there; as `sft` alone where these are too few.

    Raises:
        BadConfig, BadInput, TrainingFailed: as `sft`.
    """
    from services.trainer.dpo.method import Dpo
    from services.trainer.dpo.tune import tune_after_sft as tune

    given = job.examples, job.preferences, Dpo(**job.dpo)
    return whole(tune(*given, out=out, progress=progress, **asked(job)))


def asked(job: Job) -> dict[str, Any]:
    """What all recipes of causal language models are given."""
    from driftgate.bases import pinned
    from driftgate.generator.prompt import Prompt
    from services.trainer.sft.method import Method
    from services.trainer.sft.pairs import Limits

    told = job.task
    return {
        "prompt": Prompt(told["system"], told["template"]),
        "limits": Limits(told["max_input_tokens"], told["max_new_tokens"]),
        "method": Method(**job.method),
        "base": pinned(job.base, job.base_sha256 or ""),
        "seed": job.seed,
        "threads": job.threads,
        "checkpoint": Path(job.checkpoint),
    }


def whole(trained: Trained) -> Trained:
    """With losses as people read them."""
    losses, validation = rounded(trained.losses), rounded(trained.validation)
    preferred = trained.preferred and replace(
        trained.preferred,
        losses=rounded(trained.preferred.losses),
        validation=rounded(trained.preferred.validation),
        wins=rounded(trained.preferred.wins),
    )
    return replace(trained, losses=losses, validation=validation, preferred=preferred)


def rounded(losses: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(loss, 4) for loss in losses)


RECIPES: Mapping[str, Recipe] = {
    "classifier": classifier,
    "head": head,
    "auto": auto,
    "sft": sft,
    "dpo": dpo,
    "sft+dpo": sft_then_dpo,
}
