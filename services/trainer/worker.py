"""What runs inside the Ray actor. It lives as long as the trainer, so torch is imported once."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driftgate.errors import DriftgateError
from services.trainer.failures import failure
from services.trainer.memory import give_back, resident
from services.trainer.recipes import RECIPES, Preferred

PACKAGES = ("numpy", "peft", "ray", "safetensors", "scipy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Job:
    """One training. recipe: one of `recipes.RECIPES`. examples: (text, target). names: (text,
    label, weight) that are learned beside them, see `driftgate.label_names`. preferences: (text,
    chosen, rejected). method: as the recipe understands it; dpo: how preferences are learned. task:
    what it has to know of the task (`Task.told`). checkpoint: a folder that outlives the worker.
    """

    recipe: str
    examples: tuple[tuple[str, str], ...]
    method: Mapping[str, Any]
    task: Mapping[str, Any]
    base: str
    base_sha256: str | None
    seed: int
    threads: int
    checkpoint: str
    names: tuple[tuple[str, str, float], ...] = ()
    preferences: tuple[tuple[str, str, str], ...] = ()
    dpo: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What a training made: the files of the adapter folder, by name, the recipe by which, which
    `auto` never is, and how it went (see `recipes.Trained`)."""

    files: Mapping[str, bytes]
    recipe: str
    base_digest: str
    steps: int
    losses: tuple[float, ...]
    metrics: Mapping[str, float]
    machine: Mapping[str, Any]
    validation: tuple[float, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    preferred: Preferred | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """How far a training is. share: 0 to 1. pid: the worker's process."""

    share: float
    doing: str
    pid: int


class Worker:
    """One process with torch. `step` may be called while others run."""

    def __init__(self) -> None:
        self._step = Step(0.0, "idle", os.getpid())
        self._warm: int | None = None

    def warm(self) -> None:
        """Imports what a training needs, 10 CPU seconds that the first one need not wait for."""
        import peft  # noqa: F401
        from transformers import AutoModel, AutoTokenizer  # noqa: F401

        import services.trainer.finetune  # noqa: F401

    def step(self) -> Step:
        """How far the training is."""
        return self._step

    def held(self) -> int:
        """Bytes of memory held beyond what the worker had before its first training."""
        return 0 if self._warm is None else resident() - self._warm

    def train(self, job: Job) -> Done:
        """Trains; goes on where a killed worker stopped, and ends with the same bytes. Memory that
        it took is given back.

        Raises:
            BadConfig: there is no such base, its digest is not the pinned one, or no adapter can
                be trained on it.
            TrainingFailed: it diverged, ran out of memory, or failed in a way not foreseen.
            DiskFailed: a checkpoint or the adapter could not be written.
        """
        if self._warm is None:
            self.warm()
            self._warm = resident()
        ended = self._ended(job)
        give_back()
        self._told(0.0, "idle")
        if isinstance(ended, DriftgateError):
            raise ended
        return ended

    def _ended(self, job: Job) -> Done | DriftgateError:
        """How the training ends. No exception leaves it, since one holds on to all tensors."""
        try:
            return self._trained(job)
        except Exception as error:  # whatever it is, it ends as one of ours
            logging.getLogger(__name__).exception("the training failed")
            return failure(error).with_traceback(None)

    def _trained(self, job: Job) -> Done:
        self._told(0.0, "starting")
        with tempfile.TemporaryDirectory() as folder:
            made = RECIPES[job.recipe](job, Path(folder), self._told)
            files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        return Done(
            files=files,
            recipe=made.recipe or job.recipe,
            base_digest=made.base_digest,
            steps=made.steps,
            losses=made.losses,
            metrics=made.metrics,
            machine=machine(job.threads),
            validation=made.validation,
            left_out=made.left_out,
            preferred=made.preferred,
            notes=made.notes,
        )

    def _told(self, share: float, doing: str) -> None:
        self._step = Step(share, doing, os.getpid())


def machine(threads: int) -> dict[str, Any]:
    """What, besides the inputs, decides a training's bytes, and what it ran on."""
    import torch

    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
