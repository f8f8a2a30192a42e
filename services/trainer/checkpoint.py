"""What lets a killed training go on after its last finished epoch, and end with the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from driftgate.bases import BaseRef
from driftgate.files import write_atomically
from services.trainer.loop import Run
from services.trainer.method import Example, Method

FILE = "epoch.safetensors"


def signature_of(
    examples: Sequence[Example], method: Method, base: BaseRef, seed: int, threads: int
) -> str:
    """One hash over all that decides a training's bytes."""
    told = {
        "examples": [[example.text, example.label, example.weight] for example in examples],
        "method": asdict(method),
        "base": base.digest,
        "seed": seed,
        "threads": threads,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def save_checkpoint(run: Run, folder: Path, signature: str) -> None:
    """Write the state after an epoch."""
    tensors = {}
    for number, parameter in enumerate(run.parameters):
        tensors[f"{number}.value"] = parameter.detach().contiguous()
        for name, moment in run.optimizer.state[parameter].items():
            tensors[f"{number}.{name}"] = moment
    folder.mkdir(parents=True, exist_ok=True)
    state = {"signature": signature, "step": str(run.step), "losses": json.dumps(run.losses)}
    write_atomically(folder / FILE, save(tensors, metadata=state))


def resume(run: Run, folder: Path, signature: str) -> int:
    """Take over a checkpoint of this very training. Returns how many epochs it had finished.

    A checkpoint of another training, or one that cannot be read, is passed over.
    """
    try:
        return _resumed(run, folder / FILE, signature)
    except (FileNotFoundError, SafetensorError):
        return 0


def _resumed(run: Run, file: Path, signature: str) -> int:
    with safe_open(file, framework="pt") as checkpoint:
        state = checkpoint.metadata() or {}
        if state.get("signature") != signature:
            return 0
        for number, parameter in enumerate(run.parameters):
            parameter.data.copy_(checkpoint.get_tensor(f"{number}.value"))
            run.optimizer.state[parameter] = {
                name: checkpoint.get_tensor(f"{number}.{name}").to(parameter.device)
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
    run.step, run.losses = int(state["step"]), json.loads(state["losses"])
    return len(run.losses)
