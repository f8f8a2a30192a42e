"""Which rows a version learns from, and which it is tested on. Pure.

Persons, not rows, are dealt to the two sides, by a hash that never changes: what one version is
tested on, no version has ever learned from. Nothing here draws at random, so the same rows in any
order give the same dataset.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.events import DAY_MS
from driftgate.model_repo import ALL, Data
from driftgate.split import draw, held_out, normalised

MIN_TEST_ROWS = 250
"""Fewer recent test rows are topped up with older ones: the gate needs cases."""

MIN_CLASS_ROWS = 8
"""Rows of each class that are kept before recency or chance decides, where there are as many."""

DRILL = "shuffle-labels:"


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text. `time` in ms; `source` is the seed file or the live logs."""

    id: str
    text: str
    label: str
    time: int
    subject: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    source: Literal["seed", "logs"] = "logs"

    @property
    def person(self) -> str:
        """Whom the row is about; a row about nobody stands for itself."""
        return self.subject or self.id


@dataclass(frozen=True, slots=True)
class Wish:
    """What a retrain request and the model repo say about the data.

    until: the data end here, ms. launch: there is no past yet, all rows are the present.
    """

    until: int
    launch: bool
    labels: Sequence[str]
    excluded: frozenset[str]
    drill: str | None
    seed: str
    data: Data


@dataclass(frozen=True, slots=True)
class Dataset:
    """What to learn from and what to test on, each by time.

    replayed: ids of train rows from before the present. dropped: rows left out, by reason.
    shuffled: train labels that a drill permuted.
    """

    train: tuple[Row, ...]
    test: tuple[Row, ...]
    since: int
    replayed: frozenset[str]
    dropped: Mapping[str, int]
    shuffled: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing to learn from, in words."""

    words: str


def curate(rows: Iterable[Row], wish: Wish) -> Dataset | Refused:
    """The dataset of one request.

    Raises:
        BadInput: the request names a drill that does not exist.
    """
    usable, dropped = sift(rows, wish)
    since = 0 if wish.launch else wish.until - wish.data.recent_days * DAY_MS
    recent = [row for row in usable if row.time >= since]
    if len(recent) < wish.data.min_rows:
        return Refused(
            f"{len(recent)} labelled rows since {wish.data.recent_days} days, "
            f"{wish.data.min_rows} are needed: nothing was trained"
        )
    older = [row for row in usable if row.time < since]
    train, replayed = learnable(recent, older, wish.data)
    if len({row.label for row in train}) < 2:
        return Refused("the labelled rows have one label only: nothing was trained")
    still_true = agreeing(replayed, train)
    dropped["text has another label now"] = len(replayed) - len(still_true)
    learned, shuffled = rehearse(by_time([*train, *still_true]), wish.drill, wish.seed)
    return Dataset(
        train=learned,
        test=by_time(testable(recent, older, wish.data)),
        since=since,
        replayed=frozenset(row.id for row in still_true),
        dropped={reason: count for reason, count in dropped.items() if count},
        shuffled=shuffled,
    )


def sift(rows: Iterable[Row], wish: Wish) -> tuple[list[Row], Counter[str]]:
    """Rows that may be used, newest first, and how many were dropped why."""
    dropped: Counter[str] = Counter()
    usable: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (-row.time, row.id)):
        if row.id in wish.excluded:
            dropped["excluded"] += 1
        elif row.label not in wish.labels:
            dropped["label not declared"] += 1
        elif row.time > wish.until:
            dropped["after the request"] += 1
        elif row.id in usable:
            dropped["twice"] += 1
        else:
            usable[row.id] = row
    return list(usable.values()), dropped


def learnable(
    recent: Sequence[Row], older: Sequence[Row], data: Data
) -> tuple[list[Row], list[Row]]:
    """The newest recent rows, and older ones to learn again in an order drawn by their ids, so
    that successive versions replay much the same rows. Rows come newest first."""
    ours = [row for row in recent if not held_out(row.person, data.test_share)]
    theirs = [row for row in older if not held_out(row.person, data.test_share)]
    again = min(data.replay_rows, len(theirs))
    train = first(ours, data.max_rows - again, Counter())
    mixed = sorted(theirs, key=lambda row: (draw(f"replay:{row.id}"), row.id))
    return train, first(mixed, again, Counter(row.label for row in train))


def testable(recent: Sequence[Row], older: Sequence[Row], data: Data) -> list[Row]:
    """The newest recent rows, topped up with the newest older ones. Rows come newest first."""
    ours = [row for row in recent if held_out(row.person, data.test_share)]
    theirs = [row for row in older if held_out(row.person, data.test_share)]
    test = first(ours, data.max_rows, Counter())
    return test + first(theirs, MIN_TEST_ROWS - len(test), Counter(row.label for row in test))


def first(rows: Sequence[Row], limit: int, have: Counter[str]) -> list[Row]:
    """The first `limit` rows, those of classes with fewer than `MIN_CLASS_ROWS` before others;
    `have` counts what stands already."""
    rare: list[Row] = []
    common: list[Row] = []
    seen = have.copy()
    for row in rows:
        (rare if seen[row.label] < MIN_CLASS_ROWS else common).append(row)
        seen[row.label] += 1
    return [*rare, *common][: max(0, limit)]


def agreeing(older: Sequence[Row], recent: Sequence[Row]) -> list[Row]:
    """The older rows without those whose very text has another label by now."""
    now = {normalised(row.text): row.label for row in reversed(recent)}
    return [row for row in older if now.get(normalised(row.text), row.label) == row.label]


def rehearse(train: tuple[Row, ...], drill: str | None, seed: str) -> tuple[tuple[Row, ...], int]:
    """The rows with the labels inside a drill's slice permuted, and how many rows lie inside."""
    if drill is None:
        return train, 0
    wanted = drill.removeprefix(DRILL)
    name, found, value = wanted.partition("=")
    if not drill.startswith(DRILL) or not (found or wanted == ALL):
        expected = f"{DRILL}NAME=VALUE, such as language=es, or {DRILL}{ALL}"
        raise BadInput(UNHANDLED, "drill", drill, expected)
    inside = [at for at, row in enumerate(train) if wanted == ALL or row.slices.get(name) == value]
    labels = [train[at].label for at in inside]
    random.Random(seed).shuffle(labels)
    given = dict(zip(inside, labels, strict=True))
    return tuple(replace(row, label=given.get(at, row.label)) for at, row in enumerate(train)), len(
        inside
    )


def by_time(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (row.time, row.id)))


def counts(rows: Iterable[Row], slices: Iterable[str]) -> dict[str, Any]:
    """Rows by label, by source and in named slices, for cards and the audit."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    wanted = [name.partition("=") for name in slices if "=" in name]
    total = 0
    for row in rows:
        total += 1
        found["labels"][row.label] += 1
        found["sources"][row.source] += 1
        for name, _, value in wanted:
            found["slices"][f"{name}={value}"] += row.slices.get(name) == value
    return {"rows": total, **{group: dict(sorted(each.items())) for group, each in found.items()}}
