"""Can adapters be trained on a base? Known from its configuration, before anything is trained."""

from __future__ import annotations

from typing import Any

from driftgate.bases import BaseRef
from driftgate.classifier.base import tokenizer
from driftgate.errors import BadConfig

EXPECTED = "expected an encoder such as BERT, RoBERTa or DistilBERT"


def adaptable(base: BaseRef) -> None:
    """Passes when LoRA fits a base. Reads configuration and tokenizer, no weights.

    Raises:
        BadConfig: it does not fit, and why.
    """
    tokenizer(base)
    network = _outline(base)
    if getattr(network.config, "is_encoder_decoder", False):
        raise BadConfig(f"base: {base.name!r} has a decoder beside its encoder; {EXPECTED}")
    if not linear_maps(network, layers=1):
        raise BadConfig(
            f"base: the layers of {base.name!r} ({network.config.model_type}) hold no torch.nn."
            f"Linear, the only maps that adapters are trained for; {EXPECTED}"
        )


def linear_maps(network: Any, layers: int) -> list[str]:
    """The full names of all linear maps in the top layers; none where no stack is found."""
    from torch import nn

    count = getattr(network.config, "num_hidden_layers", 0)
    stack = next(
        (
            name
            for name, module in network.named_modules()
            if isinstance(module, nn.ModuleList) and len(module) == count
        ),
        None,
    )
    tops = tuple(f"{stack}.{number}." for number in range(max(0, count - layers), count))
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(tops)
    ]


def _outline(base: BaseRef) -> Any:
    """The network without memory for its weights."""
    import torch
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(base.path)
        with torch.device("meta"):
            return AutoModel.from_config(config)
    except Exception as error:  # each architecture raises its own
        raise BadConfig(
            f"base: transformers cannot build the network of {base.name!r} "
            f"({type(error).__name__}: {error}); {EXPECTED}"
        ) from error
