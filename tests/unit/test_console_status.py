"""What `driftgate status` says of routers, and of what is not watched."""

from __future__ import annotations

from dataclasses import replace

from drift_world import MODEL, YAML, day, verdict
from releasing import NOW, ack

from driftgate.drift.incident_alerts import silence_alert
from driftgate.drift.silence import Part, Silence
from driftgate.events import DAY_MS, RoutingAck
from driftgate.model_repo import parse
from services.console import unwatched_status
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


def test_what_apps_send_no_more_is_told_with_what_to_do_until_it_comes_again() -> None:
    spanish = Part("", "language=es", "answers")
    silence = Silence(spanish, 1, day(3), day(4), 43.0, ever=True)
    opened = silence_alert(MODEL, silence)
    assert list(unwatched_status.silent([opened])) == [
        "post: no answers in slice language=es since 2026-01-04T00:00:00Z, expected 43: "
        "`driftgate traffic post --by slice` shows what comes; what the app will not send again "
        "may leave model.yaml"
    ]
    again = silence_alert(MODEL, replace(silence, kind="close", at=day(4) + DAY_MS, why="it comes"))
    assert list(unwatched_status.silent([opened, again])) == []


def test_a_monitor_without_a_stream_of_the_champion_is_told_with_what_to_do() -> None:
    config = parse(YAML.replace("language=es", "language=fr"))
    assert list(unwatched_status.unmeasured(config, verdict(3, day(0)))) == [
        "post@3: not watched: errors (language=fr): no reference for error: add held-out cases to "
        "evals/ that have it, or take it out of model.yaml"
    ]
