"""Reads from the store what the judge looks at."""

from __future__ import annotations

from datetime import UTC, datetime

from driftgate.store import Store
from services.promoter.canary_analysis import Pairs

# Times are those of the events, so rows that are stored late change no earlier decision. Feedback
# that is not stored yet makes fewer pairs, not other ones.
PAIRS = """
SELECT
    countIf(old = label AND new = label) AS both,
    countIf(old = label AND new != label) AS only_old,
    countIf(old != label AND new = label) AS only_new,
    countIf(old != label AND new != label) AS neither
FROM
(
    SELECT
        request_id,
        anyIf(output, version = {old:Int32}) AS old,
        anyIf(output, version = {new:Int32}) AS new,
        any(l.label) AS label
    FROM answers AS a
    INNER JOIN (SELECT * FROM labels WHERE model = {model:String}) AS l USING (model, request_id)
    WHERE model = {model:String}
      AND version IN ({old:Int32}, {new:Int32})
      AND time >= {since:DateTime64(3, 'UTC')}
      AND greatest(time, labelled_at) <= {until:DateTime64(3, 'UTC')}
    GROUP BY request_id
    HAVING uniqExact(version) = 2
)
"""


def pairs(store: Store, model: str, old: int, new: int, since: int, until: int) -> Pairs:
    """Labelled requests from `since` to `until`, ms, that versions `old` and `new` both answered.

    Raises:
        StoreUnavailable, StoreRefused
    """
    (row,) = store.query(
        PAIRS, model=model, old=old, new=new, since=moment(since), until=moment(until)
    )
    return Pairs(**{name: int(count) for name, count in row.items()})


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
