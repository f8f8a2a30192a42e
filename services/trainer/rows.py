"""Rows to learn from, out of the two places where they lie: seed files and the store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from string import Template
from typing import Any

from driftgate.artifacts import Artifacts
from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput, Corrupt
from driftgate.events import DAY_MS
from driftgate.model_repo import Data
from driftgate.store import Store
from driftgate.tasks import Task
from services.trainer.curation import Row

POOL = 4
"""So many times the rows of a training are read of each part; a big store holds more."""

# Both inner tables are cut at the request's time, so that the same request finds the same rows
# whenever it is answered. The first live answer of a request counts, and the last that was taught.
TAUGHT = Template("""
SELECT
    a.request_id AS id, assumeNotNull(a.input) AS text, t.target AS target,
    toUnixTimestamp64Milli(a.time) AS at, a.subject AS subject, a.slices AS slices
FROM (
    SELECT request_id, input, time, subject, slices
    FROM inferences FINAL
    WHERE model = {model:String} AND role = 'live'
        AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND time < fromUnixTimestamp64Milli({until:Int64})
    ORDER BY partition, offset
    LIMIT 1 BY request_id
) AS a
INNER JOIN (
    SELECT request_id,
        argMax($taught, (feedback_time, outcome_id)) AS target
    FROM outcomes FINAL
    WHERE model = {model:String} AND time < fromUnixTimestamp64Milli({known:Int64})
        AND $taught IS NOT NULL
    GROUP BY request_id
) AS t ON a.request_id = t.request_id
WHERE a.input IS NOT NULL AND trimBoth(assumeNotNull(a.input)) != ''
""")
NEWEST = "ORDER BY at DESC, id LIMIT {limit:UInt64}"
MIXED = "ORDER BY cityHash64(id), id LIMIT {limit:UInt64}"

MEASURED = Template("""
SELECT
    (
        SELECT uniqExact(request_id) FROM inferences FINAL
        WHERE model = {model:String} AND role = 'live'
            AND time >= fromUnixTimestamp64Milli({since:Int64})
            AND time < fromUnixTimestamp64Milli({known:Int64})
    ) AS answers,
    count() AS labelled,
    countIf(told > 1) AS told_twice,
    countIf(told > 1 AND kinds = 1) AS agreed
FROM (
    SELECT request_id, count() AS told, uniqExact($taught) AS kinds
    FROM outcomes FINAL
    WHERE model = {model:String} AND inference_time >= fromUnixTimestamp64Milli({since:Int64})
        AND time < fromUnixTimestamp64Milli({known:Int64})
        AND $taught IS NOT NULL
    GROUP BY request_id
)
""")


@dataclass(frozen=True, slots=True)
class Measured:
    """How much of the recent traffic somebody taught the right answer to, and how far those who do
    agree.

    coverage: share of the live answers. agreement: share of the requests taught more than once
    whose targets are one; None when there is no such request.
    """

    answers: int
    coverage: float
    told_twice: int
    agreement: float | None


def seed_rows(artifacts: Artifacts, uri: str, task: Task) -> list[Row]:
    """The rows of a seed file: JSON lines with id, text, time (ms), subject, slices, and the target
    under the task's name for it.

    Raises:
        BadInput: the artifact is not there, or a line is not such a row; names the line.
    """
    try:
        text = artifacts.get(uri).decode()
    except (Corrupt, UnicodeDecodeError) as error:
        expected = f"the URI of a stored JSONL file ({error})"
        raise BadInput(UNHANDLED, "seed_uri", uri, expected) from error
    return [
        seed_row(line, number, task)
        for number, line in enumerate(text.split("\n"), start=1)  # texts may hold U+2028
        if line.strip()
    ]


def seed_row(line: str, number: int, task: Task) -> Row:
    """One line of a seed file."""
    try:
        said: dict[str, Any] = json.loads(line)
        subject = said.get("subject")
        return Row(
            id=str(said["id"]),
            text=str(said["text"]),
            target=str(said[task.field]),
            time=int(said["time"]),
            subject=None if subject is None else str(subject),
            slices={str(k): str(v) for k, v in (said.get("slices") or {}).items()},
            source="seed",
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fields = f'"id", "text", "{task.field}", "time" in ms, "subject", "slices": {{}}'
        expected = f"{{{fields}}} ({error})"
        raise BadInput(UNHANDLED, f"seed line {number}", line, expected) from error


def logged_rows(store: Store, model: str, until: int, data: Data, task: Task) -> list[Row]:
    """Live answers up to `until` (ms) to which the right one is known: the newest of the recent
    days, and a mix of the older ones that does not change from call to call."""
    taught = TAUGHT.substitute(taught=task.taught)
    since = until - data.recent_days * DAY_MS
    given = {"model": model, "known": until + 1, "limit": POOL * data.max_rows}
    recent = store.query(taught + NEWEST, since=since, until=until + 1, **given)
    older = store.query(taught + MIXED, since=0, until=since, **given)
    return [
        Row(row["id"], row["text"], row["target"], row["at"], row["subject"], dict(row["slices"]))
        for row in [*recent, *older]
    ]


def measured(store: Store, model: str, until: int, data: Data, task: Task) -> Measured:
    """Coverage and agreement of what was taught in the recent days."""
    since = until - data.recent_days * DAY_MS
    asked = MEASURED.substitute(taught=task.taught)
    row = store.query(asked, model=model, since=since, known=until + 1)[0]
    return Measured(
        answers=row["answers"],
        coverage=round(row["labelled"] / row["answers"], 4) if row["answers"] else 0.0,
        told_twice=row["told_twice"],
        agreement=round(row["agreed"] / row["told_twice"], 4) if row["told_twice"] else None,
    )
