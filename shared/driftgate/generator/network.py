"""A frozen causal language model that reads prompts and writes tokens, for many answers at once.

The layers are those of `transformers`, so that Llama, Qwen, Gemma and Mistral are computed by the
code that knows them; attention, adapters and packed weights are ours. A forward of our own could
save little more: of 55 ms for 16 tokens of SmolLM2-135M without adapters (bfloat16, one core with
AMX), products take 26 and attention some 15; norms, rotations and activations take 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from driftgate.bases import BaseRef
from driftgate.errors import BadConfig
from driftgate.generator import attention
from driftgate.generator.adapter import Adapter, read
from driftgate.generator.attention import Cache, Pieces
from driftgate.generator.base import load
from driftgate.generator.lora_rows import LoraRows
from driftgate.generator.packed import pack

Precision = Literal["auto", "fp32", "bf16"]

TILE = 16
"""Tokens that a batch of answers in bfloat16 is padded to. The same kernel then sums the numbers of
each token in the same order, however many answers there are; and one token takes a processor with
AMX as long as 16."""

CLOSE = 0.02
"""How far the logits of two ways to compute one network may lie apart, of their greatest."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next tokens of one answer, which its cache does not hold yet."""

    tokens: Sequence[int]
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
        for weight in self._model.parameters():  # not buffers: positions need the bits of fp32
            weight.data = weight.data.to(precision_of(precision, device))
        if device == "cpu" and self._model.dtype == torch.bfloat16:
            pack(self._model)
        config = self._model.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        self.positions = int(getattr(config, "max_position_embeddings", None) or 2**31)

    def adapter(self, folder: Path) -> Adapter:
        """A version's adapter.

        Raises:
            Corrupt, BadConfig: as `adapter.read`.
        """
        return read(folder, self._base, self._model)

    def read(self, piece: Piece) -> Tensor:
        """Appends a piece of a prompt to its cache: logits [vocabulary] of what comes after it.

        It is read alone, since in bfloat16 the kernels for 30 and for 300 tokens round otherwise.
        """
        return self._logits([piece], padding=0)[0]

    def write(self, pieces: Sequence[Piece]) -> Tensor:
        """Appends one token of each answer: logits [pieces, vocabulary] of what comes after."""
        rounded = self._model.dtype == torch.bfloat16
        return self._logits(pieces, -len(pieces) % TILE if rounded else 0)

    @torch.inference_mode()
    def _logits(self, pieces: Sequence[Piece], padding: int) -> Tensor:
        counts = [len(piece.tokens) for piece in pieces]
        tokens = [token for piece in pieces for token in piece.tokens]
        positions = [
            at
            for piece, count in zip(pieces, counts, strict=True)
            for at in range(piece.cache.length, piece.cache.length + count)
        ]
        lasts = [end - 1 for end in accumulate(counts)]
        self._lora.use([piece.adapter for piece in pieces], counts, len(tokens) + padding)
        found = self._model(
            input_ids=self._row(tokens + [0] * padding)[None],
            position_ids=self._row(positions + [0] * padding)[None],
            use_cache=False,
            logits_to_keep=self._row(lasts + lasts[-1:] * padding),
            pieces=Pieces([piece.cache for piece in pieces], counts),
        )
        for piece, count in zip(pieces, counts, strict=True):
            piece.cache.length += count
        return found.logits[0, : len(pieces)].float()

    def _row(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=self._model.device)

    @torch.inference_mode()
    def _require_ours(self, usual: str) -> None:
        """Read in pieces by our attention, a text has the logits that `transformers` computes."""
        ids = list(range(1, 9))
        theirs = self._model(input_ids=self._row(ids)[None]).logits[0, -1]
        self._model.set_attn_implementation(attention.NAME)
        cache = Cache(len(ids))
        try:
            for piece in (ids[:4], ids[4:7], ids[7:]):
                ours = self.read(Piece(piece, cache, {}))
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
