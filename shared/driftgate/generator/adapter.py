"""The files of one trained version that writes.

    adapter_model.safetensors, adapter_config.json   LoRA in PEFT's own format

The metadata of the tensors hold the base's digest under `base_sha256`, where `sealed` wrote it.
Nothing here is pickled. Files are not trusted: settings, shapes and values are checked when they
are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from driftgate.bases import BaseRef, same_base
from driftgate.classifier.bert import NOT_PLAIN
from driftgate.classifier.folder import ADAPTER, CONFIG, read_adapter
from driftgate.classifier.folder import Adapter as Files
from driftgate.errors import BadConfig, Corrupt

BASE = "base_sha256"
PREFIX = "base_model.model."
"""What PEFT puts before the name of each map."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """What a version adds to one linear map: `(x @ a.T) @ b`.

    a: [rank, inputs]. b: [rank, outputs], scaled.
    """

    a: Tensor
    b: Tensor


Adapter = Mapping[str, LowRank]
"""By the full name of the map in the network."""


def sealed(folder: Path, base: BaseRef) -> None:
    """Writes the base's digest into the tensors' file, so that no other base serves it. It is the
    only entry of the metadata: several would be written in ever another order."""
    sealed_bytes = save(load_file(folder / ADAPTER), metadata={BASE: base.digest})
    (folder / ADAPTER).write_bytes(sealed_bytes)


def checked(folder: Path, base: BaseRef) -> Files:
    """A version's files, as far as they can be judged without the network.

    Raises:
        Corrupt: one is missing or unreadable, or a number is not finite.
        BadConfig: it was trained on another base, or is no plain LoRA.
    """
    found = read_adapter(folder)
    _require_plain(folder, found.config)
    with safe_open(folder / ADAPTER, framework="pt") as file:
        trained_on = (file.metadata() or {}).get(BASE)
    if trained_on is not None and not same_base(base, trained_on):
        raise _other_base(folder, base, f"it was trained on base {trained_on}")
    return found


def read(folder: Path, base: BaseRef, network: Any) -> Adapter:
    """An adapter of the network of `base`, where that is and in the precision that it computes in.

    Raises:
        Corrupt: a file is missing or unreadable, its tensors do not fit each other, or a number is
            not finite.
        BadConfig: it was trained on another base, or is no plain LoRA on linear maps.
    """
    found = checked(folder, base)
    try:
        scaling = found.scaling()
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise Corrupt(f"version {folder}: {CONFIG} lacks a usable r or lora_alpha") from error
    maps = {}
    for name in sorted({_map_of(folder, tensor) for tensor in found.tensors}):
        a, b = (found.tensors.get(f"{name}.lora_{which}.weight") for which in "AB")
        if a is None or b is None or a.dim() != 2 or b.dim() != 2 or len(a) != b.shape[1]:
            raise Corrupt(f"version {folder}: A and B of {name} do not fit together in {ADAPTER}")
        _require_fit(folder, base, network, name.removeprefix(PREFIX), (len(b), a.shape[1]))
        low = LowRank(_placed(network, a.float()), _placed(network, scaling * b.float().T))
        if not bool(low.a.isfinite().all() and low.b.isfinite().all()):
            raise Corrupt(f"version {folder}: {name} has numbers too large for {network.dtype}")
        maps[name.removeprefix(PREFIX)] = low
    return maps


def _placed(network: Any, tensor: Tensor) -> Tensor:
    return tensor.to(network.device, network.dtype).contiguous()


def _require_plain(folder: Path, config: Any) -> None:
    if not isinstance(config, dict):
        raise Corrupt(f"version {folder}: {CONFIG}: expected a JSON object")
    odd = [key for key in NOT_PLAIN if config.get(key)]
    if config.get("bias", "none") != "none":
        odd.append("bias")
    if config.get("peft_type", "LORA") != "LORA":
        odd.append("peft_type")
    if odd:
        raise BadConfig(
            f"version {folder}: {CONFIG}: {odd[0]} is {config[odd[0]]!r}, expected plain LoRA"
        )


def _map_of(folder: Path, tensor: str) -> str:
    for end in (".lora_A.weight", ".lora_B.weight"):
        if tensor.endswith(end):
            return tensor.removesuffix(end)
    raise BadConfig(f"version {folder}: it changes {tensor}, expected plain LoRA on linear maps")


def _require_fit(
    folder: Path, base: BaseRef, network: Any, name: str, shape: tuple[int, int]
) -> None:
    """The network has a linear map of that name and shape [outputs, inputs]."""
    try:
        module = network.get_submodule(name)
    except AttributeError:
        module = None
    if not isinstance(module, torch.nn.Linear):
        raise _other_base(folder, base, f"it changes {name}, which is no linear map there")
    has = (module.out_features, module.in_features)
    if has != shape:
        raise _other_base(folder, base, f"its {name} has shape {shape}, there it is {has}")


def _other_base(folder: Path, base: BaseRef, why: str) -> BadConfig:
    return BadConfig(
        f"version {folder} does not fit base {base.name} ({base.digest}): {why}; "
        "serve it on its own base"
    )
