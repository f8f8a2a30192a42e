"""Embeddings of a training's texts, in parts that a killed training need not compute again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from driftgate.bases import BaseRef
from driftgate.classifier.serving import Classifier
from driftgate.codec import digest
from driftgate.files import write_atomically

PART = 256
"""Texts: less than a second of all-MiniLM-L6-v2 on one core."""


def embedded(
    texts: Sequence[str],
    base: BaseRef,
    folder: Path | None,
    threads: int,
    device: str,
    progress: Callable[[float], None],
) -> np.ndarray:
    """The frozen base's embeddings as they are served, float32 [texts, dim].

    Each part lies in `folder` under the hash of all that it follows from. `progress` is told the
    share done, 0 to 1.
    """
    classifier = Classifier(base, device, threads)
    parts = []
    for begin in range(0, len(texts), PART):
        progress(begin / len(texts))
        part = list(texts[begin : begin + PART])
        file = folder and folder / f"{digest([base.digest, threads, part])}.safetensors"
        found = kept(file) if file else None
        parts.append(classifier.embed(part) if found is None else found)
        if file and found is None:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, save({"embeddings": parts[-1]}))
    return np.concatenate(parts)


def kept(file: Path) -> np.ndarray | None:
    """What a part holds; None where it is missing or cannot be read."""
    try:
        found: np.ndarray = load_file(file)["embeddings"]
    except (FileNotFoundError, SafetensorError):
        return None
    return found
