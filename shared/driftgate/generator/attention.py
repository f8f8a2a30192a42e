"""What the tokens before have left behind, and attention to it, one answer at a time.

Every answer keeps keys and values of its own, at its own length. Nothing is padded or moved when
answers join and leave a batch, and what an answer attends to is computed in the same way whoever
writes beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

NAME = "driftgate"
"""Under which `transformers` calls `attend`."""


class Cache:
    """Keys and values of one answer.

    Attributes:
        length: tokens whose keys and values all layers hold.
        capacity: tokens that there is room for.
    """

    def __init__(self, capacity: int) -> None:
        self.length = 0
        self.capacity = capacity
        self._layers: dict[int, Tensor] = {}

    def extended(self, layer: int, new: Tensor) -> Tensor:
        """Appends keys and values [2, heads, tokens, dim] of one layer; all of them, as a view."""
        kept = self._layers.get(layer)
        if kept is None:
            pair, heads, _, dim = new.shape
            # Memory that is never written is never given by the system.
            kept = self._layers[layer] = new.new_empty(pair, heads, self.capacity, dim)
        end = self.length + new.shape[2]
        kept[:, :, self.length : end] = new
        return kept[:, :, :end]


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    caches: Sequence[Cache] = (),
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each row to its own cache, as `transformers` asks for it.

    Args:
        query: [rows, heads, tokens, dim]; `key` and `value` the same, with as many heads or fewer.
        caches: one a row. Rows beyond are padding, and get zeros.

    Returns:
        [rows, tokens, heads, dim].
    """
    new = torch.stack((key, value), 1)
    found = query.new_zeros(query.shape).transpose(1, 2).contiguous()
    for row, cache in enumerate(caches):
        keys, values = cache.extended(module.layer_idx, new[row])
        found[row] = _causal(query[row], keys, values, scaling, sliding_window, softcap)
    return found, None


def _causal(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """The last tokens [heads, tokens, dim] attend to all [key heads, length, dim] up to their own.
    Returns [tokens, heads, dim]."""
    heads, tokens, dim = query.shape
    shared, length, _ = keys.shape
    if tokens == 1:
        if window is not None:
            keys, values = keys[:, -window:], values[:, -window:]
        mask = None
    else:
        mask = _mask(tokens, length, window, query.device)
    # The heads that share a key become one head with more tokens, so that no key is copied.
    grouped = query.reshape(1, shared, heads // shared * tokens, dim)
    if mask is not None:
        mask = mask.repeat(heads // shared, 1)
    if softcap is None:
        found = functional.scaled_dot_product_attention(
            grouped, keys[None], values[None], attn_mask=mask, scale=scaling
        )
    else:
        found = _softcapped(grouped, keys, values, mask, scaling or dim**-0.5, softcap)
    return found.view(heads, tokens, dim).transpose(0, 1)


def _softcapped(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float, cap: float
) -> Tensor:
    """With scores held below a cap (Gemma 2)."""
    scores = cap * torch.tanh(query.float() @ keys.float().transpose(1, 2) * scaling / cap)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) @ values.float()).to(query.dtype)


def _mask(tokens: int, length: int, window: int | None, device: torch.device) -> Tensor:
    """Which of all tokens each of the last ones sees: [tokens, length]."""
    own = torch.arange(length - tokens, length, device=device)[:, None]
    other = torch.arange(length, device=device)
    seen = other <= own
    return seen if window is None else seen & (other > own - window)


AttentionInterface.register(NAME, attend)
