"""Which maps of a network get an adapter, known without its weights."""

from __future__ import annotations

from typing import Any

from driftgate.bases import BaseRef
from driftgate.errors import BadConfig


def linear_maps(network: Any, layers: int) -> list[str]:
    """The full names of all linear maps in the top layers; none where no stack is found."""
    from torch import nn

    count = getattr(network.config.get_text_config(), "num_hidden_layers", 0)
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


def outline(base: BaseRef, auto: Any, expected: str) -> Any:
    """The network that one of `transformers`' auto classes makes of a base, without memory for its
    weights.

    Raises:
        BadConfig: it cannot be built.
    """
    import torch
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(base.path)
        with torch.device("meta"):
            return auto.from_config(config)
    except Exception as error:  # each architecture raises its own
        raise BadConfig(
            f"base: transformers cannot build the network of {base.name!r} "
            f"({type(error).__name__}: {error}); {expected}"
        ) from error


def require_linear_maps(base: BaseRef, network: Any, expected: str) -> list[str]:
    """The linear maps of the top layer.

    Raises:
        BadConfig: there are none.
    """
    found = linear_maps(network, layers=1)
    if not found:
        raise BadConfig(
            f"base: the layers of {base.name!r} ({network.config.model_type}) hold no torch.nn."
            f"Linear, the only maps that adapters are trained for; {expected}"
        )
    return found
