"""Recipe `head`: a linear head on the frozen base's embeddings, the same bytes for the same seed.

What fits in seconds is what an adapter has to beat. Nothing here knows where it runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from driftgate.bases import BaseRef
from driftgate.classifier.adaptable import adaptable
from driftgate.classifier.folder import LinearHead, write_head
from services.trainer import logistic
from services.trainer.deterministic import deterministic
from services.trainer.embedded import embedded
from services.trainer.failures import TrainingFailed
from services.trainer.logistic import PENALTIES, Rows
from services.trainer.loop import centroids
from services.trainer.method import Example, labels_of
from services.trainer.recipes import Progress, Trained
from services.trainer.spent import spent

LOADED, EMBEDDED = 0.05, 0.7
"""The share of a training when the base is loaded, and when all texts are embedded."""


def fit_head(
    examples: Sequence[Example],
    base: BaseRef,
    out: Path,
    *,
    names: Sequence[Example] = (),
    seed: int,
    threads: int = 1,
    progress: Progress,
    checkpoint: Path | None = None,
    device: str = "auto",
) -> Trained:
    """Train a version into the folder `out`. The seed deals the examples to folds;
    `names` are learned beside all of them, and are never left out.

    `progress` is told the share done, 0 to 1, and what is being done. With a `checkpoint` folder,
    a run that was killed embeds no text again.

    Metrics: `examples` and names, `classes`, `penalty` that was chosen and `validation_loss` with
    it on examples that were left out, `cpu_seconds`, `peak_memory_mb` of the process so far.

    Raises:
        BadInput: there are fewer than two labels, or an example's weight is not positive.
        BadConfig: the base cannot be used.
        TrainingFailed: the base's embeddings are no finite numbers.
    """
    cpu_started = time.process_time()
    learned = [*examples, *names]
    labels = labels_of(learned)
    adaptable(base)
    texts = [example.text for example in learned]

    def read(share: float) -> None:
        progress(LOADED + (EMBEDDED - LOADED) * share, "embedding the examples")

    with deterministic(seed, threads):
        progress(0.0, "loading the base")
        embeddings = torch.from_numpy(embedded(texts, base, checkpoint, threads, device, read))
        if not bool(torch.isfinite(embeddings).all()):
            raise TrainingFailed(
                f"base {base.name!r} embeds some texts as what is no finite number; "
                "expected weights that do not overflow in fp32"
            )
        rows = rows_of(learned, labels, embeddings)
        done = 0

        def tried(penalty: float) -> None:
            nonlocal done
            done += 1
            share = EMBEDDED + (1 - EMBEDDED) * done / (len(PENALTIES) + 1)
            progress(share, f"tried penalty {penalty:.0e}")

        progress(EMBEDDED, "choosing the penalty")
        fold = logistic.folds(texts[: len(examples)], seed, always=len(names))
        penalty, validation = logistic.chosen(rows, fold, tried)
        made = logistic.fit(rows, penalty)
        prototypes = centroids(embeddings, rows.targets, rows.weights.float())
        out.mkdir(parents=True, exist_ok=True)
        write_head(out, LinearHead(labels, prototypes, made.weights, made.bias), base)
    progress(1.0, "trained")
    return Trained(
        base_digest=base.digest,
        steps=made.steps,
        losses=(made.loss(rows) / len(learned),),
        metrics={
            "examples": len(learned),
            "classes": len(labels),
            "penalty": penalty,
            "validation_loss": validation,
            **spent(cpu_started),
        },
    )


def rows_of(examples: Sequence[Example], labels: Sequence[str], embeddings: torch.Tensor) -> Rows:
    row = {label: at for at, label in enumerate(labels)}
    weights = torch.tensor([example.weight for example in examples], dtype=torch.float64)
    return Rows(
        embeddings.double(),
        torch.tensor([row[example.label] for example in examples]),
        weights / weights.mean(),
        len(labels),
    )
