"""What the store knows of a model's life, for a report: reads only, no judgement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from driftgate.drift.triggers import OF_INCIDENTS
from driftgate.store import Store

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows as the tables hold them; times in ms.

    outcomes: what was said of answers, as far as `driftgate.latest_word` asks.
    """

    answers: Rows
    requests: Rows
    candidates: Rows
    verdicts: Rows
    rollouts: Rows
    alerts: Rows
    audit: Rows
    counts: Mapping[str, int]
    outcomes: Rows = field(default_factory=list)

    def verdict(self, version: int) -> dict[str, Any] | None:
        return next((v for v in self.verdicts if v["version"] == version), None)

    @property
    def drift_requests(self) -> Rows:
        """What incidents asked for."""
        return [request for request in self.requests if request["reason"] in OF_INCIDENTS]

    def request(self, retrain_id: str) -> dict[str, Any] | None:
        return next((r for r in self.requests if r["retrain_id"] == retrain_id), None)


def collect(store: Store, model: str) -> Facts:
    """Everything a report of one model needs."""

    def rows(table: str, unique: str, columns: str = "*") -> Rows:
        return store.query(
            f"SELECT {columns}, toUnixTimestamp64Milli(time) AS ms FROM {table} FINAL "  # noqa: S608
            f"WHERE model = {{model:String}} ORDER BY time, offset LIMIT 1 BY {unique}",
            model=model,
        )

    verdicts = rows("verdicts", "verdict_id")
    for verdict in verdicts:
        verdict["axes"] = json.loads(verdict["axes"])
    return Facts(
        answers=store.query(
            "SELECT request_id, version, role, output, toUnixTimestamp64Milli(time) AS ms "
            "FROM answers WHERE model = {model:String}",
            model=model,
        ),
        requests=rows("retrain_requests", "retrain_id"),
        candidates=rows("candidates", "retrain_id"),
        verdicts=verdicts,
        rollouts=rows("rollouts", "epoch"),
        alerts=rows("drift_alerts", "alert_id"),
        audit=rows("audit", "audit_id"),
        counts=counts(store),
        outcomes=store.query(
            "SELECT request_id, outcome_id, kind, label, rating, edited, reviewer, picked, "
            "retracts, toUnixTimestamp64Milli(feedback_time) AS feedback_time "
            "FROM outcomes FINAL WHERE model = {model:String}",
            model=model,
        ),
    )


def counts(store: Store) -> dict[str, int]:
    """What is stored: answers (a request that was asked again counts once), feedback, outcomes,
    dead letters, audit entries; and inferences that are stored twice, which must be none."""
    asked = {
        "answers": "answers",
        "feedback": "feedback FINAL",
        "outcomes": "outcomes FINAL",
        "dead_letters": "dead_letters FINAL",
        "audit": "audit FINAL",
    }
    found = {
        name: int(store.query(f"SELECT count() AS n FROM {table}")[0]["n"])  # noqa: S608
        for name, table in asked.items()
    }
    doubled = store.query(
        "SELECT count() - uniqExact(topic, partition, offset) AS n FROM inferences"
    )
    return {**found, "doubled": int(doubled[0]["n"])}
