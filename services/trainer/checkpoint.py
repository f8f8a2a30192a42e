"""What lets a killed training go on after its last finished epoch, and end with the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from driftgate.bases import BaseRef
from driftgate.files import write_atomically

FILE = "epoch.safetensors"


class Resumable(Protocol):
    """A training between two epochs.

    Attributes:
        parameters: what is trained, in a fixed order.
        kept: other tensors that it goes on with, in a fixed order.
        state: the rest, as JSON.
    """

    optimizer: torch.optim.Optimizer

    @property
    def parameters(self) -> Sequence[Tensor]: ...
    @property
    def kept(self) -> Sequence[Tensor]: ...
    @property
    def state(self) -> dict[str, Any]: ...

    def resume(self, state: Mapping[str, Any]) -> int:
        """Takes over a `state`. Returns how many epochs were finished."""


def signature_of(
    examples: Sequence[Any], method: Any, base: BaseRef, seed: int, threads: int
) -> str:
    """One hash over all that decides a training's bytes. Examples and method are dataclasses."""
    told = {
        "examples": [list(asdict(example).values()) for example in examples],
        "method": asdict(method),
        "base": base.digest,
        "seed": seed,
        "threads": threads,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def save_checkpoint(run: Resumable, folder: Path, signature: str) -> None:
    """Write the state after an epoch."""
    tensors = _tensors(run)
    for number, parameter in enumerate(run.parameters):
        for name, moment in run.optimizer.state[parameter].items():
            tensors[f"{number}.{name}"] = moment
    folder.mkdir(parents=True, exist_ok=True)
    state = {"signature": signature, "state": json.dumps(run.state)}
    write_atomically(folder / FILE, save(tensors, metadata=state))


def resume(run: Resumable, folder: Path, signature: str) -> int:
    """Take over a checkpoint of this very training. Returns how many epochs it had finished.

    A checkpoint of another training, or one that cannot be read, is passed over.
    """
    try:
        return _resumed(run, folder / FILE, signature)
    except (FileNotFoundError, SafetensorError):
        return 0


def _resumed(run: Resumable, file: Path, signature: str) -> int:
    with safe_open(file, framework="pt") as checkpoint:
        told = checkpoint.metadata() or {}
        if told.get("signature") != signature or "state" not in told:
            return 0
        for name, tensor in _tensors(run).items():
            tensor.copy_(checkpoint.get_tensor(name))
        for number, parameter in enumerate(run.parameters):
            run.optimizer.state[parameter] = {
                name: checkpoint.get_tensor(f"{number}.{name}").to(parameter.device)
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
    return run.resume(json.loads(told["state"]))


def _tensors(run: Resumable) -> dict[str, Tensor]:
    """By name, sharing memory with the run's."""
    values = {f"{number}.value": value for number, value in enumerate(run.parameters)}
    kept = {f"{number}.kept": tensor for number, tensor in enumerate(run.kept)}
    return {name: tensor.detach() for name, tensor in (values | kept).items()}
