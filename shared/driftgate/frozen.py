"""A base in memory: the network that `transformers` builds, frozen, in full precision or 4 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from driftgate.bases import BaseRef
from driftgate.errors import BadConfig

Kind = Literal["lora", "qlora"]


def device_of(device: str) -> str:
    """The torch device behind a setting: `auto` is the GPU where there is one."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def frozen(
    base: BaseRef,
    auto: Any,
    method: Kind = "lora",
    device: str = "auto",
    dtype: Any = None,
    spare: Callable[[str], bool] = lambda name: False,
) -> Any:
    """The network that `auto`, one of `transformers`' auto classes, makes of a base.

    With `qlora` its linear maps are held in 4 bits (nf4, double quantisation: Dettmers et al. 2023,
    https://arxiv.org/abs/2305.14314), which is quick on a GPU and slow on a CPU.

    Args:
        dtype: of the weights in full precision; fp32 unless given.
        spare: the weights, by name, that may be missing since they are of no use here.

    Raises:
        BadConfig: some of the network's weights are missing.
    """
    import torch

    target = device_of(device)
    read = partial(auto.from_pretrained, base.path, use_safetensors=True, output_loading_info=True)
    if method == "lora":
        model, info = read(dtype=dtype or torch.float32)
        _complete(base, info["missing_keys"], spare)
        return model.to(target).eval().requires_grad_(False)

    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32 if target == "cpu" else torch.bfloat16,
    )
    model, info = read(quantization_config=four_bits, device_map=target)
    _complete(base, info["missing_keys"], spare)
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def _complete(base: BaseRef, missing: Iterable[str], spare: Callable[[str], bool]) -> None:
    """`transformers` draws missing weights at random."""
    needed = sorted(name for name in missing if not spare(name))
    if needed:
        raise BadConfig(
            f"base: the weights of {base.name!r} lack {needed[0]} and {len(needed) - 1} more; "
            "expected those of the network in its config.json"
        )
