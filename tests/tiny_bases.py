"""Random two-layer networks of many architectures, in folders as people keep their bases."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from driftgate.bases import MINILM, resolve

DIM = 64
WORDS = 30522
SHAPES: dict[str, dict[str, Any]] = {
    "bert": {
        "hidden_size": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
    },
    "distilbert": {"dim": DIM, "n_layers": 2, "n_heads": 2, "hidden_dim": 128},
    "gpt2": {"n_embd": DIM, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},
    "t5": {"d_model": DIM, "d_kv": 32, "d_ff": 128, "num_layers": 2, "num_heads": 2},
}


def tiny(folder: Path, kind: str, **changed: Any) -> Path:
    """A network of an architecture, with the embedded base's tokenizer."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(kind, vocab_size=WORDS, **SHAPES[kind], **changed)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(resolve(MINILM).path / name, folder)
    return folder


def as_published(folder: Path) -> Path:
    """Renames a BERT's tensors as the hub's `bert-base-uncased` has them: under `bert.`, norms
    with gamma and beta, no pooler here, and the heads of its pre-training beside them."""
    file = folder / "model.safetensors"
    tensors = {
        "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in load_file(file).items()
        if not name.startswith("pooler.")
    }
    heads = {
        "cls.predictions.bias": torch.zeros(WORDS),
        "cls.predictions.transform.LayerNorm.gamma": torch.ones(DIM),
        "cls.predictions.transform.LayerNorm.beta": torch.zeros(DIM),
        "cls.seq_relationship.weight": torch.zeros(2, DIM),
    }
    save_file(tensors | heads, file, metadata={"format": "pt"})
    return folder
