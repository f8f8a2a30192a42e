"""Reads from the store what the analysis of a canary looks at."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from string import Template

from driftgate.store import Store
from driftgate.tasks import Task
from services.promoter.canary_analysis import Pairs

# Times are those of the events, so rows that are stored late change no earlier decision. Feedback
# that is not stored yet makes fewer pairs, not other ones.
ANSWERED_BY_BOTH = Template("""
SELECT old, new, target, count() AS requests
FROM
(
    SELECT
        request_id,
        anyIf(output, version = {old:Int32}) AS old,
        anyIf(output, version = {new:Int32}) AS new,
        any(t.target) AS target
    FROM answers AS a
    INNER JOIN
    (
        SELECT model, request_id, argMax($taught, (feedback_time, outcome_id)) AS target
        FROM outcomes FINAL
        WHERE model = {model:String}
          AND time <= {until:DateTime64(3, 'UTC')}
          AND $taught IS NOT NULL
        GROUP BY model, request_id
    ) AS t USING (model, request_id)
    WHERE model = {model:String}
      AND version IN ({old:Int32}, {new:Int32})
      AND time >= {since:DateTime64(3, 'UTC')}
      AND time <= {until:DateTime64(3, 'UTC')}
    GROUP BY request_id
    HAVING uniqExact(version) = 2
)
GROUP BY old, new, target
""")


def pairs(
    store: Store, task: Task, model: str, old: int, new: int, since: int, until: int
) -> Pairs:
    """Requests from `since` to `until`, ms, that versions `old` and `new` both answered, and to
    which the right answer was known by then.

    Raises:
        StoreUnavailable, StoreRefused
    """
    found = store.query(
        ANSWERED_BY_BOTH.substitute(taught=task.taught),
        model=model,
        old=old,
        new=new,
        since=moment(since),
        until=moment(until),
    )
    fates: Counter[tuple[bool, bool]] = Counter()
    for row in found:
        target = row["target"]
        fates[task.right(row["old"], target), task.right(row["new"], target)] += row["requests"]
    return Pairs(
        both=fates[True, True],
        only_old=fates[True, False],
        only_new=fates[False, True],
        neither=fates[False, False],
    )


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
