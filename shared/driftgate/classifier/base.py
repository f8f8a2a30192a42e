"""What an encoder needs to be a classifier's base: its tokenizer and its network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from driftgate.bases import BaseRef, configuration
from driftgate.errors import BadConfig
from driftgate.frozen import Kind, frozen

MAX_TOKENS = 256
"""Longer texts are cut: all-MiniLM-L6-v2 was trained on no more (its model card)."""


def tokenizer(base: BaseRef) -> Callable[[Sequence[str]], list[list[int]]]:
    """Texts to token ids, cut at `MAX_TOKENS` and at the base's positions: the same when trained,
    judged and served.

    Raises:
        BadConfig: the base's tokenizer is missing or cannot be read.
    """
    limit = min(MAX_TOKENS, configuration(base).get("max_position_embeddings") or MAX_TOKENS)
    try:
        if (base.path / "tokenizer.json").is_file():
            return _fast_tokenizer(base.path / "tokenizer.json", limit)
        return _slow_tokenizer(base.path, limit)
    except Exception as error:  # the libraries' errors have no class in common
        raise BadConfig(
            f"base: the tokenizer of {base.name!r} cannot be read ({error}); "
            "save it beside the weights with save_pretrained"
        ) from error


def _fast_tokenizer(file: Path, limit: int) -> Callable[[Sequence[str]], list[list[int]]]:
    from tokenizers import Tokenizer

    fast = Tokenizer.from_file(str(file))
    fast.enable_truncation(limit)
    fast.no_padding()
    # One by one, since a batch would take threads of its own.
    return lambda texts: [fast.encode(text).ids for text in texts]


def _slow_tokenizer(folder: Path, limit: int) -> Callable[[Sequence[str]], list[list[int]]]:
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(folder)
    if len(slow) <= len(slow.all_special_ids):  # what it makes of a folder without any tokenizer
        raise ValueError("there is no vocabulary")
    return lambda texts: slow(list(texts), truncation=True, max_length=limit).input_ids


def load(base: BaseRef, method: Kind = "lora", device: str = "auto") -> Any:
    """The frozen `transformers` encoder (`frozen`).

    Raises:
        BadConfig: some of the network's weights are missing, other than the pooler's.
    """
    from transformers import AutoModel

    return frozen(base, AutoModel, method, device, spare=lambda name: name.startswith("pooler."))
