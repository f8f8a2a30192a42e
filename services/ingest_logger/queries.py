"""What ingestion asks the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from driftgate.bus import Position
from driftgate.dead_letters import UNKNOWN_REQUEST
from driftgate.store import Store

# First and last offset of records by position.
Ranges = Mapping[Position, tuple[int, int]]
Row = Mapping[str, Any]

MARKS = "SELECT topic, partition, max(next_offset) AS offset FROM ingest_marks GROUP BY ALL"
LAST = "SELECT topic, partition, max(offset) AS offset FROM {table} GROUP BY ALL"
NEWEST_TICK = "SELECT toUnixTimestamp64Milli(max(time)) AS time FROM clock"

FEEDBACK = """
SELECT *, toUnixTimestamp64Milli(time) AS ms FROM feedback WHERE {new}
UNION ALL
SELECT *, toUnixTimestamp64Milli(time) AS ms FROM feedback
WHERE request_id IN (SELECT request_id FROM inferences WHERE {new_answers} AND role = 'live')
"""
# The first live answer that was stored is the one that feedback is about, as in view `answers`.
ANSWERS = """
SELECT topic, partition, offset, request_id, model, version, slices, output, confidence,
    toUnixTimestamp64Milli(time) AS ms
FROM inferences
WHERE role = 'live' AND request_id IN {ids:Array(String)}
ORDER BY partition, offset
LIMIT 1 BY model, request_id
"""

ORPHANS = """
SELECT *, toUnixTimestamp64Milli(time) AS ms FROM feedback
WHERE model = {model:String} AND toUnixTimestamp64Milli(time) < {before:Int64}
    AND request_id NOT IN (
        SELECT request_id FROM inferences WHERE model = {model:String} AND role = 'live')
    AND (partition, offset) NOT IN (
        SELECT source_partition, source_offset FROM dead_letters
        WHERE source_topic = 'feedback' AND reason = {reason:String})
ORDER BY partition, offset
"""


def marks(store: Store) -> dict[Position, int]:
    """Next offset of every partition of which something was ingested."""
    return offsets(store.query(MARKS))


def last_stored(store: Store, tables: Iterable[str]) -> dict[Position, int]:
    """Largest offset of every partition that has rows. It may lie beyond the mark: rows are
    stored before the mark is."""
    return offsets(store.query(" UNION ALL ".join(LAST.format(table=name) for name in tables)))


def offsets(rows: Iterable[Mapping[str, Any]]) -> dict[Position, int]:
    return {Position(row["topic"], row["partition"]): row["offset"] for row in rows}


def newest_tick(store: Store) -> int:
    """Time of the newest tick that was stored, ms; 0 without one."""
    return int(store.query(NEWEST_TICK)[0]["time"])


def feedback_to_join(store: Store, ranges: Ranges) -> list[Row]:
    """Feedback that lies in `ranges`, and feedback on the live answers that do.

    Both sides are stored before this is asked, by whichever process read them, so the later of
    the two always finds the other.
    """
    found = FEEDBACK.format(
        new=inside("feedback", ranges), new_answers=inside("inferences", ranges)
    )
    return with_time(store.query(found))


def answers_to(store: Store, request_ids: Iterable[str]) -> list[Row]:
    """The live answer that counts, of each of these requests."""
    return with_time(store.query(ANSWERS, ids=sorted(set(request_ids))))


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
    return with_time(store.query(ORPHANS, model=model, before=before, reason=UNKNOWN_REQUEST))
