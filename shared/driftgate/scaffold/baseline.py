"""What nearest-centroid classification on the frozen base gets right: the bar that a trained
adapter has to clear, and how clear each case is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from driftgate.bases import MINILM, resolve
from driftgate.classifier.serving import Classifier
from driftgate.label_names import in_words
from driftgate.labelled.rows import Row

MOST_ROWS = 1500
MOST_CHARACTERS = 300_000
"""Of texts as far as the base reads them; it takes a minute for ten times as much."""

READ_CHARACTERS = 1100
CHUNK = 50


@dataclass(frozen=True, slots=True)
class Guess:
    """One row, what the centroids of other rows make of it, and by how much it is nearer to that
    label than to the next (cosine). named: the label whose name is nearest."""

    row: Row
    label: str
    margin: float
    named: str = ""

    @property
    def right(self) -> bool:
        return self.label == self.row.label


def guesses(
    rows: Sequence[Row], seed: int, progress: Callable[[float], None] = lambda _: None
) -> list[Guess]:
    """Two-fold cross-validation over a sample of rows; `progress` is told the share done, 0..1."""
    chosen = sample(rows, seed)
    names = sorted({row.label for row in chosen})
    vectors = embedded([*(row.text for row in chosen), *map(in_words, names)], progress)
    named = np.argmax(vectors[: len(chosen)] @ vectors[len(chosen) :].T, axis=1)
    found: list[Guess] = []
    for half in (0, 1):
        learned = range(1 - half, len(chosen), 2)
        labels = sorted({chosen[n].label for n in learned})
        centroids = np.stack(
            [np.mean(vectors[[n for n in learned if chosen[n].label == one]], 0) for one in labels]
        )
        centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-9)
        for n in range(half, len(chosen), 2):
            scores = centroids @ vectors[n]
            order = np.argsort(-scores)
            lead = float(scores[order[0]] - scores[order[1]]) if len(labels) > 1 else 0.0
            found.append(Guess(chosen[n], labels[order[0]], lead, names[named[n]]))
    return found


def sample(rows: Sequence[Row], seed: int) -> list[Row]:
    """Rows in a seeded order, as many as are read in some seconds."""
    shuffled = random.Random(seed).sample(list(rows), len(rows))
    left, chosen = MOST_CHARACTERS, []
    for row in shuffled[:MOST_ROWS]:
        left -= min(len(row.text), READ_CHARACTERS)
        if left < 0:
            break
        chosen.append(row)
    return chosen


def embedded(texts: Sequence[str], progress: Callable[[float], None]) -> np.ndarray:
    """Embeddings [texts, dim] of length 1."""
    classifier = Classifier(resolve(MINILM))
    parts = []
    for begin in range(0, len(texts), CHUNK):
        parts.append(classifier.embed(texts[begin : begin + CHUNK]))
        progress(min(1.0, (begin + CHUNK) / len(texts)))
    return np.concatenate(parts)
