"""An intent that nobody declared comes to 10 % of the traffic: CLINC150, each intent in turn.

A linear head on the frozen base learns the train split of the intents that are known, fifteen of
them left out at a time; their val split is the reference, and their test split the traffic, drawn
again and again. All 150 texts of a left out intent are what comes anew. Watched is signal
`new_cluster` alone, with its own tolerance and one false alarm per million answers. Then
`driftgate clusters` looks at what came since, here after 800 answers, beside 1,000 from before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
from driftgate.drift.new_groups import Group, new_groups
from driftgate.drift.plan import tolerated_mean
from driftgate.signals import SIMILARITY, Answer, AnySignal, NewCluster, Reference
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
BUDGET = 1e-6
LOOKED_AT, BESIDE = 800, 1_000

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Texts:
    """embeddings: [texts, dim]. intent, part: of each text, as a number. names: of the intents."""

    texts: Sequence[str]
    embeddings: NDArray[np.float32]
    intent: Ints
    part: Ints
    names: Sequence[str]

    def of(self, part: str, intents: Ints) -> Ints:
        """Places of the texts of a part that have one of these intents."""
        return np.flatnonzero((self.part == PARTS.index(part)) & np.isin(self.intent, intents))


@dataclass(frozen=True, slots=True)
class Model:
    """What a model that knows some intents makes of all texts, and the streams that watch it.

    Attributes:
        stream: of each text, the place of the stream that it gives a 1; after the last: none.
        bars: of the streams. stakes: what a number of each spends.
        traffic: places of the texts that come while nothing happens.
    """

    stream: Ints
    bars: Floats
    stakes: Floats
    traffic: Ints

    def counts(self, drawn: Ints) -> Floats:
        """[buckets, runs, streams], of the places of texts [runs, answers]."""
        runs, answers = drawn.shape
        found = np.zeros((answers // BUCKET, runs, len(self.bars) + 1))
        run, at = np.indices(drawn.shape)
        np.add.at(found, (at // BUCKET, run, self.stream[drawn]), 1)
        return found[:, :, :-1]


def figures(groups: int) -> Iterator[Figure]:
    what = "new intent at 10 % of traffic (CLINC150), new_cluster"
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
    yield Figure("false clusters", rate.words, "≤ 1 per 10⁶", rate.at_most <= 1)
    yield clusters(texts, left_out.ravel(), rng)


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
    parts = np.array([at for _, _, at in rows])
    return Texts([text for text, _, _ in rows], embeddings, intents, parts, names)


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
    names = [texts.names[intent] for intent in known]
    answers = [
        Answer(names[at], features={SIMILARITY: float(near)})
        for at, near in zip(label, similarity, strict=True)
    ]
    cases = texts.of("val", known)
    cluster = NewCluster(tuple(names))
    measured = cluster.fitted([(answers[at], 1.0) for at in cases])
    told = cluster.resolved(measured)
    stream = np.array([place(told, answer, measured) for answer in answers])
    shares = np.bincount(stream[cases], minlength=len(known) + 1)[:-1] / len(cases)
    bars = [tolerated_mean(share, len(cases), cluster.tolerance) for share in shares]
    stakes = np.full(len(known), BUDGET / len(known))
    return Model(stream, np.array(bars), stakes, texts.of("test", known))


def place(signal: AnySignal, answer: Answer, reference: Reference) -> int:
    """Of the stream that an answer gives a 1; after the last: none."""
    numbers = [x for _, x in signal.numbers(answer, reference)]
    return numbers.index(1.0) if 1.0 in numbers else len(numbers)


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


def clusters(texts: Texts, intents: Ints, rng: np.random.Generator) -> Figure:
    """What is told of each new intent, and of traffic in which nothing is new."""
    right, shown, found, named, others, control = 0, 0, 0, 0, 0, 0
    for intent in intents:
        known = np.setdiff1d(np.arange(len(texts.names)), intent)
        before = rng.choice(texts.of("val", known), BESIDE)
        usual = rng.choice(texts.of("test", known), LOOKED_AT)
        control += len(told_of(texts, before, usual))
        new = rng.permutation(np.flatnonzero(texts.intent == intent))
        is_new = np.flatnonzero(rng.random(LOOKED_AT) < NEW_SHARE)
        since = usual.copy()
        since[is_new] = new[: len(is_new)]
        told = told_of(texts, before, since)
        own = [
            one for one in told if (texts.intent[since[list(one.members)]] == intent).mean() > 0.5
        ]
        others += len(told) - len(own)
        if own:
            found += 1
            examples = since[list(own[0].examples)]
            shown += len(examples)
            right += int((texts.intent[examples] == intent).sum())
            named += bool(set(own[0].words) & set(texts.names[intent].split("_")))
    return Figure(
        f"`driftgate clusters` after {LOOKED_AT} answers with a new intent",
        f"finds {found} of {len(intents)}; {right} of {shown} examples are of it; {named} names "
        f"hold a word of the intent's own name; {others} groups of something else, {control} where "
        "nothing is new",
    )


def told_of(texts: Texts, before: Ints, since: Ints) -> list[Group]:
    embeddings = texts.embeddings
    own = [[texts.texts[at] for at in places] for places in (before, since)]
    return new_groups(embeddings[before], embeddings[since], *own)
