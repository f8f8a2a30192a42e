"""One supervised tuning: pairs in, the folder of a version out, the same bytes for the same seed.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685), or QLoRA (Dettmers et al. 2023,
https://arxiv.org/abs/2305.14314), by `peft`. Nothing here knows where it runs.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from pathlib import Path

from driftgate.bases import BaseRef
from driftgate.generator.adapter import sealed
from driftgate.generator.base import adaptable, load
from driftgate.generator.chat import Chat
from driftgate.generator.prompt import Prompt
from services.trainer.checkpoint import resume, save_checkpoint, signature_of
from services.trainer.deterministic import deterministic
from services.trainer.lora import write_adapter
from services.trainer.probe import write_probe
from services.trainer.recipes import Progress, Trained
from services.trainer.schedule import dealt
from services.trainer.sft.method import Method
from services.trainer.sft.network import Adapted
from services.trainer.sft.pairs import Limits, pairs_of, validated
from services.trainer.sft.run import Run

LOADED = 0.03
"""The share of a training when the base is loaded."""


def tune(
    rows: Iterable[tuple[str, str]],
    prompt: Prompt,
    limits: Limits,
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
    """Train a version on rows (text, target) into the folder `out`.

    `progress` is told the share done, 0 to 1, and what is being done. With a `checkpoint` folder,
    a run that was killed goes on after its last finished epoch and ends with the same bytes; a
    checkpoint of any other run is passed over.

    Metrics: `examples`, `validated`, `tokens` of one epoch, `answer_tokens` of them, `best_epoch`,
    `cpu_seconds`, `peak_memory_mb` of the process so far, `resumed_epochs` taken over from a
    checkpoint.

    Raises:
        BadInput: no pair is short enough.
        BadConfig: no adapter can be trained on the base.
        TrainingFailed: it diverged.
    """
    cpu_started = time.process_time()
    adaptable(base)
    pairs, left_out = pairs_of(rows, Chat.of(base), prompt, limits)
    learned, held = validated(pairs, method.validation_share)
    with deterministic(seed, threads):
        progress(0.0, "loading the base")
        network = Adapted(load(base, method.kind, device), pairs, method)
        run = Run(network, method)
        signature = signature_of(pairs, method, base, seed, threads)
        done = resume(run, checkpoint, signature) if checkpoint else 0
        begun = between(LOADED, 1.0, network.share_kept(method.epochs))
        network.keep(lambda share: progress(between(LOADED, begun, share), "reading the pairs"))
        steps = method.epochs * -(-len(learned) // method.batch_size)

        def told(step: int, loss: float) -> None:
            share = between(begun, 1.0, step / steps)
            progress(share, f"step {step} of {steps}, loss {loss:.3f}")

        for epoch in range(done, method.epochs):
            if run.over:
                break
            batches = dealt(len(learned), method.batch_size, seed, epoch)
            run.epoch([[learned[at] for at in batch] for batch in batches], held, told)
            if checkpoint:
                save_checkpoint(run, checkpoint, signature)
        run.take_best()
        write_adapter(network.model, out, base)
        sealed(out, base)
        write_probe(network.model, out, base)
    progress(1.0, "trained")
    return Trained(
        base_digest=base.digest,
        steps=run.step,
        losses=tuple(run.losses),
        validation=tuple(run.validation),
        left_out=left_out,
        metrics={
            "examples": len(learned),
            "validated": len(held),
            "tokens": sum(network.lengths[row] for row in learned),
            "answer_tokens": sum(len(pairs[row].completion) for row in learned),
            "best_epoch": run.best + 1,
            "cpu_seconds": time.process_time() - cpu_started,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "resumed_epochs": done,
        },
    )


def between(begin: float, end: float, share: float) -> float:
    return begin + (end - begin) * share
