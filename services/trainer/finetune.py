"""One fine-tuning run: examples in, the folder of a version out, the same bytes for the same seed.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) by `peft` on the top layers of the frozen
base, under a cosine head. Nothing here knows where it runs: a Ray actor, a thread and a test call
it alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from driftgate.bases import BaseRef
from driftgate.classifier.adaptable import adaptable
from driftgate.classifier.folder import Head, write_head
from services.trainer.checkpoint import resume, save_checkpoint, signature_of
from services.trainer.deterministic import deterministic
from services.trainer.encoders import encoder_of
from services.trainer.loop import Run
from services.trainer.lora import write_adapter
from services.trainer.method import Example, Method, labels_of
from services.trainer.recipes import Progress, Trained
from services.trainer.schedule import plan
from services.trainer.spent import spent


def finetune(
    examples: Sequence[Example],
    method: Method,
    base: BaseRef,
    out: Path,
    *,
    seed: int,
    threads: int = 1,
    progress: Progress,
    checkpoint: Path | None = None,
    device: str = "auto",
) -> Trained:
    """Train a version into the folder `out`.

    `progress` is told the share done, 0 to 1, and what is being done. With a `checkpoint` folder,
    a run that was killed goes on after its last finished epoch and ends with the same bytes; a
    checkpoint of any other run is passed over.

    Metrics: `examples`, `classes`, `tokens` of one epoch, `cpu_seconds`, `peak_memory_mb` of the
    process so far, `resumed_epochs` taken over from a checkpoint.

    Raises:
        BadInput: there are fewer than two labels, or an example's weight is not positive.
        BadConfig: no adapter can be trained on the base.
        TrainingFailed: it diverged.
    """
    cpu_started = time.process_time()
    labels = labels_of(examples)
    adaptable(base)
    with deterministic(seed, threads):
        progress(0.0, "loading the base")
        encoder = encoder_of(examples, method, base, device)
        progress(0.05, "reading the examples")
        run = Run(examples, labels, method, encoder)
        signature = signature_of(examples, method, base, seed, threads)
        done = resume(run, checkpoint, signature) if checkpoint else 0
        for epoch in range(done, method.epochs):
            progress(0.1 + 0.9 * epoch / method.epochs, f"epoch {epoch + 1} of {method.epochs}")
            run.epoch(plan(encoder.lengths, method.batch_size, seed, epoch))
            if checkpoint:
                save_checkpoint(run, checkpoint, signature)
        write_adapter(encoder.model, out, base)
        write_head(out, Head(labels, run.prototypes, method.scale), base)
    progress(1.0, "trained")
    return Trained(
        base_digest=base.digest,
        steps=run.step,
        losses=tuple(run.losses),
        metrics={
            "examples": len(examples),
            "classes": len(labels),
            "tokens": sum(encoder.lengths),
            **spent(cpu_started),
            "resumed_epochs": done,
        },
    )
