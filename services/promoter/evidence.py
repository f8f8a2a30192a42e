"""Reads from the store what a stage has shown: each row once, as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from string import Template

from driftgate.events import DAY_MS
from driftgate.model_repo import Metric, ModelYaml
from driftgate.store import Store
from services.promoter.canary_analysis import Evidence
from services.promoter.ledger import OF_ANSWERS, Ledger, Trial

BEFORE_MS = 14 * DAY_MS
"""So much of the champion's past says what is usual of a metric."""
LEAST_USUAL = 100

TICKS_BEHIND = 3
MOST_ROWS = 100_000
"""So many rows of a table are read at a look; the rest, at the next ones."""

COLUMNS = {
    "inferences": "request_id, version, role, output, propensity, slices, subject, latency_ms, "
    "tokens, cost, refused, broken",
    "outcomes": "request_id, outcome_id, kind, label, rating, edited, was_correct, reviewer, "
    "retracts, picked, metric, value, toUnixTimestamp64Milli(feedback_time) AS feedback_ms",
}
OF_STAGE = {
    "inferences": "version IN ({old:Int32}, {new:Int32}) AND time >= {since:DateTime64(3, 'UTC')}",
    "outcomes": "inference_time >= {since:DateTime64(3, 'UTC')}",
}
# By the order key, so that what was read before is not touched.
ROWS = Template("""
SELECT partition, offset, toUnixTimestamp64Milli(time) AS ms, $columns
FROM $table
WHERE topic = '$table' AND ($beyond) AND model = {model:String} AND $of_stage
ORDER BY topic, partition, offset
LIMIT {most:UInt64}
""")
# Before the first of them, nothing is of the stage: later rows have larger offsets.
BEGINS = Template("""
SELECT partition, countIf($when >= {since:DateTime64(3, 'UTC')}) AS rows,
    minIf(offset, $when >= {since:DateTime64(3, 'UTC')}) - 1 AS before, max(offset) AS last
FROM $table
WHERE topic = '$table'
GROUP BY partition
""")

USUAL = Template("""
SELECT count() AS answers, quantileExact({at:Float64})(toFloat64($column)) AS usual
FROM $source
WHERE model = {model:String} AND version = {old:Int32} AND $when >= {since:DateTime64(3, 'UTC')}
    AND $when < {until:DateTime64(3, 'UTC')} AND $live
""")


@dataclass
class Stage:
    """A trial as it was asked for, its ledger, and the last offset of each partition of each table
    that needs no more reading."""

    trial: Trial
    ledger: Ledger
    read: dict[str, dict[int, int]]


@dataclass
class Reader:
    """Looks at trials, and remembers what it read of those that are on.

    Attributes:
        store: connects when it is first needed: commands are obeyed while the store is away.
    """

    store: Callable[[], Store]
    _stages: dict[str, Stage] = field(default_factory=dict)

    def look(self, trial: Trial, repo: ModelYaml, ticks: Sequence[int], until: int) -> Evidence:
        """All that is known of a trial up to `until`, ms. ticks: times of the last ones, ms, oldest
        first: what lies before the third last is stored, or the store is behind.

        Raises:
            StoreUnavailable, StoreRefused
        """
        store = self.store()
        lacking = behind(store, ticks)
        stage = self._stages.get(trial.model)
        if stage is None or stage.trial != trial or stage.ledger.repo != repo:
            if lacking:  # what is usual of a metric would hang on when it was asked
                return Evidence(behind=lacking)
            stage = self._stages[trial.model] = begun(store, trial, repo)
        for table in COLUMNS:
            if read(store, stage, table) == MOST_ROWS:
                lacking = lacking or "more was stored than is read at once"
        return stage.ledger.evidence(until, lacking)

    def keep(self, models: frozenset[str]) -> None:
        """Forgets what was read of all other models."""
        self._stages = {name: one for name, one in self._stages.items() if name in models}


def begun(store: Store, trial: Trial, repo: ModelYaml) -> Stage:
    """A stage of which nothing is read yet. What was before it is left out where no pairs are
    counted, or where it is too much to be read again: of so many rows, a stage has enough of its
    own."""
    pairs = repo.feedback.counted == "pairs" or repo.review.share
    known = trial if pairs else trial._replace(begun=0)
    read, rows = positions(store, known.first)
    if known.begun and rows > MOST_ROWS:
        known = trial._replace(begun=0)
        read, _ = positions(store, known.first)
    return Stage(trial, Ledger(known, repo, limits(store, known, repo)), read)


def positions(store: Store, since: int) -> tuple[dict[str, dict[int, int]], int]:
    """Of each table, the last offset of each partition before a time, ms; and how many rows of all
    models came since."""
    found, since_then = {}, 0
    for table, when in (("inferences", "time"), ("outcomes", "inference_time")):
        rows = store.query(BEGINS.substitute(table=table, when=when), since=moment(since))
        found[table] = {
            row["partition"]: row["before"] if row["rows"] else row["last"] for row in rows
        }
        since_then += sum(row["rows"] for row in rows)
    return found, since_then


def read(store: Store, stage: Stage, table: str) -> int:
    """Reads what is new of a table into the ledger; returns how many rows that were."""
    trial, known = stage.ledger.trial, stage.read[table]
    beyond = [f"(partition = {at} AND offset > {last})" for at, last in sorted(known.items())]
    others = ", ".join(str(at) for at in sorted(known))
    beyond.append(f"partition NOT IN ({others})" if known else "true")
    asked = ROWS.substitute(
        table=table, columns=COLUMNS[table], beyond=" OR ".join(beyond), of_stage=OF_STAGE[table]
    )
    rows = store.query(
        asked,
        model=trial.model,
        old=trial.old,
        new=trial.new,
        since=moment(trial.first),
        most=MOST_ROWS,
    )
    stage.ledger.add(table, rows)
    for row in rows:
        known[row["partition"]] = row["offset"]
    return len(rows)


def limits(store: Store, trial: Trial, repo: ModelYaml) -> dict[str, float]:
    """Beyond which each metric is bad; one of which nothing usual is known is left out."""
    found = {metric.name: limit(store, trial, metric) for metric in repo.rollout.metrics}
    return {name: value for name, value in found.items() if value is not None}


def limit(store: Store, trial: Trial, metric: Metric) -> float | None:
    """What is declared, or the champion's quantile before the stage."""
    if metric.limit is not None:
        return metric.limit
    if metric.name in {"refused", "broken"}:
        return 0.5
    of_answer = metric.name in OF_ANSWERS
    asked = USUAL.substitute(
        column=metric.name if of_answer else "value",
        source="inferences" if of_answer else "outcomes FINAL",
        when="time" if of_answer else "inference_time",
        live="role = 'live'" if of_answer else "kind = 'metric' AND metric = {metric:String}",
    )
    (row,) = store.query(
        asked,
        at=metric.quantile if metric.better == "lower" else 1 - metric.quantile,
        model=trial.model,
        old=trial.old,
        since=moment(trial.since - BEFORE_MS),
        until=moment(trial.since),
        **({} if of_answer else {"metric": metric.name}),
    )
    return float(row["usual"]) if row["answers"] >= LEAST_USUAL else None


def behind(store: Store, ticks: Sequence[int]) -> str:
    """What the store lacks, in words; empty where it has all but the last two ticks."""
    if len(ticks) < TICKS_BEHIND:
        return ""
    wanted = ticks[-TICKS_BEHIND]
    (row,) = store.query("SELECT toUnixTimestamp64Milli(max(time)) AS newest FROM clock")
    if row["newest"] >= wanted:
        return ""
    if not row["newest"]:
        return "it holds no tick yet"
    return f"its newest tick is {(wanted - row['newest']) / 1000:,.0f} s older than it should be"


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
