"""An adapter on the top layers of a frozen network (LoRA, Hu et al. 2021,
https://arxiv.org/abs/2106.09685), and its two files as `peft` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import torch

from driftgate.bases import BaseRef
from driftgate.classifier.folder import ADAPTER, CONFIG
from driftgate.lora_targets import linear_maps


class Rank(Protocol):
    """r: rank. alpha: the adapter's weight times r. layers: how many of the top layers adapt."""

    @property
    def r(self) -> int: ...
    @property
    def alpha(self) -> int: ...
    @property
    def layers(self) -> int: ...


def with_adapter(model: Any, task_type: str, method: Rank) -> Any:
    """The `peft` model, without dropout. task_type: as `peft.TaskType`."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type=task_type,
        r=method.r,
        lora_alpha=method.alpha,
        lora_dropout=0.0,
        target_modules=linear_maps(model, method.layers),
    )
    adapted = get_peft_model(model, config)
    for module in adapted.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    # In training mode, since bitsandbytes repacks weights for inference in the other.
    return adapted.train()


def write_adapter(model: Any, out: Path, base: BaseRef) -> None:
    """`peft`'s two files, without what names this machine."""
    out.mkdir(parents=True, exist_ok=True)
    model.peft_config["default"].base_model_name_or_path = base.name
    model.save_pretrained(out, save_embedding_layers=False)
    config = json.loads((out / CONFIG).read_text("utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    (out / "README.md").unlink(missing_ok=True)
    (out / ADAPTER).chmod(0o644)
