"""Incidents of a model that passed by themselves, as the drift-detector last told them."""

from __future__ import annotations

import json

from pydantic import TypeAdapter

from driftgate.drift.learned_seasons import PASSED, PassedIncident
from driftgate.store import Store
from driftgate.topology import DRIFT

NEWEST = """
SELECT result FROM audit
WHERE model = {model:String} AND service = {service:String} AND decision = {decision:String}
ORDER BY offset DESC LIMIT 1
"""
INCIDENTS = TypeAdapter(tuple[PassedIncident, ...])


def read(store: Store, model: str) -> tuple[PassedIncident, ...]:
    """
    Raises:
        StoreRefused, StoreUnavailable
    """
    told = store.query(NEWEST, model=model, service=DRIFT, decision=PASSED)
    return next(
        (INCIDENTS.validate_python(json.loads(row["result"])["incidents"]) for row in told), ()
    )
