"""Reads from the store what a stage has shown.

Times are those of the events, so rows that are stored late change no earlier decision. Only rows of
the stage are read: of `inferences`, which has no order by time, from the offset on at which the
stage begins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from string import Template
from typing import Any, NamedTuple

from driftgate.events import DAY_MS
from driftgate.latest_word import latest_sql
from driftgate.model_repo import Metric, ModelYaml
from driftgate.slices import ALL, inside
from driftgate.store import Store
from driftgate.tasks import Task, task_of
from services.promoter.canary_analysis import OUTCOMES, REVIEW, Comparison, Counted, Evidence
from services.promoter.e_values import Events, Units
from services.promoter.evidence_sql import (
    BEGINS,
    HEARD,
    KNOWN,
    NUMBERS,
    PAIRS,
    SENT,
    TOLD,
    USUAL,
    WORSE,
)

WINDOW_MS = DAY_MS
"""What a person makes of the answers of one day counts as one sample."""

BEFORE_MS = 14 * DAY_MS
"""So much of the champion's past says what is usual of a metric."""
LEAST_USUAL = 100

TICKS_BEHIND = 3


class Trial(NamedTuple):
    """Who is compared: the version that was there before and the one on trial, since when, ms."""

    model: str
    old: int
    new: int
    since: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of a stage begin, as a condition on `inferences`."""

    rows: str


OF_ANSWERS = ("latency_ms", "tokens", "cost", "refused", "broken")
"""Metrics that each answer carries. Apps send the others."""


@dataclass
class Reader:
    """Looks at trials, and remembers what does not change while one is on.

    Attributes:
        store: connects when it is first needed: commands are obeyed while the store is away.
    """

    store: Callable[[], Store]
    _places: dict[Trial, Place] = field(default_factory=dict)
    _usual: dict[tuple[Trial, str], float | None] = field(default_factory=dict)

    def look(self, trial: Trial, repo: ModelYaml, ticks: Sequence[int], until: int) -> Evidence:
        """All that is known of a trial up to `until`, ms. ticks: times of the last ones, ms, oldest
        first: what lies before the third last is stored, or the store is behind.

        Raises:
            StoreUnavailable, StoreRefused
        """
        store, task = self.store(), task_of(repo.task)
        asked = Asked(store, trial, repo, until, self.place(store, trial))
        known = asked.rows(KNOWN)[0]
        comparisons = list(asked.outcomes(task))
        if repo.review.share:
            where = "kind IN ('review', 'retraction')"
            comparisons += paired(asked.pairs(task, where), REVIEW, repo, until, task)
        for metric in repo.rollout.metrics:
            limit = self.usual(asked, metric)
            comparisons += asked.metric(metric, limit) if limit is not None else []
        lacking = behind(store, ticks)
        return Evidence(tuple(comparisons), known["both"], known["differ"], lacking)

    def place(self, store: Store, trial: Trial) -> Place:
        """Where the rows of a trial begin. It does not change while the trial is on, but for events
        from a clock that runs ahead."""
        if trial not in self._places:
            rows = store.query(BEGINS, model=trial.model, since=moment(trial.since))
            if not rows:
                return Place("true")
            parts = [
                f"(partition = {row['partition']} AND offset >= {row['first']})" for row in rows
            ]
            others = " AND ".join(f"partition != {row['partition']}" for row in rows)
            told = f"({' OR '.join([*parts, f'({others})'])})"
            self._forget(trial)
            self._places[trial] = Place(told)
        return self._places[trial]

    def usual(self, asked: Asked, metric: Metric) -> float | None:
        """What is worse than this is bad; None while nobody knows."""
        if metric.limit is not None:
            return metric.limit
        if metric.name in {"refused", "broken"}:
            return 0.5
        key = asked.trial, metric.name
        if key not in self._usual:
            self._usual[key] = asked.usual(metric)
        return self._usual[key]

    def _forget(self, trial: Trial) -> None:
        """Of a model, one trial is on."""
        self._places = {t: place for t, place in self._places.items() if t.model != trial.model}
        self._usual = {
            (t, name): value for (t, name), value in self._usual.items() if t.model != trial.model
        }


def behind(store: Store, ticks: Sequence[int]) -> str:
    """What the store lacks, in words; empty where it has all but the last two ticks."""
    if len(ticks) < TICKS_BEHIND:
        return ""
    wanted = ticks[-TICKS_BEHIND]
    (row,) = store.query("SELECT toUnixTimestamp64Milli(max(time)) AS newest FROM clock")
    if row["newest"] >= wanted:
        return ""
    return f"its newest tick is {(wanted - row['newest']) / 1000:,.0f} s older than it should be"


@dataclass(frozen=True, slots=True)
class Asked:
    """One look at the store."""

    store: Store
    trial: Trial
    repo: ModelYaml
    until: int
    place: Place

    def rows(self, sql: Template, **given: Any) -> list[dict[str, Any]]:
        """The rows of a query; what begins with `sql_` is put into its text."""
        texts = {key.removeprefix("sql_"): v for key, v in given.items() if key.startswith("sql_")}
        values = {key: value for key, value in given.items() if not key.startswith("sql_")}
        known = {
            "model": self.trial.model,
            "old": self.trial.old,
            "new": self.trial.new,
            "since": moment(self.trial.since),
            "until": moment(self.until),
            "now": self.until,
            "window": WINDOW_MS,
            "slices": list(protected(self.repo)),
            "settled": 0,
        }
        by_request = "true" if self.repo.rollout.sticky_by == "request_id" else "false"
        text = sql.substitute({"rows": self.place.rows, "by_request": by_request} | texts)
        return self.store.query(text, **known | values)

    def words(self, where: str) -> str:
        return latest_sql(
            "model = {model:String} AND inference_time >= {since:DateTime64(3, 'UTC')} "
            f"AND time <= {{until:DateTime64(3, 'UTC')}} AND {where}",
            estimates=True,
        )

    def outcomes(self, task: Task) -> Iterable[Comparison]:
        """What users say, as their profile allows it to be counted."""
        counted, said = self.repo.feedback.counted, "kind != 'review'"
        if counted is None:
            return []
        if counted == "pairs":
            return paired(self.pairs(task, said), OUTCOMES, self.repo, self.until, task)
        given = {"sql_taught": task.taught, "sql_latest": self.words(said)}
        if counted == "told":
            rows = self.rows(TOLD, **given)
        else:
            rows = self.rows(HEARD, settled=self.repo.feedback.settled_ms, **given)
        return by_slice(rows, OUTCOMES, counted, self.repo)

    def pairs(self, task: Task, where: str) -> list[dict[str, Any]]:
        return self.rows(PAIRS, sql_taught=task.taught, sql_latest=self.words(where))

    def metric(self, metric: Metric, limit: float) -> list[Comparison]:
        """How often a number is worse than a limit."""
        worse = ">" if metric.better == "lower" else "<"
        sql = Template(f"WITH {source(metric)} {WORSE}")
        rows = self.rows(sql, limit=limit, sql_worse=worse, **named(metric))
        return by_slice(rows, metric.name, "heard", self.repo)

    def usual(self, metric: Metric) -> float | None:
        """The champion's quantile before the stage; None where too few answers tell."""
        at = metric.quantile if metric.better == "lower" else 1 - metric.quantile
        past = self.trial._replace(since=self.trial.since - BEFORE_MS)
        before = Asked(self.store, past, self.repo, self.trial.since - 1, Place("true"))
        (row,) = before.rows(Template(f"WITH {source(metric)} {USUAL}"), at=at, **named(metric))
        return float(row["usual"]) if row["answers"] >= LEAST_USUAL else None


def source(metric: Metric) -> str:
    """Where the numbers of a metric stand, as SQL."""
    return NUMBERS if metric.name in OF_ANSWERS else SENT


def named(metric: Metric) -> dict[str, str]:
    """What `source` asks for."""
    known = metric.name in OF_ANSWERS
    return {"sql_column": metric.name} if known else {"metric": metric.name}


def by_slice(
    rows: Iterable[Mapping[str, Any]], name: str, counted: Counted, repo: ModelYaml
) -> list[Comparison]:
    """Comparisons of people, from rows of people alike."""
    events: dict[str, Counter[tuple[float, bool]]] = defaultdict(Counter)
    units: dict[str, Counter[float]] = defaultdict(Counter)
    bounds: dict[str, float] = defaultdict(float)
    for row in rows:
        chance = round(float(row["chance"]), 6)
        of = row["slice"]
        bounds[of] = max(bounds[of], 1 / chance)
        if row["went_bad"]:
            events[of][chance, bool(row["is_new"])] += row["people"]
        if row["closed"]:
            units[of][float(row["worse"]) + 0.0] += row["people"]
    return [
        Comparison(
            name=name,
            counted=counted,
            slice=of,
            events=tuple(
                Events(chance, events[of][chance, True], events[of][chance, False])
                for chance in sorted({chance for chance, _ in events[of]})
            ),
            units=tuple(Units(value, count) for value, count in sorted(units[of].items())),
            bound=bounds[of] or 1.0,
        )
        for of in (ALL, *protected(repo))
    ]


def paired(
    rows: Sequence[Mapping[str, Any]], name: str, repo: ModelYaml, until: int, task: Task
) -> list[Comparison]:
    """Comparisons of labelled requests that both versions answered, from rows by time."""
    found = []
    for of in (ALL, *protected(repo)):
        people: dict[str, list[tuple[int, float, bool]]] = defaultdict(list)
        for row in rows:
            if inside(row["slices"], of):
                heard, other = (task.right(row[out], row["target"]) for out in ("live", "other"))
                worse = float(other) - float(heard)
                people[row["key"]].append(
                    (row["said"], worse if row["is_new"] else -worse, bool(row["alone"]))
                )
        firsts = (next((w for _, w, _ in said if w), 0.0) for said in people.values())
        blamed = Counter(firsts)
        units: Counter[float] = Counter()
        for said in people.values():
            first, _, alone = said[0]
            if first + (0 if alone else WINDOW_MS) <= until:
                inside_window = [w for at, w, _ in said if at < first + WINDOW_MS]
                units[sum(inside_window) / len(inside_window) + 0.0] += 1
        event = Events(0.5, blamed[1.0], blamed[-1.0])
        found.append(
            Comparison(
                name=name,
                counted="pairs",
                slice=of,
                events=(event,) if event.new or event.old else (),
                units=tuple(Units(value, count) for value, count in sorted(units.items())),
            )
        )
    return found


def protected(repo: ModelYaml) -> tuple[str, ...]:
    """Slices with a bar of their own."""
    return tuple(sorted(name for name in repo.gate.protected if name != ALL))


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
