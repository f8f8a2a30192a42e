"""Random two-layer causal language models with the tokenizers and chat templates of their families,
in folders as people keep their bases. The same seed writes the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

DIM = 64
WORDS = 512

CHATML = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
{%- set date_string = strftime_now('%d %b %Y') %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
{%- set system_message = messages[0]['content'] | trim %}
{%- set messages = messages[1:] %}
{%- else %}
{%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string + '\\n\\n' }}
{{- system_message + '<|eot_id|>' }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

QWEN3 = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' and loop.last %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{{- message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}\
{% endif %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}\
{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

MISTRAL = """\
{{ bos_token }}{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}\
{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}\
{% endfor %}"""

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"template": CHATML, "bos": "<|im_start|>", "eos": "<|im_end|>"},
    "llama3": {
        "template": LLAMA3,
        "bos": "<|begin_of_text|>",
        "eos": "<|eot_id|>",
        "special": ["<|start_header_id|>", "<|end_header_id|>"],
        "config": "llama",
    },
    "qwen2": {"template": CHATML, "bos": None, "eos": "<|im_end|>", "special": ["<|im_start|>"]},
    "qwen3": {
        "template": QWEN3,
        "bos": None,
        "eos": "<|im_end|>",
        "special": ["<|im_start|>"],
        "words": ["<think>", "</think>"],
    },
    "gemma": {
        "template": GEMMA,
        "bos": "<bos>",
        "eos": "<eos>",
        "special": ["<start_of_turn>", "<end_of_turn>"],
        "pieces": True,
    },
    "gemma3_text": {
        "template": GEMMA,
        "bos": "<bos>",
        "eos": "<eos>",
        "special": ["<start_of_turn>", "<end_of_turn>"],
        "pieces": True,
    },
    "mistral": {"template": MISTRAL, "bos": "<s>", "eos": "</s>", "pieces": True},
}
"""By name: chat template and special tokens, words that are tokens but not special, the
architecture where it is called otherwise, and whether the tokenizer is one of pieces with `▁`
(SentencePiece) or of bytes."""

LEARNED = (
    'The order {"team": "billing", "amount": 12.50} was paid twice, please send the money back. ',
    "user assistant system model, the message says that it is not here, and where is it now?\n\n",
)
"""What the tokenizers' merges are learned from."""


def tiny_llama(folder: Path, seed: int = 0, **changed: Any) -> Path:
    """A Llama with a tokenizer of bytes and a ChatML template."""
    return tiny_lm(folder, "llama", seed, **changed)


def tiny_lm(folder: Path, shape: str, seed: int = 0, **changed: Any) -> Path:
    """A network of one of `SHAPES`. `changed` goes to its configuration."""
    shaped = SHAPES[shape]
    tokenizer = _tokenizer(shaped)
    config = AutoConfig.for_model(
        shaped.get("config", shape),
        **{
            "vocab_size": WORDS,
            "hidden_size": DIM,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 2048,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.eos_token_id,
            **changed,
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(shaped: dict[str, Any]) -> PreTrainedTokenizerFast:
    pieces = shaped.get("pieces", False)
    splits, decoder, alphabet = _of_pieces() if pieces else _of_bytes()
    named = ["<unk>" if pieces else None, shaped["bos"], shaped["eos"], *shaped.get("special", [])]
    special = [token for token in named if token is not None]

    learner = Tokenizer(BPE())
    learner.pre_tokenizer = splits
    learning = trainers.BpeTrainer(
        vocab_size=len(alphabet) + 120, initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(LEARNED, learning)
    learned = json.loads(learner.to_str())["model"]
    tokens = [*special, *BYTES, *learned["vocab"]] if pieces else [*special, *learned["vocab"]]
    fast = Tokenizer(
        BPE(
            {token: number for number, token in enumerate(tokens)},
            [tuple(merge) for merge in learned["merges"]],
            unk_token=named[0],
            byte_fallback=pieces,
            fuse_unk=True,
        )
    )
    fast.pre_tokenizer, fast.decoder = splits, decoder
    fast.add_special_tokens(special)
    fast.add_tokens(shaped.get("words", []))
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token=shaped["bos"],
        eos_token=shaped["eos"],
        pad_token=shaped["eos"],
        unk_token=named[0],
        chat_template=shaped["template"],
    )


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _of_bytes() -> tuple[Any, Any, list[str]]:
    """As Llama 3 and Qwen have them: lines apart from words, then bytes."""
    splits = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LINES_AND_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return splits, decoders.ByteLevel(), sorted(pre_tokenizers.ByteLevel.alphabet())


LINES_AND_WORDS = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _of_pieces() -> tuple[Any, Any, list[str]]:
    """As SentencePiece has them: spaces are `▁`, one before the first word, unknown characters are
    bytes."""
    splits = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split("\n", "isolated"),
        ]
    )
    decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return splits, decoder, []
