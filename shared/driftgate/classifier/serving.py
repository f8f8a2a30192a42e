"""Many versions on one base, each under the name of its digest.

A name is immutable: loading it again never changes its weights, and what it answers says which
name answered. Versions are resident side by side, so that a swap is the choice of another name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from driftgate.bases import BaseRef
from driftgate.classifier import bert
from driftgate.classifier.base import tokenizer
from driftgate.classifier.folder import AnyHead, read_adapter, read_head
from driftgate.engines import Prediction
from driftgate.errors import BadConfig, Corrupt
from driftgate.frozen import device_of

CHUNK_TOKENS = 512
"""Tokens computed at once: large enough for full speed, small enough to stay in the caches."""

DECIMALS = 4
"""What is answered: the last bits of a float depend on which texts shared a batch."""


class Network(Protocol):
    """A base that can hold adapters. dim: length of its embeddings."""

    dim: int
    tokenize: Callable[[Sequence[str]], list[list[int]]]

    def load(self, name: str, folder: Path) -> None: ...
    def unload(self, name: str) -> None: ...
    def pooled(
        self, ids: Sequence[Sequence[int]], wanted: dict[str | None, list[int]]
    ) -> dict[str | None, Tensor]: ...


class Lean:
    """A BERT-shaped base; versions are merged copies of the layers that they adapt."""

    def __init__(self, base: BaseRef, device: str) -> None:
        self.tokenize = tokenizer(base)
        self._bert = bert.read(base.path, device)
        self.dim = self._bert.words.shape[1]
        self._tops: dict[str | None, tuple[int, tuple[bert.Layer, ...]]] = {
            None: (len(self._bert.layers), ())
        }

    def load(self, name: str, folder: Path) -> None:
        """Merge an adapter into copies of the layers it touches."""
        self._tops = {**self._tops, name: self._bert.adapted(read_adapter(folder))}

    def unload(self, name: str) -> None:
        """Forget a version's copies."""
        self._tops = {other: top for other, top in self._tops.items() if other != name}

    def pooled(
        self, ids: Sequence[Sequence[int]], wanted: dict[str | None, list[int]]
    ) -> dict[str | None, Tensor]:
        """Embeddings [rows, dim] by version. Layers that no version adapts are computed once.

        `ids` are in ascending order of length, rows in ascending order.
        """
        tops = {name: self._tops[name] for name in wanted}
        shared = min(first for first, _ in tops.values())
        lengths = [len(text) for text in ids]
        layout = bert.groups(lengths)
        x = self._bert.embed(ids)
        for layer in self._bert.layers[:shared]:
            x = layer(x, layout)
        return {
            name: self._finish(x, lengths, wanted[name], shared, top) for name, top in tops.items()
        }

    def _finish(
        self,
        x: Tensor,
        lengths: list[int],
        rows: list[int],
        done: int,
        top: tuple[int, tuple[bert.Layer, ...]],
    ) -> Tensor:
        first, adapted = top
        if len(rows) < len(lengths):
            texts = x.split(lengths)
            x = torch.cat([texts[row] for row in rows])
        layout = bert.groups([lengths[row] for row in rows])
        for layer in self._bert.layers[done:first] + adapted:
            x = layer(x, layout)
        return bert.pool(x, layout)


def network(base: BaseRef, device: str) -> Network:
    """The quickest exact way to compute a base."""
    config = json.loads((base.path / "config.json").read_text("utf-8"))
    files = ("model.safetensors", "tokenizer.json")
    if bert.fits(config) and all((base.path / file).is_file() for file in files):
        return Lean(base, device)
    from driftgate.classifier.plain import Plain

    return Plain(base, device)


class Classifier:
    """One base and its resident versions. One thread uses it; any may ask who is resident."""

    def __init__(self, base: BaseRef, device: str = "auto", threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self._base = base
        self._device = device_of(device)
        self._network = network(base, self._device)
        self._heads: dict[str, AnyHead] = {}

    def load(self, name: str, folder: Path) -> None:
        """Make a version resident under its digest; a name already resident is left as it is.

        Raises:
            Corrupt: the folder's files are not those of a version.
            BadConfig: it was trained on another base, or is no plain LoRA.
        """
        if name in self._heads:
            return
        head = read_head(folder, self._base)
        if head.prototypes.shape[1:] != (self._network.dim,):
            raise Corrupt(f"version {folder}: its prototypes are not {self._network.dim} wide")
        if head.adapted:
            self._network.load(name, folder)
        self._heads = {**self._heads, name: head.on(self._device)}

    def unload(self, name: str) -> None:
        """Forget a version; one that is not resident is no error."""
        if name in self._heads:
            adapted = self._heads[name].adapted
            self._heads = {other: head for other, head in self._heads.items() if other != name}
            if adapted:
                self._network.unload(name)

    def resident(self) -> frozenset[str]:
        """The names that can answer now."""
        return frozenset(self._heads)

    def labels(self, name: str) -> tuple[str, ...]:
        """What a resident version can answer."""
        return self._head(name).labels

    def predict(self, name: str, texts: Sequence[str]) -> list[Prediction]:
        """One version's answers, in the order of the texts."""
        return self.predict_many({name: texts})[name]

    def predict_many(self, asked: Mapping[str, Sequence[str]]) -> dict[str, list[Prediction]]:
        """Each version's answers to its texts; what versions have in common is computed once.

        Raises:
            BadConfig: a version is not resident.
        """
        heads = {name: self._head(name) for name in asked}
        unique = list(dict.fromkeys(text for texts in asked.values() for text in texts))
        position = {text: at for at, text in enumerate(unique)}
        its = {name: {position[text] for text in texts} for name, texts in asked.items()}
        # Versions without an adapter have one embedding of a text in common: the bare base's.
        sharing: dict[str | None, list[str]] = {}
        for name, head in heads.items():
            sharing.setdefault(name if head.adapted else None, []).append(name)
        wanted = {one: set().union(*(its[name] for name in sharing[one])) for one in sharing}
        found: dict[str, dict[int, Prediction]] = {name: {} for name in asked}
        for one, places, pooled, tokens in self._chunks(unique, wanted):
            for name in sharing[one]:
                rows = [row for row, place in enumerate(places) if place in its[name]]
                answers = answer(heads[name], pooled[rows], [tokens[row] for row in rows])
                found[name].update(zip((places[row] for row in rows), answers, strict=True))
        return {
            name: [found[name][position[text]] for text in texts] for name, texts in asked.items()
        }

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """The bare base's embeddings, length 1, float32 [texts, dim], in the order of the texts."""
        rows: dict[int, Tensor] = {}
        for _, places, pooled, _ in self._chunks(texts, {None: set(range(len(texts)))}):
            rows.update(zip(places, pooled.cpu(), strict=True))
        if not rows:
            return np.zeros((0, self._network.dim), np.float32)
        return torch.stack([rows[place] for place in range(len(texts))]).numpy()

    def _head(self, name: str) -> AnyHead:
        if name not in self._heads:
            raise BadConfig(f"version {name} is not resident: load it before it answers")
        return self._heads[name]

    @torch.inference_mode()
    def _chunks(
        self, texts: Sequence[str], wanted: Mapping[str | None, set[int]]
    ) -> Iterator[tuple[str | None, list[int], Tensor, list[int]]]:
        """Version, places of texts, their embeddings [places, dim] and token counts, in chunks."""
        ids = self._network.tokenize(texts)
        for places in chunks([len(text) for text in ids]):
            rows = {
                name: [row for row, place in enumerate(places) if place in its]
                for name, its in wanted.items()
            }
            asked = {name: its for name, its in rows.items() if its}
            pooled = self._network.pooled([ids[place] for place in places], asked)
            for name, its in asked.items():
                where = [places[row] for row in its]
                yield name, where, pooled[name], [len(ids[place]) for place in where]


def chunks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts in ascending order of length, cut where a chunk would exceed its tokens."""
    chunk: list[int] = []
    tokens = 0
    for place in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if chunk and tokens + lengths[place] > CHUNK_TOKENS:
            yield chunk
            chunk, tokens = [], 0
        chunk.append(place)
        tokens += lengths[place]
    if chunk:
        yield chunk


def answer(head: AnyHead, pooled: Tensor, tokens: Sequence[int]) -> list[Prediction]:
    """What a head makes of embeddings [texts, dim]: the label with the highest logit, its softmax
    probability, and as feature `similarity` the highest cosine to a prototype, low for texts unlike
    any class."""
    cosines = head.cosines(pooled)
    logits = head.logits(pooled, cosines)
    similarity, best = cosines.amax(dim=1), logits.argmax(dim=1)
    confidence = torch.softmax(logits, dim=1).gather(1, best[:, None]).squeeze(1)
    columns = (best.tolist(), confidence.tolist(), similarity.tolist(), tokens)
    return [
        Prediction(
            output=head.labels[at],
            confidence=round(sure, DECIMALS),
            features={"similarity": round(near, DECIMALS)},
            tokens=count,
        )
        for at, sure, near, count in zip(*columns, strict=True)
    ]
