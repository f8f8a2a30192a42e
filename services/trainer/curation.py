"""Which rows a version learns from, and which it is tested on. Pure.

Persons, not rows, are dealt to the two sides, by a hash that never changes: what one version is
tested on, no version has ever learned from. Nothing here draws at random, so the same rows in any
order give the same dataset.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.events import DAY_MS
from driftgate.model_repo import Data
from driftgate.slices import ALL, inside
from driftgate.split import draw, held_out, normalised
from driftgate.suites import SILENCE
from driftgate.tasks import Task

MIN_STRATUM_ROWS = 8
"""Rows of each stratum that are kept before recency or chance decides, where there are as many."""

DRILL = "shuffle-labels:"
"""What requests call the drill, whatever the task calls its targets."""


@dataclass(frozen=True, slots=True)
class Row:
    """A text and what should be answered to it.

    Attributes:
        time: of the request, ms.
        source: the seed file or the live logs.
        word: of a logged row, the kind of feedback that told the target; `silence` where nobody
            objected and that means right.
        propensity: chance with which the review sample drew the row.
        heard_right: whether the answer that was given then was right.
        rejected: an answer that the target is preferred to, such as one that was edited into it.
    """

    id: str
    text: str
    target: str
    time: int
    subject: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    source: Literal["seed", "logs"] = "logs"
    word: str | None = None
    propensity: float | None = None
    heard_right: bool | None = None
    rejected: str | None = None

    @property
    def person(self) -> str:
        """Whom the row is about; a row about nobody stands for itself."""
        return self.subject or self.id


@dataclass(frozen=True, slots=True)
class CurationRules:
    """What a retrain request and the model repo say about the data.

    until: the data end here, ms. launch: there is no past yet, all rows are the present.
    min_preferences: fewer pairs than this train nothing.
    """

    until: int
    launch: bool
    task: Task
    excluded: frozenset[str]
    drill: str | None
    seed: str
    data: Data
    min_preferences: int = 0


@dataclass(frozen=True, slots=True)
class Dataset:
    """What to learn from and what to test on, each by time.

    replayed: ids of train rows from before the present. dropped: rows left out, by reason.
    shuffled: train targets that a drill permuted.
    """

    train: tuple[Row, ...]
    test: tuple[Row, ...]
    since: int
    replayed: frozenset[str]
    dropped: Mapping[str, int]
    shuffled: int = 0

    @property
    def preferences(self) -> tuple[Row, ...]:
        """The train rows whose target is preferred to another answer."""
        return tuple(row for row in self.train if row.rejected not in (None, row.target))


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing to learn from, in words."""

    summary: str


def curate(rows: Iterable[Row], rules: CurationRules) -> Dataset | Refused:
    """The dataset of one request.

    Raises:
        BadInput: the request names a drill that does not exist.
    """
    usable, dropped = sift(rows, rules)
    since = 0 if rules.launch else rules.until - rules.data.recent_days * DAY_MS
    recent = [row for row in usable if row.time >= since]
    labelled = sum(row.word != SILENCE for row in recent)
    if labelled < rules.data.min_rows:
        return Refused(
            f"{labelled} labelled rows since {rules.data.recent_days} days, "
            f"{rules.data.min_rows} are needed: nothing was trained"
        )
    older = [row for row in usable if row.time < since]
    train, replayed = learnable(recent, older, rules)
    if lacking := rules.task.lacking(train):
        return Refused(f"{lacking}: nothing was trained")
    still_true = agreeing(replayed, train, rules.task)
    dropped[f"text has another {rules.task.field} now"] = len(replayed) - len(still_true)
    learned, shuffled = rehearse(by_time([*train, *still_true]), rules.drill, rules.seed)
    found = Dataset(
        train=learned,
        test=by_time(testable(recent, older, rules)),
        since=since,
        replayed=frozenset(row.id for row in still_true),
        dropped={reason: count for reason, count in dropped.items() if count},
        shuffled=shuffled,
    )
    if len(found.preferences) < rules.min_preferences:
        return Refused(
            f"{len(found.preferences)} preference pairs, at least {rules.min_preferences} are "
            "needed (method.dpo.min_pairs): nothing was trained"
        )
    return found


def sift(rows: Iterable[Row], rules: CurationRules) -> tuple[list[Row], Counter[str]]:
    """Rows that may be used, newest first, and how many were dropped why."""
    dropped: Counter[str] = Counter()
    usable: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (-row.time, row.id)):
        if row.id in rules.excluded:
            dropped["excluded"] += 1
        elif unusable := rules.task.unusable(row.target):
            dropped[unusable] += 1
        elif row.time > rules.until:
            dropped["after the request"] += 1
        elif row.id in usable:
            dropped["twice"] += 1
        else:
            usable[row.id] = row
    return list(usable.values()), dropped


def learnable(
    recent: Sequence[Row], older: Sequence[Row], rules: CurationRules
) -> tuple[list[Row], list[Row]]:
    """The newest recent rows, and older ones to learn again in an order drawn by their ids, so
    that successive versions replay much the same rows. Rows come newest first."""
    data, stratum = rules.data, rules.task.stratum
    ours = [row for row in recent if not held_out(row.person, data.test_share)]
    theirs = [row for row in older if not held_out(row.person, data.test_share)]
    again = min(data.replay_rows, len(theirs))
    train = first(ours, data.max_rows - again, stratum)
    mixed = sorted(theirs, key=lambda row: (draw(f"replay:{row.id}"), row.id))
    return train, first(mixed, again, stratum, train)


def testable(recent: Sequence[Row], older: Sequence[Row], rules: CurationRules) -> list[Row]:
    """The newest recent rows, topped up with the newest older ones. Rows come newest first."""
    data, stratum = rules.data, rules.task.stratum
    ours = [row for row in recent if held_out(row.person, data.test_share)]
    theirs = [row for row in older if held_out(row.person, data.test_share)]
    test = first(ours, data.max_rows, stratum)
    return test + first(theirs, data.test_rows - len(test), stratum, test)


def first(
    rows: Sequence[Row], limit: int, stratum: Callable[[Row], str], have: Iterable[Row] = ()
) -> list[Row]:
    """The first `limit` rows, those of strata with fewer than `MIN_STRATUM_ROWS` before others;
    `have` is what stands already."""
    rare: list[Row] = []
    common: list[Row] = []
    seen = Counter(map(stratum, have))
    for row in rows:
        of = stratum(row)
        (rare if seen[of] < MIN_STRATUM_ROWS else common).append(row)
        seen[of] += 1
    return [*rare, *common][: max(0, limit)]


def agreeing(older: Sequence[Row], recent: Sequence[Row], task: Task) -> list[Row]:
    """The older rows without those whose very text should be answered otherwise by now."""
    now = {normalised(row.text): row.target for row in reversed(recent)}
    return [
        row for row in older if task.right(row.target, now.get(normalised(row.text), row.target))
    ]


def rehearse(train: tuple[Row, ...], drill: str | None, seed: str) -> tuple[tuple[Row, ...], int]:
    """The rows with the targets inside a drill's slice permuted, and how many rows lie inside."""
    if drill is None:
        return train, 0
    wanted = drill.removeprefix(DRILL)
    if not drill.startswith(DRILL) or not ("=" in wanted or wanted == ALL):
        expected = f"{DRILL}NAME=VALUE, such as language=es, or {DRILL}{ALL}"
        raise BadInput(UNHANDLED, "drill", drill, expected)
    places = [at for at, row in enumerate(train) if inside(row.slices, wanted)]
    targets = [train[at].target for at in places]
    random.Random(seed).shuffle(targets)
    given = dict(zip(places, targets, strict=True))
    drilled = (replace(row, target=given.get(at, row.target)) for at, row in enumerate(train))
    return tuple(drilled), len(places)


def by_time(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (row.time, row.id)))


def counts(rows: Iterable[Row], slices: Iterable[str], task: Task) -> dict[str, Any]:
    """Rows by stratum, by source and in named slices, for cards and the audit."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    wanted = [name for name in slices if "=" in name]
    total = 0
    for row in rows:
        total += 1
        found[task.strata][task.stratum(row)] += 1
        found["sources"][row.source] += 1
        found["told_by"][row.word or row.source] += 1
        for name in wanted:
            found["slices"][name] += inside(row.slices, name)
    return {"rows": total, **{group: dict(sorted(each.items())) for group, each in found.items()}}
