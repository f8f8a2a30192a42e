"""The peer of the loop that costs least: logistic regression on the frozen base's embeddings,
fitted anew every week on the launch data and all that was said until then, in force at once. Pure.

It holds nothing out and passes no gate and no rollout. What it might be, all rows or those of the
recent days and the strength of the penalty, is chosen with the result in view.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from driftgate.events import DAY_MS
from driftgate.latest_word import latest
from services.simulator.world import WEEK_MS, World

WINDOWS: tuple[int | None, ...] = (None, 56)
"""Days that are learned from; None: all."""

STRENGTHS = (3.0, 10.0, 30.0)
"""scikit-learn's C. Its default, 1, is too strong for embeddings of length 1."""


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said of an answer, see `driftgate.latest_word.Word`; feedback_time in ms."""

    request_id: str
    outcome_id: str
    kind: str
    label: str | None
    rating: float | None
    edited: str | None
    reviewer: str | None
    picked: str | None
    retracts: str | None
    feedback_time: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a played world: its place among the embedded texts, when it was asked, ms, and
    its true label."""

    place: int
    time: int
    label: str


@dataclass(frozen=True, slots=True)
class WeeklyHead:
    """One choice, and its accuracy in each week, 0..1."""

    window: int | None
    strength: float
    weeks: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.weeks))

    @property
    def words(self) -> str:
        rows = "all rows" if self.window is None else f"rows of {self.window} days"
        return f"{rows}, C = {self.strength:g}"


def strongest(
    world: World, asked: Mapping[str, Asked], said: Iterable[Said], embeddings: np.ndarray
) -> WeeklyHead:
    """The choice that was right most often, over all weeks alike.

    Args:
        asked: the requests that were answered, by id.
        embeddings: float32 [texts, dim]: of the launch rows in their order, and of the requests.
    """
    said = list(said)
    found = [
        WeeklyHead(window, strength, weeks(world, asked, said, embeddings, window, strength))
        for window in WINDOWS
        for strength in STRENGTHS
    ]
    return max(found, key=lambda head: head.mean)


def weeks(
    world: World,
    asked: Mapping[str, Asked],
    said: Sequence[Said],
    embeddings: np.ndarray,
    window: int | None,
    strength: float,
) -> tuple[float, ...]:
    """Accuracy in each week of a head that was fitted on its first morning."""
    found = []
    for week in range(world.weeks):
        begin, end = world.start + week * WEEK_MS, world.start + (week + 1) * WEEK_MS
        places, labels = learned(world, asked, said, begin, window)
        head = LogisticRegression(C=strength, max_iter=1000).fit(embeddings[places], labels)
        tested = [one for one in asked.values() if begin <= one.time < end]
        answers = head.predict(embeddings[[one.place for one in tested]])
        found.append(float(np.mean(answers == np.array([one.label for one in tested]))))
    return tuple(found)


def learned(
    world: World, asked: Mapping[str, Asked], said: Iterable[Said], now: int, window: int | None
) -> tuple[list[int], list[str]]:
    """Places and labels of what can be learned from at a time, ms."""
    since = -np.inf if window is None else now - window * DAY_MS
    by_request: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        if one.feedback_time < now and one.request_id in asked:
            by_request[one.request_id].append(one)
    rows = [(place, row.label) for place, row in enumerate(world.launch)]
    # A window that is shorter than the launch is old leaves the launch where nothing else is.
    kept = [pair for pair, row in zip(rows, world.launch, strict=True) if (row.time or 0) >= since]
    for name, words in by_request.items():
        word = latest(words)
        if word is not None and word.label is not None and asked[name].time >= since:
            kept.append((asked[name].place, word.label))
    if len({label for _, label in kept}) < 2:
        kept = rows
    return [place for place, _ in kept], [label for _, label in kept]
