"""Makes a decision again from what the audit says that it was made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.events import EVENTS, Rollout, RoutingAck, ServingCounts
from driftgate.model_repo import ModelYaml
from services.promoter.canary_analysis import Comparison, Evidence
from services.promoter.e_values import Events, Units
from services.promoter.rollout import Situation, Step, step
from services.promoter.state import State


def replay(inputs: Mapping[str, Any]) -> Step:
    """What `rollout.step` makes of the inputs of an audit entry."""
    event: Any = EVENTS[inputs["topic"]].of(inputs["event"])
    return step(State.of(Rollout.of(inputs["state"])), event, situation(inputs))


def situation(inputs: Mapping[str, Any]) -> Situation:
    rules = inputs["rules"]
    unread = BadInput(UNHANDLED, "repo_hash", "", "a stored model repo")
    return Situation(
        now=inputs["now"],
        declared=ModelYaml.model_validate(rules) if rules else unread,
        evidence=evidence(inputs["evidence"]),
        counts=tuple(map(ServingCounts.of, inputs["counts"])),
        acks=tuple(map(RoutingAck.of, inputs["acks"])),
        lost=tuple(inputs["lost"]),
        routed=inputs["routed"],
    )


def evidence(told: Mapping[str, Any]) -> Evidence:
    """Evidence from its JSON."""
    comparisons = tuple(
        Comparison(
            **{
                **one,
                "events": events(one["events"]),
                "later": tuple(map(events, one.get("later", ()))),
                "units": tuple(Units(*each) for each in one["units"]),
            }
        )
        for one in told["comparisons"]
    )
    return Evidence(**{**told, "comparisons": comparisons})


def events(told: Iterable[Iterable[Any]]) -> tuple[Events, ...]:
    return tuple(Events(*each) for each in told)
