"""What the store holds of the feedback on a model's answers, as `feedback_check` looks at it.

Answers and feedback are summed up by person where they lie, each in its own table, so that nothing
is joined but the review sample, and no row for each answer leaves the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftgate.feedback_check import Group, People, Reviewed, Seen, Third
from driftgate.latest_word import latest_sql
from driftgate.store import Store

DAYS = 28
"""Answers of so many days are looked at, unless somebody asks for others."""

GROUPS = 1024
"""People are put into so many groups by a hash, always the same ones together: tests of what people
do as one hold for groups of people too."""

PERSON = "coalesce(subject, request_id)"
GROUP = f"cityHash64({PERSON}) % {GROUPS}"
SPAN = """model = {model:String} AND role = 'live'
    AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({until:Int64})"""
SAID = """model = {model:String}
    AND inference_time >= fromUnixTimestamp64Milli({since:Int64})
    AND inference_time < fromUnixTimestamp64Milli({until:Int64})"""

ANSWERS = f"""
SELECT count() AS answers, count(confidence) AS with_confidence,
    quantilesTDigest(0.3333, 0.6667)(confidence) AS thirds
FROM inferences WHERE {SPAN}
"""  # noqa: S608
BY_CONFIDENCE = f"""
SELECT {GROUP} AS people, count() AS answers, sum(confidence) AS x,
    countIf(confidence <= {{low:Float64}}) AS low, countIf(confidence > {{high:Float64}}) AS high
FROM inferences WHERE {SPAN} AND confidence IS NOT NULL
GROUP BY people
"""  # noqa: S608

# A row for each answer that users said something of, also where they took it back later.
TOLD = f"""
(
    SELECT
        request_id,
        any(subject) AS subject,
        any(o.confidence) AS confidence,
        argMax(o.was_correct, (o.feedback_time, o.outcome_id)) AS last,
        maxIf(1, o.kind = 'rating') AS rating,
        maxIf(1, o.kind = 'correction') AS correction,
        maxIf(1, o.kind = 'edit') AS edit,
        maxIf(1, o.kind = 'correction' AND o.was_correct) AS confirmed,
        min(o.feedback_time) < any(o.inference_time) + toIntervalMillisecond({{settled:Int64}})
            AS in_time
    FROM (SELECT * FROM outcomes FINAL WHERE {SAID}) AS o
    WHERE o.kind IN ('rating', 'correction', 'edit')
        AND (o.label IS NOT NULL OR o.rating IS NOT NULL OR o.edited IS NOT NULL)
    GROUP BY request_id
)
"""  # noqa: S608
SUMS = f"""
SELECT countIf(in_time) AS told, countIf(NOT in_time) AS late,
    countIf(in_time AND last) AS right, countIf(in_time AND NOT last) AS wrong,
    countIf(in_time AND rating) AS rating, countIf(in_time AND correction) AS correction,
    countIf(in_time AND edit) AS edit, countIf(in_time AND confirmed) AS confirmed
FROM {TOLD}
"""  # noqa: S608
TOLD_BY_CONFIDENCE = f"""
SELECT {GROUP} AS people, count() AS told, sum(confidence) AS told_x,
    countIf(confidence <= {{low:Float64}}) AS low, countIf(confidence > {{high:Float64}}) AS high
FROM {TOLD} WHERE in_time AND confidence IS NOT NULL
GROUP BY people
"""  # noqa: S608
PEOPLE = f"""
SELECT count() AS count, sum(n) AS told, sum(n * n) AS squares,
    arraySum(arraySlice(sorted, 1, 10)) AS top_ten,
    arraySum(arraySlice(sorted, 1, toUInt64(ceil(count / 100)))) AS top_hundredth,
    arrayReverseSort(groupArray(n)) AS sorted
FROM (SELECT count() AS n FROM {TOLD} WHERE in_time AND subject IS NOT NULL GROUP BY subject)
"""  # noqa: S608
REVIEWED = f"""
SELECT coalesce(r.subject, r.request_id) AS person, assumeNotNull(r.was_correct) AS right,
    r.request_id IN (SELECT request_id FROM {TOLD} WHERE in_time) AS told
FROM {latest_sql(SAID + " AND kind IN ('review', 'retraction')", estimates=True)} AS r
WHERE r.was_correct IS NOT NULL AND r.propensity IS NOT NULL
ORDER BY cityHash64(r.request_id)
"""  # noqa: S608

USERS_KINDS = ("rating", "correction", "edit")


def read(store: Store, model: str, since: int, until: int, settled: int) -> Seen:
    """Of answers to requests from `since` to `until`; ms. `settled`: after so many ms whoever has
    said nothing says nothing, so `until` should be that long ago.

    Raises:
        StoreRefused, StoreUnavailable
    """
    span = {"model": model, "since": since, "until": until, "settled": settled}
    (answers,) = store.query(ANSWERS, **span)
    (sums,) = store.query(SUMS, **span)
    (people,) = store.query(PEOPLE, **span)
    del people["sorted"]
    confidence: Mapping[str, Any] = {}
    if answers["with_confidence"]:
        low, high = answers["thirds"]
        confidence = by_confidence(store, span | {"low": low, "high": high})
    return Seen(
        answers=answers["answers"],
        told=sums["told"],
        late=sums["late"],
        right=sums["right"],
        wrong=sums["wrong"],
        kinds={kind: sums[kind] for kind in USERS_KINDS},
        confirmed=sums["confirmed"],
        people=People(**people),
        reviewed=[Reviewed(**row) for row in store.query(REVIEWED, **span)],
        **confidence,
    )


def by_confidence(store: Store, span: Mapping[str, Any]) -> Mapping[str, Any]:
    """Groups of people, and the lowest and the highest third."""
    answers = {row["people"]: row for row in store.query(BY_CONFIDENCE, **span)}
    told = {row["people"]: row for row in store.query(TOLD_BY_CONFIDENCE, **span)}
    return {
        "by_confidence": [
            Group(
                row["answers"],
                told[key]["told"] if key in told else 0,
                row["x"],
                told[key]["told_x"] if key in told else 0.0,
            )
            for key, row in answers.items()
        ],
        "low": third("low", answers, told),
        "high": third("high", answers, told),
    }


def third(name: str, answers: Mapping[Any, Any], told: Mapping[Any, Any]) -> Third:
    return Third(*(sum(row[name] for row in rows.values()) for rows in (answers, told)))
