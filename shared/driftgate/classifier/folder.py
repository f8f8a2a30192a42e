"""The files of one trained version.

    adapter_model.safetensors, adapter_config.json   LoRA in PEFT's own format
    head.safetensors                                 a cosine or a linear head; base digest
    labels.json                                      the labels, in the order of the prototypes

A cosine head stands on an adapter. A linear head stands on the frozen base, without PEFT's files.

Nothing here is pickled. Files are not trusted: shapes and values are checked when they are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

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

    adapted: ClassVar[bool] = True

    @classmethod
    def of(cls, labels: tuple[str, ...], tensors: Mapping[str, Tensor]) -> Head:
        """
        Raises:
            KeyError: a tensor is missing.
        """
        return cls(labels, tensors["prototypes"], float(tensors["scale"]))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By their names in the file."""
        return {"prototypes": self.prototypes, "scale": torch.tensor(self.scale)}

    def cosines(self, pooled: Tensor) -> Tensor:
        """Embeddings of length 1, [texts, dim] → cosines [texts, classes]."""
        return pooled @ self.prototypes.T

    def logits(self, pooled: Tensor, cosines: Tensor) -> Tensor:
        """Embeddings and their cosines → logits [texts, classes]."""
        return self.scale * cosines

    def on(self, device: str) -> Head:
        """The head on a torch device."""
        return replace(self, prototypes=self.prototypes.to(device))


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Linear head on the embeddings of the frozen base.

    prototypes: [classes, dim], rows of length 1; they say how like its class a text is, and decide
    nothing. weights: [classes, dim]. bias: [classes]. labels: one a row.
    """

    labels: tuple[str, ...]
    prototypes: Tensor
    weights: Tensor
    bias: Tensor

    adapted: ClassVar[bool] = False

    @classmethod
    def of(cls, labels: tuple[str, ...], tensors: Mapping[str, Tensor]) -> LinearHead:
        """
        Raises:
            KeyError: a tensor is missing.
        """
        return cls(labels, tensors["prototypes"], tensors["weights"], tensors["bias"])

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By their names in the file."""
        return {"prototypes": self.prototypes, "weights": self.weights, "bias": self.bias}

    def cosines(self, pooled: Tensor) -> Tensor:
        """See `Head`."""
        return pooled @ self.prototypes.T

    def logits(self, pooled: Tensor, cosines: Tensor) -> Tensor:
        """See `Head`."""
        return torch.addmm(self.bias, pooled, self.weights.T)

    def on(self, device: str) -> LinearHead:
        """See `Head`."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return LinearHead.of(self.labels, moved)


AnyHead = Head | LinearHead


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


def write_head(folder: Path, head: AnyHead, base: BaseRef) -> None:
    """Write the head and the labels."""
    tensors = {name: tensor.detach().float().cpu() for name, tensor in head.tensors.items()}
    tensors["prototypes"] = functional.normalize(tensors["prototypes"])
    save_file(tensors, folder / HEAD, metadata={"base_sha256": base.digest})
    (folder / LABELS).write_text(json.dumps(head.labels, ensure_ascii=False) + "\n", "utf-8")


def read_head(folder: Path, base: BaseRef) -> AnyHead:
    """Read the head and the labels. What kind of head it is, its tensors say.

    Raises:
        Corrupt: a file is missing or unreadable, or the two do not fit each other.
        BadConfig: the version was trained on another base.
    """
    try:
        labels = json.loads((folder / LABELS).read_text("utf-8"))
        with safe_open(folder / HEAD, framework="pt") as file:
            trained_on = (file.metadata() or {}).get("base_sha256")
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise Corrupt(f"version {folder}: {LABELS} or {HEAD} cannot be read: {error}") from error
    if not same_base(base, str(trained_on)):
        raise BadConfig(
            f"version {folder}: trained on base {trained_on}, but {base.name} is {base.digest}; "
            "serve it on its own base"
        )
    _finite(folder / HEAD, tensors)
    try:
        head = (LinearHead if "weights" in tensors else Head).of(tuple(map(str, labels)), tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise Corrupt(f"version {folder}: {LABELS} and {HEAD} hold no head: {error}") from error
    wide = (len(head.labels), *head.prototypes.shape[1:])
    shapes = {"prototypes": wide, "weights": wide, "bias": wide[:1], "scale": ()}
    if not isinstance(labels, list) or any(
        tensor.shape != shapes[name] for name, tensor in head.tensors.items()
    ):
        raise Corrupt(f"version {folder}: {LABELS} and {HEAD} disagree on the number of classes")
    return head


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
