"""One supervised tuning: pairs in, the folder of a version out, the same bytes for the same seed.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685), or QLoRA (Dettmers et al. 2023,
https://arxiv.org/abs/2305.14314), by `peft`. Nothing here knows where it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

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
from services.trainer.sft.method import Method
from services.trainer.sft.network import Adapted
from services.trainer.sft.pairs import Limits, pairs_of, validated
from services.trainer.sft.run import Answers, Run, Told
from services.trainer.spent import spent

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
        reading, tuning = parts_of(
            progress,
            network.work_below(range(len(pairs))),
            method.epochs * network.work_above(learned, learning=True),
        )
        run = Run(network, method, Answers(network, method.label_smoothing))
        signature = signature_of(pairs, method, base, seed, threads)
        done = resume(run, checkpoint, signature) if checkpoint else 0
        network.keep(lambda share: reading(share, "reading the pairs"))
        save = saved(run, checkpoint, signature)
        run.fit(learned, held, seed, steps_of(len(learned), method, tuning), save)
        write_version(network.model, out, base)
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
            **spent(cpu_started),
            "resumed_epochs": done,
        },
    )


def write_version(model: Any, out: Path, base: BaseRef) -> None:
    """The folder of a trained `peft` model: its adapter, and by what a server proves that it
    serves it."""
    write_adapter(model, out, base)
    sealed(out, base)
    write_probe(model, out, base)


def parts_of(progress: Progress, *work: float) -> list[Progress]:
    """What tells the progress of each part of a training once its base is loaded, by their work."""
    done = list(accumulate(work, initial=0.0))
    ends = [LOADED + (1 - LOADED) * each / done[-1] for each in done]
    return [partial(within, progress, begin, end) for begin, end in pairwise(ends)]


def within(progress: Progress, begin: float, end: float, share: float, doing: str) -> None:
    progress(begin + (end - begin) * share, doing)


def steps_of(items: int, method: Method, progress: Progress, name: str = "step") -> Told:
    """What tells the progress of one part step by step."""
    steps = method.epochs * -(-items // method.batch_size)

    def told(step: int, loss: float) -> None:
        progress(step / steps, f"{name} {step} of {steps}, loss {loss:.3f}")

    return told


def saved(run: Run, folder: Path | None, signature: str) -> Callable[[], None]:
    """What writes a checkpoint, where there is a folder for it."""
    if folder is None:
        return lambda: None
    return partial(save_checkpoint, run, folder, signature)
