"""An intent that nobody declared comes to 10 % of the traffic: CLINC150, each intent in turn.

A linear head on the frozen base learns the train split of the intents that are known, fifteen of
them left out at a time; their val split is the reference, and their test split the traffic, drawn
again and again. All 150 texts of a left out intent are what comes anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.drift.environments import HERE
from bench.drift.measures import FalseAlarms, delays
from bench.drift.ours import BUCKET, Watch
from bench.drift.streams import SEED, Floats
from bench.figure import Figure
from driftgate.bases import MINILM, resolve
from driftgate.drift.plan import tolerated_mean
from services.trainer import logistic
from services.trainer.embedded import embedded

FILE = HERE / "clinc150" / "data_full.json"
PARTS = ("train", "val", "test")
LEFT_OUT = 15
PENALTY = 1e-6
RUNS, BEFORE, HORIZON = 10, 500, 5_000
NEW_SHARE = 0.10
GOAL = 800
MODELS, EVENTS = 20, 10_000_000
# What is watched, each with half of one false alarm per million answers: the share of every label,
# and how often the similarity to the nearest label lies in the reference's lowest twentieth.
SHARE_TOLERANCE, TAIL, TAIL_TOLERANCE = 0.003, 0.05, 0.01
BUDGET = 0.5e-6

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Texts:
    """embeddings: [texts, dim]. intent, part: of each text, as a number."""

    embeddings: NDArray[np.float32]
    intent: Ints
    part: Ints

    def of(self, part: str, intents: Ints) -> Ints:
        """Places of the texts of a part that have one of these intents."""
        return np.flatnonzero((self.part == PARTS.index(part)) & np.isin(self.intent, intents))


@dataclass(frozen=True, slots=True)
class Model:
    """What a model that knows some intents makes of all texts, and the streams that watch it.

    Attributes:
        label: of each text, as a place among the labels. strange: whether it is unlike them all.
        bars: of each label's share, then of strangeness. stakes: what a number of each spends.
        traffic: places of the texts that come while nothing happens.
    """

    label: Ints
    strange: NDArray[np.bool_]
    bars: Floats
    stakes: Floats
    traffic: Ints

    def counts(self, drawn: Ints) -> Floats:
        """[buckets, runs, streams], of the places of texts [runs, answers]."""
        runs, answers = drawn.shape
        found = np.zeros((answers // BUCKET, runs, len(self.bars)))
        run, at = np.indices(drawn.shape)
        np.add.at(found, (at // BUCKET, run, self.label[drawn]), 1)
        np.add.at(found, (at // BUCKET, run, len(self.bars) - 1), self.strange[drawn])
        return found


def figures(groups: int) -> Iterator[Figure]:
    what = "new intent at 10 % of traffic (CLINC150), share and similarity"
    if not FILE.exists():
        yield Figure(what, f"not measured: expected CLINC150's data_full.json at {FILE}")
        return
    texts = read(FILE)
    rng = np.random.default_rng(SEED)
    left_out = rng.permutation(150).reshape(-1, LEFT_OUT)[:groups]
    everything = fitted(texts, np.arange(150), None)
    found: list[list[int]] = []
    false = 0
    for group in left_out:
        model = model_of(texts, np.setdiff1d(np.arange(150), group), everything)
        for intent in group:
            found += first_alarms(model, np.flatnonzero(texts.intent == intent), rng)
        false += false_alarms(model, EVENTS // len(left_out), rng)
    told = delays(found, BEFORE, HORIZON)
    yield Figure(f"{what}: answers", told.words, f"p95 ≤ {GOAL}", told.p95 <= GOAL)
    rate = FalseAlarms(false, EVENTS)
    yield Figure("false alarms of new intents", rate.words, "≤ 1 per 10⁶", rate.at_most <= 1)


def read(file: Path) -> Texts:
    data: dict[str, list[tuple[str, str]]] = json.loads(file.read_text())
    rows = [(text, intent, at) for at, part in enumerate(PARTS) for text, intent in data[part]]
    names = sorted({intent for _, intent, _ in rows})
    embeddings = embedded(
        [text for text, _, _ in rows],
        resolve(MINILM),
        HERE / "embeddings",
        1,
        "cpu",
        lambda _: None,
    )
    intents = np.array([names.index(intent) for _, intent, _ in rows])
    return Texts(embeddings, intents, np.array([at for _, _, at in rows]))


def fitted(texts: Texts, known: Ints, start: logistic.Fit | None) -> logistic.Fit:
    """A head for these intents, from that of all."""
    own = texts.of("train", known)
    rows = logistic.Rows(
        torch.from_numpy(texts.embeddings[own].astype(np.float64)),
        torch.from_numpy(np.searchsorted(known, texts.intent[own])),
        torch.ones(len(own), dtype=torch.float64),
        len(known),
    )
    begin = start and logistic.Fit(start.parameters[torch.from_numpy(known)], 0)
    return logistic.fit(rows, PENALTY, begin)


def model_of(texts: Texts, known: Ints, everything: logistic.Fit) -> Model:
    head = fitted(texts, known, everything)
    label = (texts.embeddings @ head.weights.numpy().T + head.bias.numpy()).argmax(axis=1)
    centres = np.stack(
        [
            texts.embeddings[texts.of("train", known[at : at + 1])].mean(axis=0)
            for at in range(len(known))
        ]
    )
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    similarity = (texts.embeddings @ centres.T).max(axis=1)
    reference = texts.of("val", known)
    strange = similarity < np.quantile(similarity[reference], TAIL)
    shares = np.bincount(label[reference], minlength=len(known)) / len(reference)
    bars = [tolerated_mean(share, len(reference), SHARE_TOLERANCE) for share in shares]
    bars.append(tolerated_mean(float(strange[reference].mean()), len(reference), TAIL_TOLERANCE))
    stakes = [BUDGET / len(known)] * len(known) + [BUDGET]
    return Model(label, strange, np.array(bars), np.array(stakes), texts.of("test", known))


def first_alarms(model: Model, new: Ints, rng: np.random.Generator) -> list[list[int]]:
    """Of runs in which new texts come after `BEFORE` answers: after how many any stream alarmed."""
    shape = RUNS, BEFORE + HORIZON
    is_new = (rng.random(shape) < NEW_SHARE) & (np.arange(shape[1]) >= BEFORE)
    drawn = np.where(is_new, rng.choice(new, shape), rng.choice(model.traffic, shape))
    found: list[list[int]] = [[] for _ in range(RUNS)]
    for bucket, rows in alarms(model, model.counts(drawn)):
        for run in set(rows):
            found[run].append((bucket + 1) * BUCKET)
        if all(run and run[-1] > BEFORE for run in found):
            break
    return found


def alarms(model: Model, counts: Floats | Iterator[Floats]) -> Iterator[tuple[int, list[int]]]:
    """Buckets that make streams alarm, and the runs of these."""
    watch, streams = None, len(model.bars)
    for at, total in enumerate(counts):
        runs = len(total)
        if watch is None:
            watch = Watch(np.tile(model.bars, runs), np.tile(model.stakes, runs))
        alarming = watch.alarms(np.full(runs * streams, float(BUCKET)), total.ravel())
        if alarming:
            yield at, [row // streams for row in alarming]


def false_alarms(model: Model, events: int, rng: np.random.Generator) -> int:
    """Of several models whose traffic stays as it is."""
    steps = events // (MODELS * BUCKET)

    def traffic() -> Iterator[Floats]:
        for _ in range(steps // 100):
            yield from model.counts(rng.choice(model.traffic, (MODELS, 100 * BUCKET)))

    return sum(len(rows) for _, rows in alarms(model, traffic()))
