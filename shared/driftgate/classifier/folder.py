"""The files of one trained version.

    adapter_model.safetensors, adapter_config.json   LoRA in PEFT's own format
    head.safetensors                                 cosine head: prototypes, scale; base digest
    labels.json                                      the labels, in the order of the prototypes

Nothing here is pickled. Files are not trusted: shapes and values are checked when they are read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from driftgate.bases import BaseRef, same_base
from driftgate.errors import BadConfig, Corrupt

ADAPTER = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
HEAD = "head.safetensors"
LABELS = "labels.json"


@dataclass(frozen=True, slots=True)
class Head:
    """Cosine head: logits are `scale` times the cosine to each prototype.

    prototypes: [classes, dim], rows of length 1. labels: one a row.
    """

    labels: tuple[str, ...]
    prototypes: Tensor
    scale: float

    def cosines(self, pooled: Tensor) -> Tensor:
        """Embeddings of length 1, [texts, dim] → cosines [texts, classes]."""
        return pooled @ self.prototypes.T


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA as PEFT saved it: its configuration, and its tensors by PEFT's names."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def scaling(self) -> float:
        """What `B @ A` is multiplied by (Hu et al. 2021; rank-stabilised: Kalajdzievski 2023)."""
        rank = float(self.config["r"])
        return float(self.config["lora_alpha"]) / (
            rank**0.5 if self.config.get("use_rslora") else rank
        )


def write_head(folder: Path, head: Head, base: BaseRef) -> None:
    """Write the head and the labels beside PEFT's files."""
    tensors = {
        "prototypes": functional.normalize(head.prototypes.detach().float().cpu()),
        "scale": torch.tensor(head.scale),
    }
    save_file(tensors, folder / HEAD, metadata={"base_sha256": base.digest})
    (folder / LABELS).write_text(json.dumps(head.labels, ensure_ascii=False) + "\n", "utf-8")


def read_head(folder: Path, base: BaseRef) -> Head:
    """Read the head and the labels.

    Raises:
        Corrupt: a file is missing or unreadable, or the two do not fit each other.
        BadConfig: the version was trained on another base.
    """
    try:
        labels = json.loads((folder / LABELS).read_text("utf-8"))
        with safe_open(folder / HEAD, framework="pt") as file:
            trained_on = (file.metadata() or {}).get("base_sha256")
            prototypes, scale = file.get_tensor("prototypes"), file.get_tensor("scale")
    except (OSError, ValueError, SafetensorError) as error:
        raise Corrupt(f"version {folder}: {LABELS} or {HEAD} cannot be read: {error}") from error
    if not isinstance(labels, list) or prototypes.shape[:1] != (len(labels),):
        raise Corrupt(f"version {folder}: {LABELS} and {HEAD} disagree on the number of classes")
    if not same_base(base, str(trained_on)):
        raise BadConfig(
            f"version {folder}: trained on base {trained_on}, but {base.name} is {base.digest}; "
            "serve it on its own base"
        )
    _finite(folder / HEAD, {"prototypes": prototypes, "scale": scale})
    return Head(tuple(map(str, labels)), prototypes, float(scale))


def read_adapter(folder: Path) -> Adapter:
    """Read PEFT's two files.

    Raises:
        Corrupt: a file is missing or unreadable, or holds a number that is not finite.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / ADAPTER)
    except (OSError, ValueError, SafetensorError) as error:
        raise Corrupt(f"version {folder}: {CONFIG} or {ADAPTER} cannot be read: {error}") from error
    _finite(folder / ADAPTER, tensors)
    return Adapter(config, tensors)


def _finite(file: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise Corrupt(f"{file}: tensor {name} holds a number that is not finite")
