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
from driftgate.latest_word import PRECEDENCE, latest_sql, standing_sql
from driftgate.model_repo import Data, ModelYaml
from driftgate.split import held_out
from driftgate.store import Store
from driftgate.suites import SILENCE
from driftgate.tasks import Task
from services.trainer.curation import Row

POOL = 4
"""So many times the rows of a training are read of each part; a big store holds more."""

# What was said is cut at the request's time, so that the same request finds the same rows whenever
# it is answered, and rows are dated by the answer. The first live answer of a request counts, and
# the latest word on it (`driftgate.latest_word`).
KNOWN = "model = {model:String} AND time < fromUnixTimestamp64Milli({known:Int64})"
ANSWERS = """
    SELECT request_id, input, output, time, subject, slices
    FROM inferences FINAL
    WHERE model = {model:String} AND role = 'live'
        AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND time < fromUnixTimestamp64Milli({until:Int64})
    ORDER BY partition, offset
    LIMIT 1 BY request_id
"""
READABLE = "a.input IS NOT NULL AND trimBoth(assumeNotNull(a.input)) != ''"

# The word that counts of each request, and the chance with which the review sample drew it.
WORD = """
SELECT request_id, toString(kind) AS kind, output, $taught AS target,
    if(kind = 'review' AND picked IS NULL, propensity, NULL) AS propensity
FROM $latest
"""

TAUGHT = Template(f"""
SELECT
    a.request_id AS id, assumeNotNull(a.input) AS text, t.target AS target,
    toUnixTimestamp64Milli(a.time) AS at, a.subject AS subject, a.slices AS slices,
    t.kind AS word, t.propensity AS propensity, t.output AS answer
FROM ({ANSWERS}) AS a
INNER JOIN ({WORD} WHERE $taught IS NOT NULL) AS t ON a.request_id = t.request_id
WHERE {READABLE}
""")  # noqa: S608
NEWEST = "ORDER BY at DESC, id LIMIT {limit:UInt64}"
MIXED = "ORDER BY cityHash64(id), id LIMIT {limit:UInt64}"

# When users spoke for the first time, by the answer.
SPOKE = f"""
    SELECT minOrNull(inference_time) FROM outcomes
    WHERE {KNOWN} AND kind IN ('rating', 'edit', 'correction')
"""  # noqa: S608
# A part of all answers of a time, drawn by a hash whatever was said of them: who says nothing says
# that the answer was right. Those are left out of which a word stands that teaches nothing, and the
# silent ones before the first that users spoke of: most often the app sent no feedback yet.
SETTLED = Template(f"""
SELECT
    a.request_id AS id, assumeNotNull(a.input) AS text,
    if(t.kind = '', a.output, assumeNotNull(t.target)) AS target,
    toUnixTimestamp64Milli(a.time) AS at, a.subject AS subject, a.slices AS slices,
    if(t.kind = '', '{SILENCE}', t.kind) AS word, t.propensity AS propensity, a.output AS answer
FROM ({ANSWERS}) AS a
LEFT JOIN ({WORD}) AS t ON a.request_id = t.request_id
WHERE {READABLE} AND if(t.kind = '', a.time >= ({SPOKE}), t.target IS NOT NULL)
{MIXED}
""")  # noqa: S608

# Agreement is that of all who said something that was not taken back.
MEASURED = Template(f"""
SELECT
    (
        SELECT uniqExact(request_id) FROM inferences FINAL
        WHERE model = {{model:String}} AND role = 'live'
            AND time >= fromUnixTimestamp64Milli({{since:Int64}})
            AND time < fromUnixTimestamp64Milli({{known:Int64}})
    ) AS answers,
    countIf(isNotNull(target.1)) AS labelled,
    countIf(told > 1) AS told_twice,
    countIf(told > 1 AND kinds = 1) AS agreed
FROM (
    SELECT request_id, countIf($taught IS NOT NULL) AS told, uniqExact($taught) AS kinds,
        argMax(tuple($taught), {PRECEDENCE}) AS target
    FROM $standing
    WHERE inference_time >= fromUnixTimestamp64Milli({{since:Int64}})
    GROUP BY request_id
)
""")  # noqa: S608
REVIEWED = f"""
SELECT
    count() AS reviewed,
    sum(1 / propensity) AS stand_for,
    sumIf(1 / propensity, NOT was_correct) AS wrong
FROM {latest_sql(KNOWN, estimates=True)}
WHERE inference_time >= fromUnixTimestamp64Milli({{since:Int64}})
    AND kind = 'review' AND propensity IS NOT NULL AND was_correct IS NOT NULL
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Measured:
    """How much of the recent traffic somebody taught the right answer to, and how far those who do
    agree.

    coverage: share of the live answers. agreement: share of the requests taught more than once
    whose targets are one; None when there is no such request. reviewed, reviewed_wrong: answers of
    the random review sample, and the share of wrong ones in traffic that follows from them.
    """

    answers: int
    coverage: float
    told_twice: int
    agreement: float | None
    reviewed: int = 0
    reviewed_wrong: float | None = None


def seed_rows(artifacts: Artifacts, uri: str, task: Task) -> list[Row]:
    """The rows of a seed file: JSON lines with id, text, time (ms), subject, slices, the target
    under the task's name for it, and an answer that was `rejected` for it, if there is one.

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
        subject, rejected = said.get("subject"), said.get("rejected")
        return Row(
            id=str(said["id"]),
            text=str(said["text"]),
            target=str(said[task.field]),
            time=int(said["time"]),
            subject=None if subject is None else str(subject),
            slices={str(k): str(v) for k, v in (said.get("slices") or {}).items()},
            source="seed",
            rejected=None if rejected is None else str(rejected),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fields = f'"id", "text", "{task.field}", "time" in ms, "subject", "slices": {{}}'
        expected = f"{{{fields}}} ({error})"
        raise BadInput(UNHANDLED, f"seed line {number}", line, expected) from error


def logged_rows(store: Store, model: str, until: int, config: ModelYaml, task: Task) -> list[Row]:
    """Live answers up to `until` (ms) to which the right one is known: the newest of the recent
    days, and a mix of the older ones that does not change from call to call.

    Persons that are held out are tested on, so of theirs nothing counts that was picked for its
    value. Where silence means right, the recent answers are a random part of all that people had
    their time to object to, so that a version is neither tested on nor learns from the errors
    alone; and to learn from, what they objected to since.
    """
    asked = [Asked(store, model, until, config, task, estimates) for estimates in (False, True)]
    return [
        row
        for each in asked
        for row in each.rows()
        if held_out(row.person, config.data.test_share) == each.estimates
    ]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the store is asked for one training. estimates: see `latest_word.latest`."""

    store: Store
    model: str
    until: int
    config: ModelYaml
    task: Task
    estimates: bool

    def rows(self) -> list[Row]:
        feedback, end = self.config.feedback, self.until + 1
        since = self.until - self.config.data.recent_days * DAY_MS
        older = self.found(TAUGHT, MIXED, 0, since)
        if not feedback.silence_is_right:
            return [*self.found(TAUGHT, NEWEST, since, end), *older]
        settled = self.until - feedback.settled_ms
        recent = self.found(SETTLED, "", since, settled)
        return [*recent, *self.since_settled(settled, end), *older]

    def since_settled(self, settled: int, end: int) -> list[Row]:
        """What people object to at once, as far as it leaves room for what they accept."""
        room = self.config.data.max_rows // 4
        return [] if self.estimates else self.found(TAUGHT, NEWEST, settled, end, room)

    def found(
        self, asked: Template, order: str, since: int, until: int, limit: int | None = None
    ) -> list[Row]:
        """At most `limit` rows; `POOL` times those of a training where none is given."""
        latest = latest_sql(KNOWN, estimates=self.estimates)
        sql = asked.substitute(taught=self.task.taught, latest=latest) + order
        times = {"since": since, "until": until, "known": self.until + 1}
        if limit is None:
            limit = POOL * self.config.data.max_rows
        found = self.store.query(sql, model=self.model, limit=limit, **times)
        return [logged(row, self.task) for row in found]


def logged(row: dict[str, Any], task: Task) -> Row:
    """A row of the store. An answer that an edit changed is rejected."""
    answer, target = row["answer"], row["target"]
    edit = None if answer == target else task.edit(answer, target)
    return Row(
        id=row["id"],
        text=row["text"],
        target=target,
        time=row["at"],
        subject=row["subject"],
        slices=dict(row["slices"]),
        word=row["word"],
        propensity=row["propensity"],
        heard_right=task.right(answer, target),
        rejected=answer if edit and edit.distance > 0 else None,
    )


def measured(store: Store, model: str, until: int, data: Data, task: Task) -> Measured:
    """Coverage and agreement of what was taught in the recent days, and the review sample."""
    given = {"model": model, "known": until + 1, "since": until - data.recent_days * DAY_MS}
    standing = standing_sql(KNOWN)
    (row,) = store.query(MEASURED.substitute(taught=task.taught, standing=standing), **given)
    (sample,) = store.query(REVIEWED, **given)
    share_wrong = None
    if sample["reviewed"]:
        share_wrong = round(sample["wrong"] / sample["stand_for"], 4)
    return Measured(
        answers=row["answers"],
        coverage=round(row["labelled"] / row["answers"], 4) if row["answers"] else 0.0,
        told_twice=row["told_twice"],
        agreement=round(row["agreed"] / row["told_twice"], 4) if row["told_twice"] else None,
        reviewed=sample["reviewed"],
        reviewed_wrong=share_wrong,
    )
