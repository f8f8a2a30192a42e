"""The frozen causal language model below every adapter that writes."""

from __future__ import annotations

from typing import Any

from driftgate.bases import BaseRef
from driftgate.frozen import Kind, device_of, frozen


def load(base: BaseRef, method: Kind = "lora", device: str = "auto") -> Any:
    """The frozen `transformers` causal language model, in evaluation mode: fp32 on a CPU, bfloat16
    on a GPU, as such models are published. With `qlora`: `frozen`.

    Raises:
        BadConfig: it is no causal language model, or some of its weights are missing.
    """
    import torch
    from transformers import AutoModelForCausalLM

    half = device_of(device) != "cpu"
    dtype = torch.bfloat16 if half else torch.float32
    return frozen(base, AutoModelForCausalLM, method, device, dtype=dtype)
