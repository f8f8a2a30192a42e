"""How much the store holds that no training has seen: what `driftgate.drift.supply` counts live."""

from __future__ import annotations

from driftgate.drift.supply import Learned, New, new_sources
from driftgate.latest_word import standing_sql
from driftgate.model_repo import ModelYaml
from driftgate.store import Store

KNOWN = "model = {model:String} AND time <= fromUnixTimestamp64Milli({now:Int64})"
PAIRS = f"""
    SELECT * FROM {standing_sql(KNOWN, estimates=True)}
    WHERE label IS NOT NULL OR edited IS NOT NULL
"""  # noqa: S608
SINCE = "time > fromUnixTimestamp64Milli({since:Int64})"

COUNTED = f"SELECT uniqExact(request_id) AS pairs FROM ({PAIRS}) WHERE {SINCE}"  # noqa: S608
BY_LABEL = f"""
SELECT assumeNotNull(label) AS said, uniqExact(request_id) AS pairs
FROM ({PAIRS}) WHERE label IS NOT NULL AND {SINCE} GROUP BY said ORDER BY said
"""  # noqa: S608
BY_SOURCE = f"""
SELECT concat(name, '=', slices[name]) AS source, uniqExactIf(request_id, {SINCE}) AS pairs,
    toUnixTimestamp64Milli(min(time)) AS first
FROM ({PAIRS}) ARRAY JOIN {{names:Array(String)}} AS name
WHERE mapContains(slices, name) GROUP BY source ORDER BY source
"""  # noqa: S608

ANSWERED = """
SELECT version FROM inferences
WHERE model = {model:String} AND role = 'live'
    AND time > fromUnixTimestamp64Milli({since:Int64})
GROUP BY version ORDER BY count() DESC LIMIT 1
"""


def read(store: Store, model: str, config: ModelYaml, known: Learned, since: int, now: int) -> New:
    """What was said after `since` and until `now`, ms.

    Raises:
        StoreRefused, StoreUnavailable
    """
    given = {"model": model, "since": since, "now": now}
    (all_of_them,) = store.query(COUNTED, **given)
    labels = {row["said"]: row["pairs"] for row in store.query(BY_LABEL, **given)}
    sources = store.query(BY_SOURCE, names=list(config.slice_names), **given)
    new = new_sources({row["source"]: row["first"] for row in sources}, known)
    return New(
        all_of_them["pairs"],
        {label: pairs for label, pairs in labels.items() if known.lacks(label)},
        {row["source"]: row["pairs"] for row in sources if row["pairs"] and row["source"] in new},
    )


def live_version(store: Store, model: str, since: int) -> int | None:
    """The version that gave most answers since a time, ms; None where there are none.

    Raises:
        StoreRefused, StoreUnavailable
    """
    return next((row["version"] for row in store.query(ANSWERED, model=model, since=since)), None)
