"""Recipe `auto`: `head` or `classifier`, whichever `choice` takes, the same bytes for the same
seed.

Both learn from the examples that are not left out; the chosen one learns from all of them then,
and the version is as if model.yaml had named it. Nothing here knows where it runs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from driftgate.bases import pinned
from driftgate.classifier.serving import Classifier
from driftgate.model_repo import HEAD
from services.trainer.choice import CLASSIFIER, Choice, choice, left_out
from services.trainer.deterministic import deterministic
from services.trainer.method import Example, labels_of
from services.trainer.recipes import RECIPES, Progress, Trained
from services.trainer.spent import spent

if TYPE_CHECKING:
    from services.trainer.worker import Job

COMPARED = {HEAD: (0.0, 0.1), CLASSIFIER: (0.1, 0.5)}
"""From which share of a training to which each recipe learns for the comparison."""

CHOSEN = 0.5
"""The share when a recipe is chosen."""


def by_the_better(job: Job, out: Path, progress: Progress) -> Trained:
    """Train a version into the folder `out`.

    A run that was killed goes on in the folders below the job's `checkpoint`, as the two recipes
    do.

    Metrics: those of the chosen recipe, with the processor time of all; how many examples were
    `left_out_compared`, and if any, `left_out_accuracy_head`, `left_out_accuracy_classifier` and
    `left_out_standard_error` of their difference.

    Raises:
        BadInput: there are fewer than two labels, or an example's weight is not positive.
        BadConfig: no adapter can be trained on the base.
        TrainingFailed: the adapter diverged, or the base's embeddings are no finite numbers.
    """
    cpu_started = time.process_time()
    found = chosen(job, progress)
    told = part(progress, CHOSEN, 1.0, f"{found.recipe} was chosen")
    made = trained(job, found.recipe, job.examples, "all", out, told)
    return replace(
        made,
        recipe=found.recipe,
        metrics={**made.metrics, **found.metrics, **spent(cpu_started)},
        notes=(*made.notes, found.words),
    )


def chosen(job: Job, progress: Progress) -> Choice:
    """What is right more often about examples that it did not learn from.

    What has no label that was learned counts for neither; where nothing is left to learn from, or
    to count, nothing is compared.
    """
    examples = [Example(*example) for example in job.examples]
    labels_of(examples)
    held = left_out(examples, job.seed)
    kept = [not out for out in held]
    known = {one.label for one in compress(examples, kept)}
    asked = [one for one in compress(examples, held) if one.label in known]
    unknown = sum(held) - len(asked)
    if not asked or len(known) < 2:
        return choice([], {HEAD: [], CLASSIFIER: []}, unknown)
    learned = tuple(compress(job.examples, kept))
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: Path(folder) / name for name in COMPARED}
        for name, (begin, end) in COMPARED.items():
            told = part(progress, begin, end, f"{name}, to compare")
            trained(job, name, learned, f"compared-{name}", folders[name], told)
        progress(CHOSEN, "comparing")
        return choice(asked, right(job, asked, folders), unknown)


def trained(
    job: Job, name: str, examples: Sequence[tuple[str, str]], step: str, out: Path, told: Progress
) -> Trained:
    """By one recipe, with the checkpoint of one step."""
    checkpoint = str(Path(job.checkpoint) / step)
    asked = replace(job, recipe=name, examples=tuple(examples), checkpoint=checkpoint)
    return RECIPES[name](asked, out, told)


def right(
    job: Job, examples: Sequence[Example], folders: Mapping[str, Path]
) -> dict[str, list[bool]]:
    """Which examples each version is right about, as it would be served."""
    base = pinned(job.base, job.base_sha256 or "")
    texts = [one.text for one in examples]
    with deterministic(job.seed, job.threads):
        classifier = Classifier(base, threads=job.threads)
        for name, folder in folders.items():
            classifier.load(name, folder)
        answers = classifier.predict_many(dict.fromkeys(folders, texts))
    return {
        name: [said.output == one.label for said, one in zip(given, examples, strict=True)]
        for name, given in answers.items()
    }


def part(progress: Progress, begin: float, end: float, step: str) -> Progress:
    """Progress within a step, from one share of the whole to another."""
    return lambda share, doing: progress(begin + (end - begin) * share, f"{step}: {doing}")
