"""What ingestion asks the store, and the marks that it leaves there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from driftgate.bus import Position
from driftgate.dead_letters import UNKNOWN_REQUEST
from driftgate.events import Feedback, Inference, Tick
from driftgate.store import Store
from services.ingest_logger.rows import Row

# First and last offset of records by position.
Ranges = Mapping[Position, tuple[int, int]]

MARKS = "SELECT topic, partition, max(next_offset) AS offset FROM ingest_marks GROUP BY ALL"
LAST = "SELECT topic, partition, max(offset) AS offset FROM {table} GROUP BY ALL"
NEWEST_TICK = """
SELECT world, toUnixTimestamp64Milli(time) AS ms, pace, toUnixTimestamp64Milli(stored_at) AS stored
FROM clock ORDER BY time DESC LIMIT 1
"""

# Ids of one look-up. Among 10^7 answers in 65 parts a thousand ids take the engine 0.4 s of CPU
# time, and 0.7 s in four look-ups.
LOOKED_UP = 1000

FEEDBACK = """
SELECT *, toUnixTimestamp64Milli(time) AS ms FROM feedback WHERE {new}
"""
# What has just been stored is the small side: it becomes the set, and one column of the feedback is
# compared with it.
FEEDBACK_ON = """
SELECT *, toUnixTimestamp64Milli(time) AS ms FROM feedback
PREWHERE request_hash IN (SELECT request_hash FROM inferences WHERE {new_answers} AND role = 'live')
"""
# Only the hash is a condition, since each column that is one is read of every granule.
PLACES = """
SELECT topic, partition, offset FROM inferences
WHERE request_hash IN (SELECT cityHash64(arrayJoin({ids:Array(String)})))
"""
# The first live answer that was stored is the one that feedback is about, as in view `answers`.
ANSWERS = f"""
SELECT topic, partition, offset, request_id, model, version, role, slices, output, confidence,
    subject, propensity, toUnixTimestamp64Milli(time) AS ms
FROM inferences
WHERE (topic, partition, offset) IN ({PLACES})
ORDER BY partition, offset
LIMIT 1 BY model, request_id, role
SETTINGS preferred_optimize_projection_name = 'by_request_hash'
"""  # noqa: S608

# A hash leads to the rows; ids that nobody stored, which are nearly all, end there.
OUTCOME_PLACES = """
SELECT topic, partition, offset FROM outcomes
WHERE outcome_hash IN (SELECT cityHash64(arrayJoin({ids:Array(String)})))
"""
STORED_OUTCOMES = f"""
SELECT outcome_id FROM outcomes
WHERE (topic, partition, offset) IN ({OUTCOME_PLACES})
SETTINGS preferred_optimize_projection_name = 'by_outcome_hash'
"""  # noqa: S608

# Feedback that has neither an outcome nor a dead letter yet. The bound on `feedback_time` keeps the
# set of outcomes in memory as small as the feedback that is asked for.
UNMET = """
SELECT *, toUnixTimestamp64Milli(time) AS ms FROM feedback
WHERE model = {model:String} AND time < fromUnixTimestamp64Milli({before:Int64})
    AND feedback_id NOT IN (
        SELECT outcome_id FROM outcomes
        WHERE model = {model:String} AND feedback_time < fromUnixTimestamp64Milli({before:Int64}))
    AND (partition, offset) NOT IN (
        SELECT source_partition, source_offset FROM dead_letters
        WHERE source_topic = 'feedback' AND reason = {reason:String})
ORDER BY partition, offset
"""


def marks(store: Store) -> dict[Position, int]:
    """Next offset of every partition of which something was ingested."""
    return offsets(store.query(MARKS))


def mark(store: Store, next_offsets: Mapping[Position, int]) -> None:
    """Writes marks, all or none."""
    rows = [
        {"topic": position.topic, "partition": position.partition, "next_offset": at}
        for position, at in next_offsets.items()
    ]
    store.append("ingest_marks", rows)


def last_stored(store: Store, tables: Iterable[str]) -> dict[Position, int]:
    """Largest offset of every partition that has rows. It may lie beyond the mark, since rows are
    stored before the mark is."""
    return offsets(store.query(" UNION ALL ".join(LAST.format(table=name) for name in tables)))


def offsets(rows: Iterable[Row]) -> dict[Position, int]:
    return {Position(row["topic"], row["partition"]): row["offset"] for row in rows}


def newest_tick(store: Store) -> tuple[Tick, int] | None:
    """The newest tick that was stored, and when that was, ms."""
    for row in store.query(NEWEST_TICK):
        return Tick(world=row["world"], time=row["ms"], pace=row["pace"]), row["stored"]
    return None


def feedback_to_join(store: Store, ranges: Ranges) -> list[Row]:
    """Feedback that lies in `ranges`, and feedback on the live answers that do; some of it twice,
    and, as answers are compared by a hash of their ids, some that is on none of them.

    Both sides are stored before this is asked, by whichever process read them, so the later of
    the two always finds the other.
    """
    asked = {
        Feedback.TOPIC: FEEDBACK.format(new=inside(Feedback.TOPIC, ranges)),
        Inference.TOPIC: FEEDBACK_ON.format(new_answers=inside(Inference.TOPIC, ranges)),
    }
    topics = {position.topic for position in ranges}
    found = " UNION ALL ".join(sql for topic, sql in asked.items() if topic in topics)
    return with_time(store.query(found)) if found else []


def answers_to(store: Store, request_ids: Iterable[str]) -> list[Row]:
    """The live answer that counts, of each of these requests."""
    wanted = set(request_ids)
    ids = sorted(wanted)
    parts = (ids[at : at + LOOKED_UP] for at in range(0, len(ids), LOOKED_UP))
    found = (row for part in parts for row in store.query(ANSWERS, ids=part))
    return with_time(r for r in found if r["role"] == "live" and r["request_id"] in wanted)


def stored_outcomes(store: Store, outcome_ids: Sequence[str]) -> set[str]:
    """Those of the ids whose outcome is stored, and perhaps others."""
    parts = (outcome_ids[at : at + LOOKED_UP] for at in range(0, len(outcome_ids), LOOKED_UP))
    found = (row for part in parts for row in store.query(STORED_OUTCOMES, ids=part))
    return {row["outcome_id"] for row in found}


def with_time(rows: Iterable[Row]) -> list[Row]:
    """Times as events have them, in ms."""
    return [{**row, "time": row["ms"]} for row in rows]


def inside(topic: str, ranges: Ranges) -> str:
    """The condition of lying in the ranges of a topic."""
    parts = [
        f"(partition = {position.partition} AND offset BETWEEN {first} AND {last})"
        for position, (first, last) in ranges.items()
        if position.topic == topic
    ]
    return f"(topic = '{topic}' AND ({' OR '.join(parts) or 'false'}))"


def orphans(store: Store, model: str, before: int) -> list[Row]:
    """Rows of a model's feedback from before a time (ms) whose inference is not stored and that
    has no dead letter for it."""
    unmet = with_time(store.query(UNMET, model=model, before=before, reason=UNKNOWN_REQUEST))
    # An outcome that was sent may not be stored yet.
    answers = answers_to(store, (row["request_id"] for row in unmet))
    answered = {row["request_id"] for row in answers if row["model"] == model}
    return [row for row in unmet if row["request_id"] not in answered]
