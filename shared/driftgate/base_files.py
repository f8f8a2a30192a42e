"""The files of a base, and the hash that they are held to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

WEIGHTS = "*.safetensors"

IDENTITY = (
    WEIGHTS,
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
"""The files that decide what a base answers: weights, shape, the tokenizer in any format, and how
it is talked to."""


def digest_of(folder: Path) -> str:
    """The sha256 of what `sha256sum` prints of the `IDENTITY` files in the order of names."""
    files = sorted({file for pattern in IDENTITY for file in folder.glob(pattern)})
    lines = "".join(f"{sha256_of(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def weights_digest(files: Sequence[Path]) -> str:
    """The sha256 of one file of weights; of several, that of their hashes."""
    digests = [sha256_of(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """A file's hash, read again only when the file is another one or was written to."""
    found = file.stat()
    version = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return _sha256_of_version(file, version)


@lru_cache(maxsize=256)
def _sha256_of_version(file: Path, version: tuple[int, ...]) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
