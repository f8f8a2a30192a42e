"""The frozen causal language model below every adapter that writes."""

from __future__ import annotations

from typing import Any

from driftgate.bases import BaseRef, configuration
from driftgate.errors import BadConfig
from driftgate.frozen import Kind, device_of, frozen
from driftgate.generator.chat import Chat
from driftgate.lora_targets import outline, require_linear_maps

EXPECTED = "expected a causal language model such as Llama, Qwen, Gemma or Mistral"


def load(base: BaseRef, method: Kind = "lora", device: str = "auto") -> Any:
    """The frozen `transformers` causal language model, in evaluation mode: fp32 on a CPU, bfloat16
    on a GPU, as such models are published. With `qlora`: `frozen`.

    Raises:
        BadConfig: it is no causal language model, or some of its weights are missing.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _causal(base)
    dtype = torch.float32 if device_of(device) == "cpu" else torch.bfloat16
    return frozen(base, AutoModelForCausalLM, method, device, dtype=dtype)


def adaptable(base: BaseRef) -> None:
    """Passes when LoRA fits a base. Reads configuration, tokenizer and chat template, no weights.

    Raises:
        BadConfig: it does not fit, and why.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import AutoModelForCausalLM

    _causal(base)
    network = outline(base, AutoModelForCausalLM, EXPECTED)
    Chat.of(base)
    trial = LoraConfig(r=1, target_modules=require_linear_maps(base, network, EXPECTED))
    try:
        inject_adapter_in_model(trial, network, low_cpu_mem_usage=True)
    except Exception as error:  # peft's errors have no class in common
        raise BadConfig(
            f"base: peft cannot adapt {base.name!r} ({type(error).__name__}: {error}); {EXPECTED}"
        ) from error


def _causal(base: BaseRef) -> None:
    """From `config.json` alone."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config = configuration(base)
    shape, named = config.get("model_type"), config.get("architectures") or []
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(str(shape))
    if known is None or known not in named:
        raise BadConfig(
            f"base: {base.name!r} is no causal language model that transformers knows: its "
            f"config.json has model_type {shape!r} and architectures {named}; {EXPECTED}"
        )
    quantised = config.get("quantization_config")
    if quantised:
        raise BadConfig(
            f"base: the weights of {base.name!r} are quantised already "
            f"({quantised.get('quant_method', 'unknown method')}); name the base that they were "
            "made from: method.kind: qlora holds it in 4 bits"
        )
