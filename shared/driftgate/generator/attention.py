"""What the tokens before have left behind, and attention to it, one answer at a time.

A batch is one row of tokens: a piece of each answer after the other. Every answer keeps keys and
values of its own, at its own length. Nothing is moved when answers join and leave, and what an
answer attends to is computed in the same way whoever is beside it.
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

    def extended(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Appends to one layer: `new` holds keys and values, [2, 1, heads, tokens, dim]. All of its
        keys and values, views of [1, heads, length, dim]."""
        kept = self._layers.get(layer)
        count = new.shape[3]
        if kept is None:
            # The system gives no memory for what is never written.
            shape = (*new.shape[:3], self.capacity, new.shape[4])
            kept = self._layers[layer] = new.new_empty(shape)
        kept.narrow(3, self.length, count).copy_(new)
        keys, values = kept.narrow(3, 0, self.length + count).unbind()
        return keys, values


class Pieces:
    """Which tokens of a batch belong to whom: so many of each cache, one after the other. Tokens
    beyond are padding."""

    def __init__(self, caches: Sequence[Cache], counts: Sequence[int]) -> None:
        self.caches = caches
        self.counts = counts
        self._masks: dict[tuple[int, int, int | None], Tensor] = {}

    def mask(self, piece: int, groups: int, window: int | None, device: torch.device) -> Tensor:
        """Which tokens each of a piece sees, as often as heads share a key: [groups · tokens,
        length]. The same in all layers."""
        key = (piece, groups, window)
        if key not in self._masks:
            length = self.caches[piece].length + self.counts[piece]
            own = torch.arange(length - self.counts[piece], length, device=device)[:, None]
            other = torch.arange(length, device=device)
            seen = other <= own
            if window is not None:
                seen &= other > own - window
            self._masks[key] = seen.repeat(groups, 1)
        return self._masks[key]


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    pieces: Pieces | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each piece to its own cache, as `transformers` asks for it.

    Args:
        query: [1, heads, tokens, dim]; `key` and `value` the same, with as many heads or fewer.

    Returns:
        [1, tokens, heads, dim]; zeros where there is padding.
    """
    if pieces is None:
        raise TypeError(f"{type(module).__name__} does not say which tokens belong to whom")
    _, heads, tokens, dim = query.shape
    shared = key.shape[1]
    groups = heads // shared
    sizes = [*pieces.counts, tokens - sum(pieces.counts)]
    # Few calls for each piece: most hold one token, which takes less time than a call.
    *queries, padding = query.split(sizes, 2)
    news = torch.stack((key, value)).split(sizes, 3)
    found = []
    for piece, (cache, count) in enumerate(zip(pieces.caches, pieces.counts, strict=True)):
        keys, values = cache.extended(module.layer_idx, news[piece])
        mask = None
        if count > 1:
            mask = pieces.mask(piece, groups, sliding_window, query.device)
        elif sliding_window is not None:
            keys, values = keys[:, :, -sliding_window:], values[:, :, -sliding_window:]
        # The heads that share a key become one head with more tokens, so that no key is copied.
        grouped = queries[piece].reshape(1, shared, groups * count, dim)
        part = _attention(grouped, keys, values, mask, scaling, softcap)
        found.append(part.view(1, heads, count, dim))
    return torch.cat([*found, torch.zeros_like(padding)], 2).transpose(1, 2), None


def _attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    cap: float | None,
) -> Tensor:
    if cap is None:
        return functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, scale=scaling
        )
    # Scores are held below a cap (Gemma 2).
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = cap * torch.tanh(query.float() @ keys.float().transpose(2, 3) * scale / cap)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) @ values.float()).to(query.dtype)


AttentionInterface.register(NAME, attend)
