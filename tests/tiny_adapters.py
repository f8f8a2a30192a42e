"""Random LoRA adapters, as peft writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from driftgate.bases import BaseRef
from driftgate.generator.adapter import sealed
from driftgate.generator.base import load
from services.trainer.probe import write_probe


def tiny_adapter(
    folder: Path,
    base: BaseRef,
    seed: int,
    std: float = 0.1,
    recorded: bool = True,
    **changed: Any,
) -> Path:
    """An adapter that changes what its base writes. `changed` goes to peft's configuration.
    `recorded`: with the record that proves it, as versions have that are trained here."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **changed}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = load(base, device="cpu")
        adapted = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", **settings))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=std)
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    sealed(folder, base)
    if recorded:
        write_probe(adapted, folder, base)
    return folder
