"""A decision of the audit, taken once more: the same pure function on the inputs that stand in the
entry. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.events import EVENTS, AuditEntry, RoutingAck, ServingCounts
from driftgate.events import Rollout as Record
from driftgate.model_repo import Feedback, Gate, ModelYaml, Review, Rollout, SliceBar
from services.promoter.canary_analysis import Comparison, Evidence
from services.promoter.e_values import Events, Units
from services.promoter.rollout import Situation, Step, step
from services.promoter.state import State


def replayed(entry: AuditEntry) -> Step:
    """What the promoter decides on the inputs of one of its entries.

    Raises:
        BadInput: an older judge wrote the entry, or none: the inputs are others.
    """
    given = json.loads(entry.inputs)
    if "evidence" not in given:
        wanted = "inputs that this judge decides on"
        raise BadInput(UNHANDLED, "audit_id", entry.audit_id, wanted)
    situation = Situation(
        now=given["now"],
        declared=declared(given["rules"]),
        evidence=evidence(given["evidence"]),
        counts=tuple(ServingCounts.of(counts) for counts in given["counts"]),
        acks=tuple(RoutingAck.of(ack) for ack in given["acks"]),
        lost=tuple(given["lost"]),
        routed=given["routed"],
    )
    event: Any = EVENTS[given["topic"]].of(given["event"])
    return step(State.of(Record.of(given["state"])), event, situation)


def declared(rules: Mapping[str, Any] | None) -> ModelYaml | BadInput:
    """A model repo that has what decides, and nothing else; an error where none could be read."""
    if rules is None:
        return BadInput(UNHANDLED, "repo_hash", "", "a model repo that can be read")
    decides: dict[str, Any] = {
        "rollout": Rollout.model_validate(rules["rollout"]),
        "feedback": Feedback.model_validate(rules["feedback"]),
        "review": Review.model_validate(rules["review"]),
        "gate": Gate(min_accuracy=0, protected=dict.fromkeys(rules["protected"], SliceBar())),
    }
    return ModelYaml.model_construct(**decides)


def evidence(told: Mapping[str, Any]) -> Evidence:
    """As an entry tells it."""
    return Evidence(**{**told, "comparisons": tuple(map(comparison, told["comparisons"]))})


def comparison(told: Mapping[str, Any]) -> Comparison:
    events = tuple(Events(*event) for event in told["events"])
    units = tuple(Units(*unit) for unit in told["units"])
    return Comparison(**{**told, "events": events, "units": units})
