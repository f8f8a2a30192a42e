"""The encoder under training: a frozen base with a LoRA adapter on its top layers.

What lies below the first adapted layer never changes, so that `TopLayers` computes it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from driftgate.bases import BaseRef
from driftgate.classifier import bert
from driftgate.classifier.base import load, tokenizer
from driftgate.classifier.plain import masked_mean, mean_pooled
from driftgate.classifier.serving import chunks
from services.trainer.lora import with_adapter
from services.trainer.merged import merge_products, product_dtype
from services.trainer.method import Example, Method

CACHE_BYTES = 1 << 30
"""Kept activations may take this much memory; beyond it they are computed anew in each step."""


class Encoder(Protocol):
    """Embeds the examples, which it is given once. `model` is the PEFT model."""

    model: Any
    lengths: list[int]

    def bare(self) -> Tensor:
        """Embeddings of all texts without an adapter, [texts, dim]."""

    def pooled(self, rows: Sequence[int]) -> Tensor:
        """Embeddings of some texts with the adapter, with gradients, [rows, dim]."""


def encoder_of(examples: Sequence[Example], method: Method, base: BaseRef, device: str) -> Encoder:
    """The quickest encoder that fits the base."""
    ids = tokenizer(base)([example.text for example in examples])
    model = load(base, method.kind, device)
    if method.kind == "lora" and bert.fits(model.config.to_dict()):
        return TopLayers(model, ids, method)
    return WholeNetwork(model, ids, method)


class TopLayers:
    """A BERT-shaped base: layers below the adapter run once, by `bert`; those above by `peft`."""

    def __init__(self, model: Any, ids: list[list[int]], method: Method) -> None:
        dtype = product_dtype(model.device.type)
        self._base = bert.Bert.of(_typed(model.state_dict(), dtype), model.config.to_dict())
        self._ids = ids
        self.lengths = [len(text) for text in ids]
        self._first = max(0, len(self._base.layers) - method.layers)
        fits = 4 * model.config.hidden_size * sum(self.lengths) <= CACHE_BYTES
        self._kept = self._below(range(len(ids))) if fits else None
        self.model = with_adapter(model, "FEATURE_EXTRACTION", method)
        merge_products(self.model, dtype)
        self._layers = self.model.base_model.model.encoder.layer[self._first :]

    @torch.no_grad()
    def _below(self, rows: Sequence[int]) -> list[Tensor]:
        """Each text's hidden states [length, dim] below the first adapted layer."""
        found: dict[int, Tensor] = {}
        for places in chunks([self.lengths[row] for row in rows]):
            picked = [rows[place] for place in places]
            lengths = [self.lengths[row] for row in picked]
            x = self._base.embed([self._ids[row] for row in picked])
            layout = bert.groups(lengths)
            for layer in self._base.layers[: self._first]:
                x = layer(x, layout)
            found.update(zip(picked, x.split(lengths), strict=True))
        return [found[row] for row in rows]

    def _states(self, rows: Sequence[int]) -> list[Tensor]:
        return self._below(rows) if self._kept is None else [self._kept[row] for row in rows]

    @torch.no_grad()
    def bare(self) -> Tensor:
        """See `Encoder`."""
        found: dict[int, Tensor] = {}
        for rows in chunks(self.lengths):
            layout = bert.groups([self.lengths[row] for row in rows])
            x = torch.cat(self._states(rows))
            for layer in self._base.layers[self._first :]:
                x = layer(x, layout)
            found.update(zip(rows, bert.pool(x, layout), strict=True))
        return torch.stack([found[row] for row in range(len(self._ids))])

    def pooled(self, rows: Sequence[int]) -> Tensor:
        """See `Encoder`."""
        states = self._states(rows)
        x = pad_sequence(states, batch_first=True)
        lengths = torch.tensor([len(state) for state in states], device=x.device)
        mask = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        hidden = None if mask.all() else _additive(mask, x.dtype)
        for layer in self._layers:
            x = layer(x, hidden)
        return masked_mean(x, mask)


class WholeNetwork:
    """Any other base, or one in 4 bits: the whole network in each step."""

    def __init__(self, model: Any, ids: list[list[int]], method: Method) -> None:
        self._ids = ids
        self.lengths = [len(text) for text in ids]
        self.model = with_adapter(model, "FEATURE_EXTRACTION", method)

    @torch.no_grad()
    def bare(self) -> Tensor:
        """See `Encoder`."""
        found: dict[int, Tensor] = {}
        with self.model.disable_adapter():
            for rows in chunks(self.lengths):
                found.update(zip(rows, self.pooled(rows), strict=True))
        return torch.stack([found[row] for row in range(len(self._ids))])

    def pooled(self, rows: Sequence[int]) -> Tensor:
        """See `Encoder`."""
        return mean_pooled(self.model, [self._ids[row] for row in rows])


def _typed(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """A network's state with its linear maps in `dtype`; embeddings and norms stay in fp32."""
    maps = tuple(path + end for path in bert.MAPS for end in (".weight", ".bias"))
    return {
        name: value.to(dtype) if name.endswith(maps) else value for name, value in state.items()
    }


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[texts, length] → what is added to the attention scores, [texts, 1, 1, length]."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)[
        :, None, None, :
    ]
