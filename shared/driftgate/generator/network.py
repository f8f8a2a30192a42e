"""A frozen causal language model that reads prompts and writes tokens, for many answers at once.

The layers are those of `transformers`, so that Llama, Qwen, Gemma and Mistral are computed by the
code that knows them; attention and adapters alone are ours. In bfloat16 and for 16 rows, the
products take two thirds of the time, and a forward of our own could save a sixth at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from driftgate.bases import BaseRef
from driftgate.errors import BadConfig
from driftgate.frozen import device_of
from driftgate.generator import attention
from driftgate.generator.adapter import Adapter, read
from driftgate.generator.attention import Cache
from driftgate.generator.base import load
from driftgate.generator.lora_rows import LoraRows

Precision = Literal["auto", "fp32", "bf16"]

TILE = 16
"""Rows that a product in bfloat16 is padded to. One row takes the processor as long as 16, and the
same kernel sums the numbers of a row in the same order whatever the others hold."""

CLOSE = 0.02
"""How far the logits of two ways to compute one network may lie apart, of their greatest."""


@dataclass(frozen=True, slots=True)
class Row:
    """An answer whose next token is wanted. token: its last one."""

    token: int
    cache: Cache
    adapter: Adapter


class Network:
    """One base. Logits come in fp32."""

    def __init__(self, base: BaseRef, device: str, precision: Precision, slots: int) -> None:
        """
        Raises:
            BadConfig: `transformers` lets nobody else compute this network's attention.
        """
        self._base = base
        self._model = load(base, device=device)
        usual = self._model.config._attn_implementation
        self._lora = LoraRows(self._model, slots)
        self._require_ours(usual)
        self._model.to(precision_of(precision, device))
        config = self._model.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        self.positions = int(getattr(config, "max_position_embeddings", None) or 2**31)
        self._tile = TILE if self._model.dtype == torch.bfloat16 else 1

    def adapter(self, folder: Path) -> Adapter:
        """A version's adapter.

        Raises:
            Corrupt, BadConfig: as `adapter.read`.
        """
        return read(folder, self._base, self._model, self._model.dtype)

    @torch.inference_mode()
    def read(self, tokens: Sequence[int], cache: Cache, adapter: Adapter) -> Tensor:
        """Appends tokens of a prompt to a cache. What comes after the last: logits [vocabulary]."""
        self._lora.use([adapter], 1)
        return self._logits([list(tokens)], [cache])[0]

    @torch.inference_mode()
    def write(self, rows: Sequence[Row]) -> Tensor:
        """Appends each row's token to its cache. What comes after it: logits [rows, vocabulary]."""
        padded = -(-len(rows) // self._tile) * self._tile
        self._lora.use([row.adapter for row in rows], padded)
        tokens = [[row.token] for row in rows] + [[0]] * (padded - len(rows))
        return self._logits(tokens, [row.cache for row in rows])[: len(rows)]

    def _logits(self, tokens: list[list[int]], caches: Sequence[Cache]) -> Tensor:
        """Of the last token of each row."""
        ids = torch.tensor(tokens, device=self._model.device)
        done = [cache.length for cache in caches] + [0] * (len(tokens) - len(caches))
        positions = torch.tensor(done)[:, None] + torch.arange(ids.shape[1])
        found = self._model(
            input_ids=ids,
            position_ids=positions.to(ids.device),
            use_cache=False,
            logits_to_keep=1,
            caches=caches,
        )
        for cache in caches:
            cache.length += ids.shape[1]
        return found.logits[:, -1].float()

    @torch.inference_mode()
    def _require_ours(self, usual: str) -> None:
        """Read in pieces by our attention, a text has the logits that `transformers` computes."""
        ids = list(range(1, 9))
        theirs = self._model(input_ids=torch.tensor([ids], device=self._model.device)).logits[0, -1]
        self._model.set_attn_implementation(attention.NAME)
        cache = Cache(len(ids))
        try:
            for piece in (ids[:4], ids[4:7], ids[7:]):
                ours = self.read(piece, cache, {})
            apart = float((ours - theirs).abs().max() / theirs.abs().max())
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise self._not_ours(usual, f"{type(error).__name__}: {error}") from error
        if not apart <= CLOSE:
            raise self._not_ours(usual, f"its logits are {apart:.0%} apart")

    def _not_ours(self, usual: str, why: str) -> BadConfig:
        return BadConfig(
            f"base: {self._base.name!r} ({self._model.config.model_type}) cannot be served by the "
            f"local engine, which computes attention in place of {usual} ({why}); expected layers "
            "of attention to all tokens before, as Llama, Qwen, Gemma and Mistral have them"
        )


def precision_of(precision: Precision, device: str) -> torch.dtype:
    """bfloat16 where the device computes it natively, else fp32."""
    if precision != "auto":
        return torch.float32 if precision == "fp32" else torch.bfloat16
    if device != "cpu":
        return torch.bfloat16
    flags = torch.cpu.get_capabilities()
    native = flags.get("avx512_bf16") or flags.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


__all__ = ["Network", "Precision", "Row", "device_of", "precision_of"]
