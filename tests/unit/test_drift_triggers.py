"""When alerts, a cadence or a command lead to a request for a new version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from drift_world import CONFIG, MODEL, day, retrain, routing

from driftgate.drift.backlog import AHEAD_MS
from driftgate.drift.triggers import (
    TRAINING_DAYS,
    Ask,
    PendingAlert,
    RetrainState,
    RoutingContext,
    Suppressed,
    UnderWay,
    asked,
    commanded,
    decide,
    in_earnest,
    request,
    routing_context,
    unanswered,
    under_way,
)
from driftgate.errors import BadInput
from driftgate.events import DAY_MS, RetrainRequest
from driftgate.model_repo import Triggers

TRIGGERS = Triggers.model_validate({"drift": {"batch_days": 1, "cooldown_days": 14}})
CADENCE = Triggers.model_validate({"cadence_days": 30})
FIRST = RoutingContext()


def alert(at: float, version: int = 1, stream: str = "errors:all", **over: Any) -> PendingAlert:
    """An alert that became evident on a day, about a change three days before."""
    slice_name = stream.partition(":")[2]
    return PendingAlert(
        **{
            "alert_id": f"{MODEL}@{version}:{stream}:{day(at)}",
            "version": version,
            "slice": slice_name,
            "summary": f"errors rose by day {at:g} ({slice_name})",
            "since": day(at - 3),
            "time": day(at),
            **over,
        }
    )


def waiting(*alerts: PendingAlert, **last: int) -> RetrainState:
    return RetrainState(alerts, last)


def past(reason: Any, time: int, **over: Any) -> RetrainRequest:
    fields = {"retrain_id": f"{reason}:{time}", "model": MODEL, "reason": reason, "time": time}
    return RetrainRequest(**fields | over)


def test_alerts_are_batched_into_one_request() -> None:
    state = waiting(alert(10), alert(10.5, stream="errors:language=es"))
    assert decide(state, TRIGGERS, day(10.9)) is None
    ask = decide(state, TRIGGERS, day(11))
    assert isinstance(ask, Ask)
    event = request(MODEL, ask, FIRST, day(11))
    assert event.reason == "drift"
    assert event.since == day(7)
    assert event.focus_slices == ("language=es",)
    assert event.alerts == tuple(alert.alert_id for alert in state.pending)
    assert event.words == "errors rose by day 10 (all), errors rose by day 10.5 (language=es)"


def test_a_stream_that_alarms_again_is_told_once() -> None:
    event = request(MODEL, Ask("drift", (alert(10), alert(11))), FIRST, day(12))
    assert event.words == "errors rose by day 11 (all)"
    assert len(event.alerts) == 2


def test_an_id_follows_from_the_alerts_and_not_from_when_they_were_answered() -> None:
    ask = Ask("drift", (alert(10), alert(11)))
    first, later = (request(MODEL, ask, FIRST, day(at)).retrain_id for at in (12, 13))
    assert first == later
    other = request(MODEL, Ask("drift", (alert(10),)), FIRST, day(12)).retrain_id
    assert other != first
    due = Ask("cadence", due=day(40))
    ids = {request(MODEL, due, FIRST, day(at)).retrain_id for at in (40, 40.5)}
    assert ids == {f"{MODEL}:cadence:{day(40)}"}


@pytest.mark.parametrize("reason", ["drift", "cadence", "operator"])
def test_within_the_cooldown_alerts_wait_for_its_end(reason: str) -> None:
    state = waiting(alert(10), **{reason: day(5)})
    assert decide(state, TRIGGERS, day(18)) == Suppressed(day(19), state.pending)
    assert decide(state, TRIGGERS, day(19)) == Ask("drift", state.pending)


@pytest.mark.parametrize("reason", ["launch", "erasure"])
def test_a_launch_cools_nothing(reason: str) -> None:
    state = waiting(alert(10), **{reason: day(9)})
    assert isinstance(decide(state, TRIGGERS, day(11)), Ask)


def on_trial(champion: int, challenger: int | None = None) -> RoutingContext:
    return routing_context(routing(champion, day(1), challenger=challenger))


def of(
    *requests: RetrainRequest, context: RoutingContext, at: float = 11, **judged: int | None
) -> UnderWay | None:
    return under_way(requests, judged, context, CONFIG.rollout, day(at))


def test_a_request_is_under_way_until_its_verdict() -> None:
    champion = on_trial(1)
    asked_for = past("drift", day(10), retrain_id="r", champion=champion.champion)
    found = of(asked_for, context=champion)
    assert found == UnderWay("r", None, day(10 + TRAINING_DAYS))
    assert of(asked_for, context=champion, r=None) is None  # it failed


def test_a_version_that_passed_is_waited_for_until_it_was_tried() -> None:
    """The promoter may take up a verdict after the next tick, or not at all."""
    routed = on_trial(1)
    asked_for = past("drift", day(10), retrain_id="r", champion=routed.champion)
    found = of(asked_for, context=routed, r=2)
    assert found == UnderWay("r", 2, day(10 + TRAINING_DAYS))
    taken_back = routing_context(routing(1, day(11), epoch=3), on_trial(1, challenger=2).newest)
    assert of(asked_for, context=taken_back, r=2) is None
    assert of(past("drift", day(10), retrain_id="r"), context=FIRST, r=2) is None  # no routing


def test_a_request_is_under_way_while_its_version_is_on_trial() -> None:
    asked_for = past("drift", day(10), retrain_id="r", champion=on_trial(1).champion)
    found = of(asked_for, context=on_trial(1, challenger=2), at=30, r=2)
    assert found is not None and found.version == 2
    taken_back = routing_context(routing(1, day(11), epoch=3), newest=2)
    assert of(asked_for, context=taken_back, r=2) is None
    assert of(asked_for, context=on_trial(2), at=30, r=2) is None  # released
    assert of(asked_for, context=on_trial(1, challenger=3), at=30, r=2) is None


def test_a_request_that_another_champion_overtook_is_not_waited_for() -> None:
    """The trainer refuses it, and says so nowhere but in the audit."""
    asked_for = past("drift", day(10), champion=on_trial(1).champion)
    assert of(asked_for, context=on_trial(2)) is None
    assert of(past("drift", day(10)), context=on_trial(2)) is not None  # is trained against 2


def test_nothing_is_waited_for_without_an_end() -> None:
    """Not a request that was refused or dead-lettered, nor a rollout that nobody ends."""
    asked_for = past("drift", day(10), retrain_id="r")
    assert of(asked_for, context=FIRST, at=10 + TRAINING_DAYS) is None
    longest = TRAINING_DAYS + CONFIG.rollout.max_days * len(CONFIG.rollout.stages)
    tried = on_trial(1, challenger=2)
    assert of(asked_for, context=tried, at=10 + longest - 0.1, r=2) is not None
    assert of(asked_for, context=tried, at=10 + longest, r=2) is None


@pytest.mark.parametrize("triggers", [TRIGGERS, CADENCE])
def test_what_is_under_way_is_waited_for_after_the_cooldown_too(triggers: Triggers) -> None:
    waits = UnderWay("r", None, day(62))
    pending = (alert(52),) if triggers is TRIGGERS else ()
    state = RetrainState(pending, {"drift": day(20)}, waits)
    found = decide(state, triggers, day(60))
    assert found == Suppressed(day(62), pending, waits)
    assert found.summary.startswith("waits: r is being trained: ")
    assert isinstance(decide(state, triggers, day(62)), Ask)


def test_a_command_of_a_clock_that_is_ahead_asks_now() -> None:
    ahead = commanded(retrain("c-7", day(11)), FIRST, day(9))
    assert ahead.time == day(9) + AHEAD_MS
    assert ahead.retrain_id == commanded(retrain("c-7", day(11)), FIRST, day(12)).retrain_id


def test_after_a_candidate_that_failed_new_alerts_ask_again() -> None:
    state = unanswered(waiting(alert(10), drift=day(11)), [], watched=1)
    assert decide(state, TRIGGERS, day(40)) is None  # nothing new
    state = unanswered(state, [alert(13)], watched=1)
    assert isinstance(decide(state, TRIGGERS, day(14)), Suppressed)
    assert decide(state, TRIGGERS, day(25)) == Ask("drift", (alert(13),))


def test_alerts_about_a_version_that_was_replaced_are_dropped() -> None:
    state = unanswered(waiting(alert(10, version=1)), [alert(12, version=2)], watched=2)
    assert state.pending == (alert(12, version=2),)


def test_alerts_that_the_last_request_answers_are_dropped() -> None:
    assert not unanswered(waiting(operator=day(12)), [alert(11.5)], watched=1).pending


def test_the_cadence_counts_from_the_last_request_of_any_reason() -> None:
    assert decide(waiting(), CADENCE, day(100)) is None  # not launched yet
    state = waiting(launch=day(0), drift=day(10))
    assert decide(state, CADENCE, day(39)) is None
    assert decide(state, CADENCE, day(40.5)) == Ask("cadence", due=day(40))


def test_what_was_asked_counts_from_its_time_on_and_drills_do_not() -> None:
    requests = [
        past("drift", day(30)),
        past("drift", day(30) - 9 * DAY_MS),
        past("operator", day(31), drill="shuffle-labels:language=es"),
        past("launch", day(1), model="other"),
    ]
    assert asked(in_earnest(requests, MODEL, day(29))) == {"drift": day(21)}
    assert asked(in_earnest(requests, MODEL, day(40))) == {"drift": day(30)}


def test_a_command_becomes_a_request_with_the_id_of_the_command() -> None:
    event = commanded(retrain("c-7", day(3), seed_uri="sha256:1", reason="launch"), FIRST, day(9))
    assert event.retrain_id == "post:launch:c-7"
    assert (event.reason, event.seed_uri, event.time) == ("launch", "sha256:1", day(3))
    drill = commanded(retrain("c-8", day(4), drill="shuffle-labels:language=es"), FIRST, day(9))
    assert (drill.reason, drill.drill) == ("operator", "shuffle-labels:language=es")


def test_a_command_of_an_unknown_reason_is_refused() -> None:
    with pytest.raises(BadInput, match=r"args.reason: got 'drift', expected one of launch"):
        commanded(retrain("c-9", day(1), reason="drift"), FIRST, day(9))


def test_a_training_for_an_erasure_is_refused_in_words() -> None:
    with pytest.raises(BadInput, match="nobody is erased by a training"):
        commanded(retrain("c-9", day(1), reason="erasure"), FIRST, day(9))


def test_the_champion_of_a_routing_is_who_is_no_challenger() -> None:
    found = routing_context(routing(champion=3, challenger=4, time=day(1), epoch=7))
    assert found.epoch == 7
    assert found.champion is not None
    assert (found.champion.version, found.champion.digest) == (3, "3" * 64)
    assert (found.champion.base, found.champion.base_digest) == ("all-MiniLM-L6-v2", "b" * 64)


def test_a_champion_on_a_base_of_its_own_keeps_it() -> None:
    event = routing(champion=3, time=day(1))
    (arm,) = event.arms
    found = routing_context(replace(event, arms=(replace(arm, base="bert", base_digest="c" * 64),)))
    assert found.champion is not None
    assert (found.champion.base, found.champion.base_digest) == ("bert", "c" * 64)


def test_a_request_says_under_which_routing_it_was_made() -> None:
    now = routing_context(routing(champion=3, time=day(1), epoch=7))
    for event in (
        request(MODEL, Ask("cadence", due=day(2)), now, day(2)),
        commanded(retrain("c", day(2)), now, day(9)),
    ):
        assert (event.epoch, event.champion) == (7, now.champion)
