"""Any encoder that `transformers` knows, computed by `transformers` and `peft` themselves.

The slow, general way, for bases that `bert` does not compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from driftgate.bases import BaseRef
from driftgate.classifier.base import load, tokenizer


class Plain:
    """One base and the adapters loaded beside it, one of them active at a time."""

    def __init__(self, base: BaseRef, device: str) -> None:
        self.tokenize = tokenizer(base)
        self._model = load(base, device=device)
        self.dim = int(self._model.config.hidden_size)

    def load(self, name: str, folder: Path) -> None:
        """Add an adapter beside those there."""
        from peft import PeftModel

        if isinstance(self._model, PeftModel):
            self._model.load_adapter(folder, adapter_name=name)
        else:
            self._model = PeftModel.from_pretrained(self._model, folder, adapter_name=name)
        self._model.eval()

    def unload(self, name: str) -> None:
        """Forget an adapter."""
        self._model.delete_adapter(name)

    def pooled(
        self, ids: Sequence[Sequence[int]], wanted: dict[str | None, list[int]]
    ) -> dict[str | None, Tensor]:
        """Embeddings [texts, dim], by version (None: the bare base), of the rows it wants."""
        return {name: self._embed(name, [ids[r] for r in rows]) for name, rows in wanted.items()}

    def _embed(self, name: str | None, ids: Sequence[Sequence[int]]) -> Tensor:
        adapted = hasattr(self._model, "disable_adapter")
        if name is not None:
            self._model.set_adapter(name)
        with self._model.disable_adapter() if name is None and adapted else nullcontext():
            return mean_pooled(self._model, ids)


def mean_pooled(model: Any, ids: Sequence[Sequence[int]]) -> Tensor:
    """Embeddings of length 1 of texts given as token ids, [texts, dim]."""
    rows = [torch.tensor(text) for text in ids]
    padded = torch.nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=model.config.pad_token_id or 0
    )
    lengths = torch.tensor([len(text) for text in ids])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).to(model.device)
    states = model(input_ids=padded.to(model.device), attention_mask=mask.long())
    return masked_mean(states.last_hidden_state, mask)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that `mask` [texts, length] keeps, at length 1: → [texts, dim]."""
    kept = states.float() * mask.unsqueeze(-1)
    return functional.normalize(kept.sum(1) / mask.sum(1, keepdim=True))
