"""What `driftgate status` says of routers."""

from __future__ import annotations

from releasing import NOW, ack

from driftgate.events import RoutingAck
from services.console.stack_cli import lacks


def test_a_router_that_cannot_load_is_named_with_its_reason_and_others_are_not() -> None:
    acks = [
        RoutingAck.of(ack("triage", 5, "refused", "router-1")),
        RoutingAck.of(ack("triage", 5, "serving", "router-0")),
    ]
    assert lacks(acks) == ["router-1 refuses epoch 5 of triage (2027-01-15 08:00 UTC): corrupt"]
    assert acks[0].time == NOW


def test_a_router_that_serves_with_nobody_to_go_back_to_is_named_with_version_and_reason() -> None:
    kept = RoutingAck.of(ack("triage", 5) | {"reason": "standby 2: the store is away"})
    assert lacks([kept]) == [
        "router-0 serves epoch 5 of triage (2027-01-15 08:00 UTC), "
        "without standby 2: the store is away"
    ]
