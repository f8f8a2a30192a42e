"""Which service reads which topics. A service's name is its consumer group; each router has one of
its own, named after the replica, since each obeys all records. Replicas of the drift-detector are
in two groups: in one of them one replica works, in the other all read for it."""

from __future__ import annotations

from collections.abc import Mapping

from driftgate.bus import Bus, Position
from driftgate.events import Topics

INGEST = "ingest-logger"
DRIFT = "drift-detector"
READER = "drift-reader"
TRAINER = "trainer"
EVALUATOR = "evaluator"
PROMOTER = "promoter"
ROUTER = "router"
CLOCK = "clock"

READS: Mapping[str, tuple[str, ...]] = {
    READER: ("inferences", "outcomes"),
    DRIFT: (
        *("drift.observations", "candidates", "verdicts", "models", "routing", "commands"),
        "clock",
    ),
    TRAINER: ("retrain.requests", "models", "routing", "clock"),
    EVALUATOR: ("candidates", "clock"),
    PROMOTER: ("verdicts", "commands", "routing.acks", "serving.counts", "clock"),
    f"{ROUTER}-0": ("routing", "clock"),
}


def reads(service: str, topics: Topics) -> list[str]:
    """Topics that a service's group reads: ingest-logger reads all that is stored."""
    return topics.stored() if service == INGEST else list(READS[service])


def lag(
    service: str, topics: Topics, ends: Mapping[Position, int], committed: Mapping[Position, int]
) -> dict[Position, int]:
    """Records that a group has not finished, by position; empty when it has caught up."""
    mine = set(reads(service, topics))
    behind = {p: end - committed.get(p, 0) for p, end in ends.items() if p.topic in mine}
    return {position: records for position, records in behind.items() if records > 0}


def lags(bus: Bus, topics: Topics) -> dict[str, dict[Position, int]]:
    """The lag of every group, as it is now."""
    ends = bus.ends(topics.names())
    return {name: lag(name, topics, ends, bus.committed(name)) for name in (INGEST, *READS)}
