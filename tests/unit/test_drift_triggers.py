"""When incidents, new pairs, a score, a cadence or a command lead to a request for a new version,
and what holds it up."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from drift_world import CONFIG, MODEL, day, retrain, routing, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.drift.backlog import AHEAD_MS
from driftgate.drift.supply import New
from driftgate.drift.triggers import (
    NOT_COOLING,
    TRAINING_DAYS,
    Ask,
    OpenIncident,
    RetrainState,
    RoutingContext,
    Score,
    Spent,
    Suppressed,
    UnderWay,
    asked,
    commanded,
    decide,
    in_earnest,
    is_below_bar,
    open_incidents,
    request,
    routing_context,
    score_of,
    spent,
    unanswered,
    under_way,
    unreleased,
    versions_in_season,
)
from driftgate.errors import BadInput
from driftgate.events import (
    DAY_MS,
    HOUR_MS,
    Axis,
    Candidate,
    DriftAlert,
    RetrainRequest,
    Verdict,
)
from driftgate.model_repo import Triggers

TRIGGERS = Triggers.model_validate({"drift": {"batch_days": 1, "cooldown_days": 14}})
CADENCE = Triggers.model_validate({"cadence_days": 30})
FIRST = RoutingContext()


def policy(**keys: Any) -> Triggers:
    """Without batch and cooldown, unless they are named."""
    return Triggers.model_validate({"drift": {"batch_days": 0, "cooldown_days": 0}, **keys})


def incident(
    at: float, version: int = 1, name: str = "errors", slice_name: str = "all", **over: Any
) -> OpenIncident:
    """An incident that became evident on a day, about a change three days before."""
    fields = {
        "incident_id": f"{MODEL}@{version}:{name}:{slice_name}",
        "version": version,
        "summary": f"{name} rose by day {at:g} ({slice_name})",
        "since": day(at - 3),
        "opened": day(at),
        "evident": day(at),
        "slices": (slice_name,),
    }
    return OpenIncident(**fields | over)


def waiting(*incidents: OpenIncident, **last: int) -> RetrainState:
    return RetrainState(incidents, last)


def past(reason: Any, time: int, **over: Any) -> RetrainRequest:
    fields = {"retrain_id": f"{reason}:{time}", "model": MODEL, "reason": reason, "time": time}
    return RetrainRequest(**fields | over)


def asks(found: Ask | Suppressed | None) -> Ask:
    assert isinstance(found, Ask), found
    return found


def held_by(found: Ask | Suppressed | None) -> tuple[str, int]:
    assert isinstance(found, Suppressed), found
    return found.hold.kind, found.until


# ---------------------------------------------------------------- incidents


def test_incidents_are_batched_into_one_request() -> None:
    state = waiting(incident(10), incident(10.5, slice_name="language=es"))
    assert decide(state, TRIGGERS, day(10.9)) is None
    event = request(MODEL, asks(decide(state, TRIGGERS, day(11))), FIRST, day(11))
    assert event.reason == "drift"
    assert event.since == day(7)
    assert event.focus_slices == ("language=es",)
    assert event.alerts == tuple(one.incident_id for one in state.incidents)
    assert event.words == "errors rose by day 10 (all), errors rose by day 10.5 (language=es)"


def test_a_batch_ends_though_evidence_goes_on() -> None:
    assert asks(decide(waiting(incident(10, evident=day(10.9))), TRIGGERS, day(11)))


def test_an_id_follows_from_the_incidents_and_not_from_when_they_were_answered() -> None:
    ask = asks(decide(waiting(incident(10), launch=day(0)), TRIGGERS, day(12)))
    first, later = (request(MODEL, ask, FIRST, day(at)).retrain_id for at in (12, 13))
    assert first == later
    other = asks(decide(waiting(incident(10, version=2), launch=day(0)), TRIGGERS, day(12)))
    assert request(MODEL, other, FIRST, day(12)).retrain_id != first
    due = Ask("cadence", due=day(40))
    ids = {request(MODEL, due, FIRST, day(at)).retrain_id for at in (40, 40.5)}
    assert ids == {f"{MODEL}:cadence:{day(40)}"}


def test_an_incident_that_goes_on_after_a_request_asks_by_another_id() -> None:
    """Under the old one it would be the old request, which nobody trains again."""
    states = [waiting(incident(10, evident=day(40)), operator=day(last)) for last in (0, 20)]
    found = [asks(decide(state, TRIGGERS, day(40))) for state in states]
    assert len({request(MODEL, ask, FIRST, day(40)).retrain_id for ask in found}) == 2


def test_accuracy_below_the_bar_is_a_reason_of_its_own() -> None:
    state = waiting(incident(10), incident(10, below_bar=True))
    assert asks(decide(state, TRIGGERS, day(12))).reason == "accuracy"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("errors:all:bar", True),
        ("errors:all:reviewed:bar", True),
        ("errors:all", False),
        ("shares:all:bar", False),  # the share of a label of that name
        ("confidence:all:bar", False),
        ("errors:shop=a:bar", False),  # a slice whose value ends like that
    ],
)
def test_the_bar_is_told_from_a_label_of_that_name(stream: str, expected: bool) -> None:
    assert is_below_bar([stream, "words:all"], CONFIG) is expected


def test_drift_may_be_switched_off() -> None:
    assert decide(waiting(incident(10)), policy(drift={"enabled": False}), day(12)) is None


@pytest.mark.parametrize(
    "reason", ["drift", "accuracy", "score", "new_pairs", "new_label", "cadence", "operator"]
)
def test_within_the_cooldown_incidents_wait_for_its_end(reason: str) -> None:
    state = waiting(incident(10), **{reason: day(5)})
    assert held_by(decide(state, TRIGGERS, day(18))) == ("cooldown", day(19))
    assert asks(decide(state, TRIGGERS, day(19)))


@pytest.mark.parametrize("reason", NOT_COOLING)
def test_a_launch_cools_nothing(reason: str) -> None:
    assert asks(decide(waiting(incident(10), **{reason: day(9)}), TRIGGERS, day(11)))


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
    taken_back = routing_context(routing(1, day(11), epoch=3), on_trial(1, challenger=2))
    assert of(asked_for, context=taken_back, r=2) is None
    assert of(past("drift", day(10), retrain_id="r"), context=FIRST, r=2) is None  # no routing


def test_a_request_is_under_way_while_its_version_is_on_trial() -> None:
    asked_for = past("drift", day(10), retrain_id="r", champion=on_trial(1).champion)
    found = of(asked_for, context=on_trial(1, challenger=2), at=30, r=2)
    assert found is not None and found.version == 2
    taken_back = routing_context(routing(1, day(11), epoch=3), RoutingContext(newest=2))
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
    pending = (incident(52),) if triggers is TRIGGERS else ()
    state = RetrainState(pending, {"drift": day(20)}, UnderWay("r", None, day(62)))
    found = decide(state, triggers, day(60))
    assert held_by(found) == ("under_way", day(62))
    assert isinstance(found, Suppressed)
    assert found.summary.startswith("waits: r is being trained: ")
    assert asks(decide(state, triggers, day(62)))


def test_a_command_of_a_clock_that_is_ahead_asks_now() -> None:
    ahead = commanded(retrain("c-7", day(11)), FIRST, day(9))
    assert ahead.time == day(9) + AHEAD_MS
    assert ahead.retrain_id == commanded(retrain("c-7", day(11)), FIRST, day(12)).retrain_id


def test_after_a_candidate_that_failed_new_evidence_asks_again() -> None:
    old, going_on = incident(10), incident(10, evident=day(13))
    assert unanswered([old], watched=1, last=day(11)) == ()
    state = waiting(*unanswered([going_on], watched=1, last=day(11)), drift=day(11))
    assert isinstance(decide(state, TRIGGERS, day(14)), Suppressed)
    assert asks(decide(state, TRIGGERS, day(25)))


def test_incidents_of_a_version_that_was_replaced_count_no_more() -> None:
    both = [incident(10, version=1), incident(12, version=2)]
    assert unanswered(both, watched=2, last=0) == (both[1],)


def test_the_cadence_counts_from_the_last_request_of_any_reason() -> None:
    assert decide(waiting(), CADENCE, day(100)) is None  # not launched yet
    state = waiting(launch=day(0), drift=day(10))
    assert decide(state, CADENCE, day(39)) is None
    ask = asks(decide(state, CADENCE, day(40.5)))
    assert (ask.reason, ask.due) == ("cadence", day(40))


def test_a_cadence_may_be_a_cron_expression_and_the_earlier_one_counts() -> None:
    """In UTC; day 0 is a Thursday, 1 January 2026."""
    mondays = policy(cron="0 6 * * 1", cadence_days=30)
    state = waiting(launch=day(0))
    assert decide(state, mondays, day(4.2)) is None
    found = [asks(decide(state, mondays, day(at))) for at in (4.25, 6, 20)]
    assert {ask.due for ask in found} == {day(4) + 6 * HOUR_MS}
    rare = policy(cron="0 6 1 7 *", cadence_days=3)
    assert asks(decide(state, rare, day(3))).due == day(3)


def test_a_cadence_heeds_no_cooldown() -> None:
    weekly = policy(cron="0 6 * * 1", drift={"cooldown_days": 14})
    assert asks(decide(waiting(operator=day(3)), weekly, day(4.5)))


# ---------------------------------------------------------------- what is new to learn


@pytest.mark.parametrize(
    ("keys", "enough", "short", "told"),
    [
        ({"new_pairs": 100}, New(100), New(99), "100 new pairs"),
        (
            {"new_label": True},
            New(0, {"refund": 10}),
            New(0, {"refund": 9, "billing": 9}),
            "the champion never answers refund (10 pairs)",
        ),
        (
            {"new_source": 20},
            New(0, {}, {"language=fr": 25}),
            New(0, {}, {"language=fr": 19}),
            "new since the champion was trained: language=fr (25 pairs)",
        ),
    ],
)
def test_enough_that_is_new_asks(keys: dict[str, Any], enough: New, short: New, told: str) -> None:
    (reason,) = keys
    state = RetrainState(asked={"launch": day(0)}, new=enough)
    ask = asks(decide(state, policy(**keys), day(9)))
    assert (ask.reason, ask.summary) == (reason, told)
    assert ask.slices == tuple(enough.sources)
    assert decide(replace(state, new=short), policy(**keys), day(9)) is None
    assert decide(state, policy(), day(9)) is None  # nobody wants it
    assert decide(replace(state, asked={}), policy(**keys), day(9)) is None  # before the launch
    cooling = replace(state, asked={"operator": day(8)})
    patient = policy(**keys, drift={"cooldown_days": 7})
    assert held_by(decide(cooling, patient, day(9))) == ("cooldown", day(15))


def test_what_waits_does_not_keep_back_what_may_be_asked() -> None:
    """Drift waits for the end of the season, and a hundred pairs are there."""
    triggers = policy(new_pairs=100, seasons=[{"name": "new year", "from": "01-01", "to": "01-31"}])
    state = RetrainState((incident(10),), {"launch": day(0)}, new=New(100))
    assert asks(decide(state, triggers, day(12))).reason == "new_pairs"


# ---------------------------------------------------------------- score


def examined(version: int, at: float, accuracy: float, champion: float | None = None) -> Verdict:
    """A verdict on 1,000 held-out cases; `champion`: what version 1 got right of them."""
    axis = {"layer": "task", "name": "accuracy", "slice": "all", "cases": 1000, "passed": True}
    told = Axis(**axis, value=accuracy, low=0, high=1, champion=champion, words="")
    other = replace(told, slice="language=es", value=0.1, champion=0.1)
    pair = None if champion is None else 1
    return replace(verdict(version, day(at)), axes=(other, told), champion=pair)


def test_the_score_of_a_version_is_what_the_harness_last_measured() -> None:
    looks = [examined(2, 30, 0.95, champion=0.91), examined(1, 0, 0.88), examined(3, 60, 0.9, 0.8)]
    assert score_of(1, looks) == Score("post@3", 1, 0.8, 1000, 0.91, day(60))
    assert score_of(2, looks) == Score("post@2", 2, 0.95, 1000, 0.95, day(30))
    assert score_of(4, looks) is None
    assert score_of(None, looks) is None


def test_a_score_below_its_best_asks_once() -> None:
    fallen = score_of(1, [examined(1, 0, 0.9), examined(2, 30, 0.9, champion=0.8)])
    state = RetrainState(asked={"launch": day(0), "cadence": day(30)}, score=fallen)
    ask = asks(decide(state, policy(score_drop=0.05), day(31)))
    assert ask.reason == "score"
    assert ask.summary == (
        "version 1 got 80.0 % of 1000 new held-out cases right, 90.0 % at its best"
    )
    answered = replace(state, asked={"score": day(31)})
    assert decide(answered, policy(score_drop=0.05), day(60)) is None
    assert decide(state, policy(), day(31)) is None


@pytest.mark.parametrize(("cases", "fell"), [(50, False), (1000, True)])
def test_a_score_that_fell_by_luck_does_not_ask(cases: int, fell: bool) -> None:
    """By 8 points."""
    state = RetrainState(asked={"cadence": 1}, score=Score("v", 1, 0.82, cases, 0.9, day(30)))
    assert (decide(state, policy(score_drop=0.05), day(31)) is not None) is fell


# ---------------------------------------------------------------- budget, quiet hours, seasons


def trained(request: RetrainRequest, hours: float) -> Candidate:
    parts = ["adapter_uri", "adapter_digest", "base", "base_digest", "dataset_id", "dataset_uri"]
    parts += ["model_card_uri", "run_uri", "repo_hash"]
    return Candidate(
        retrain_id=request.retrain_id,
        model=MODEL,
        version=2,
        method="lora",
        reason=request.reason,
        train_seconds=hours * 3600,
        time=request.time,
        **dict.fromkeys(parts, ""),
    )


def test_the_budget_counts_what_was_asked_for_in_the_month() -> None:
    """Day 31 is 1 February."""
    asked_for = [past("operator", day(at)) for at in (5, 30.9, 31, 40)]
    candidates = [trained(each, 1.5) for each in asked_for] * 2
    assert spent(asked_for, candidates, day(30.95)) == Spent(2, 3.0)
    assert spent(asked_for, candidates, day(31)) == Spent(1, 1.5)
    assert spent(asked_for, candidates, day(45)) == Spent(2, 3.0)
    assert spent(asked_for, [], day(60)) == Spent(0, 0.0)


@pytest.mark.parametrize(
    ("budget", "gone", "left"),
    [({"runs": 2}, Spent(2), Spent(1, 99)), ({"hours": 4}, Spent(9, 4.2), Spent(9, 3.9))],
)
def test_a_spent_budget_waits_for_the_next_month(
    budget: dict[str, Any], gone: Spent, left: Spent
) -> None:
    state = RetrainState((incident(10),), {"launch": day(0)}, spent=gone)
    assert held_by(decide(state, policy(budget=budget), day(12))) == ("budget", day(31))
    assert asks(decide(replace(state, spent=left), policy(budget=budget), day(12)))


@pytest.mark.parametrize("keys", [{}, {"cadence_days": 3}])
def test_in_quiet_hours_nothing_is_asked(keys: dict[str, Any]) -> None:
    """Across midnight, and on from one quiet span to the next."""
    spans = [{"begin": "22:00", "end": "06:00"}, {"begin": "06:00", "end": "07:30"}]
    nights = policy(quiet=spans, **keys)
    state = RetrainState(() if keys else (incident(2),), {"launch": day(0)})
    morning = day(10) + round(7.5 * HOUR_MS)
    for at in (day(9) + 22 * HOUR_MS, day(10), day(10) + 6 * HOUR_MS, morning - 1):
        assert held_by(decide(state, nights, at)) == ("quiet", morning)
    for at in (morning, day(9) + 22 * HOUR_MS - 1):
        assert asks(decide(state, nights, at))


def test_quiet_days_are_of_a_zone() -> None:
    """Day 2 is a Saturday; in New York it begins five hours later."""
    span = {"days": ["sat"], "begin": "00:00", "end": "00:00", "zone": "America/New_York"}
    state = RetrainState((incident(1),), {"launch": day(0)})
    assert asks(decide(state, policy(quiet=[span]), day(2) + 4 * HOUR_MS))
    assert held_by(decide(state, policy(quiet=[span]), day(2.5))) == ("quiet", day(3) + 5 * HOUR_MS)


WINTER = {"name": "winter", "from": "12-20", "to": "01-12"}


def test_drift_of_a_season_waits_for_its_end() -> None:
    """Over the turn of the year, the last day included."""
    state = RetrainState((incident(8),), {"launch": day(0)}, in_season={"winter": 7})
    found = decide(state, policy(seasons=[WINTER]), day(11.9))
    assert held_by(found) == ("season", day(12))
    assert isinstance(found, Suppressed)
    told = "season winter until 2026-01-13 00:00; version 7 learned from the last one"
    assert told in found.summary
    assert asks(decide(state, policy(seasons=[WINTER]), day(12)))
    assert asks(decide(state, policy(seasons=[WINTER | {"prefer": "train"}]), day(10)))


def test_drift_that_began_before_the_season_does_not_wait() -> None:
    early = replace(incident(8), since=day(-20))
    state = RetrainState((incident(8), early), {"launch": day(-30)})
    assert asks(decide(state, policy(seasons=[WINTER]), day(10)))


def test_the_version_of_the_last_season_is_the_newest_that_passed_in_it() -> None:
    seasons = policy(seasons=[WINTER]).seasons
    year = 365
    verdicts = [
        verdict(4, day(-20 - year)),
        verdict(5, day(2 - year)),
        verdict(6, day(11.5 - year)),
        replace(verdict(7, day(11.6 - year)), result="fail"),
        verdict(8, day(12 - year)),
    ]
    assert versions_in_season(seasons, verdicts, day(5)) == {"winter": 6}
    assert versions_in_season(seasons, verdicts, day(20 - year)) == {"winter": 6}
    assert versions_in_season(seasons, verdicts[:1], day(5)) == {}


# ---------------------------------------------------------------- steps of incidents


def step(transition: Any, at: float, name: str = "i", **over: Any) -> DriftAlert:
    fields = {
        "alert_id": f"{name}:{transition}:{at}",
        "incident_id": name,
        "transition": transition,
        "model": MODEL,
        "version": 1,
        "monitor": "errors",
        "signal": "quality",
        "slice": "all",
        "detector": "e-detector",
        "statistic": 1.0,
        "threshold": 1.0,
        "events": 50,
        "window_start": day(at - 2),
        "window_end": day(at),
        "severity": "critical",
        "summary": f"errors by day {at:g}",
        "time": day(at),
    }
    return DriftAlert(**fields | over)


def test_open_incidents_follow_from_their_steps() -> None:
    steps = [
        step("open", 10),
        step("open", 11, "closed"),
        step("open", 11, "warned", severity="warning"),
        step("open", 11, "slow", signal="operation"),
        step("update", 12, slice="language=es", window_start=day(9), streams=("errors:all:bar",)),
        step("close", 13, "closed"),
        step("open", 13, "again"),
        step("close", 14, "again"),
        step("reopen", 15, "again"),
    ]
    first, again = open_incidents(steps, CONFIG, day(40))
    assert first == OpenIncident(
        "i",
        1,
        "errors by day 12",
        day(9),
        day(10),
        day(12),
        ("all", "language=es"),
        True,
        "quality (language=es)",
    )
    assert (again.opened, again.evident) == (day(15), day(15))


def test_alerts_of_an_older_release_are_incidents_of_their_own() -> None:
    old = {"incident_id": "", "summary": ""}
    found = open_incidents(
        [step("open", 10, "a", **old), step("open", 12, "b", **old)], CONFIG, day(13)
    )
    assert [one.incident_id for one in found] == ["a:open:10", "b:open:12"]
    assert found[0].summary == "errors (all)"
    assert [one.evident for one in found] == [day(10), day(12)]  # each is one alert


def test_an_open_incident_goes_on_until_it_would_have_been_told_again() -> None:
    """Its further alarms make no steps."""
    for now, evident in ((13, 13), (16.9, 16.9), (18, 10)):
        (found,) = open_incidents([step("open", 10)], CONFIG, day(now))
        assert (found.opened, found.evident) == (day(10), day(evident))
    assert not open_incidents([step("open", 10), step("close", 11)], CONFIG, day(12))


# ---------------------------------------------------------------- versions that nobody released


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (6, False),  # champion
        (8, False),  # on trial
        (4, False),  # released before; its answers come late
        (5, True),  # failed the gate
        (7, True),  # has no verdict
        (9, True),  # passed, and was never routed
        (99, True),
    ],
)
def test_answers_of_a_version_that_was_never_released(version: int, expected: bool) -> None:
    context = routing_context(routing(champion=6, challenger=8, time=day(1)))
    assert unreleased(version, context, passed={1, 4, 6, 9}) is expected


def test_where_nothing_is_routed_any_version_may_answer() -> None:
    assert not unreleased(3, FIRST, passed=())


# ---------------------------------------------------------------- whatever happens

STEP = 3 * HOUR_MS
STEPS = 8 * 59  # January and February
TRAINING = 10 * STEP

History = tuple[Triggers, list[int], list[tuple[int, int]]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A policy, when pairs come, and when incidents open and how long they last, in steps."""
    triggers = Triggers.model_validate(
        {
            "drift": {
                "batch_days": draw(st.sampled_from([0, 0.5, 1])),
                "cooldown_days": draw(st.sampled_from([0, 1, 5, 14])),
            },
            "cadence_days": draw(st.sampled_from([None, 9])),
            "new_pairs": draw(st.sampled_from([None, 1, 5])),
            "budget": {"runs": draw(st.sampled_from([None, 1, 3]))},
            "quiet": draw(st.sampled_from([[], [{"begin": "22:00", "end": "06:00"}]])),
        }
    )
    steps = st.integers(1, STEPS)
    pairs = draw(st.lists(steps, max_size=40))
    return triggers, pairs, draw(st.lists(st.tuples(steps, st.integers(1, 150)), max_size=6))


def play(history: History, ticks: int = 1) -> list[RetrainRequest]:
    """Two months, with so many ticks a step: what is asked for after the launch. A training takes
    its time, and fails. Evidence is complete at the end of a step."""
    triggers, pairs, incidents = history
    made = [past("launch", day(0), retrain_id="launch")]
    for tick in range(STEPS * ticks):
        now = day(0) + tick * STEP // ticks
        judged = {one.retrain_id: None for one in made if one.time + TRAINING <= now}
        last = max(asked(made).values())
        evident = [
            incident(0, name=str(number), since=at(opens), opened=at(opens), evident=at(newest))
            for number, (opens, lasts) in enumerate(incidents)
            if (newest := min(tick // ticks, opens + lasts)) >= opens
        ]
        state = RetrainState(
            unanswered(evident, 1, last),
            asked(made),
            under_way(made, judged, FIRST, CONFIG.rollout, now),
            New(sum(last < at(step) <= now for step in pairs)),
            spent=spent(made, [], now),
        )
        ask = decide(state, triggers, now)
        if isinstance(ask, Ask):
            made.append(request(MODEL, ask, FIRST, now))
    return made[1:]


def at(step: int) -> int:
    return day(0) + step * STEP


@settings(max_examples=30, deadline=None)
@given(histories())
def test_no_request_breaks_a_rule(history: History) -> None:
    triggers, made = history[0], play(history)
    assert len({one.retrain_id for one in made}) == len(made)
    cooldown = round(triggers.drift.cooldown_days * DAY_MS)
    for before, after in itertools.pairwise(made):
        assert after.time >= before.time + TRAINING  # one open request at a time
        assert after.reason == "cadence" or after.time >= before.time + cooldown
    for one in made:
        assert not triggers.quiet or 6 <= one.time // HOUR_MS % 24 < 22
    january = sum(one.time < day(31) for one in made)
    runs = triggers.budget.runs or len(made) + 1
    assert january <= runs - 1  # the launch is one
    assert len(made) - january <= runs


@settings(max_examples=15, deadline=None)
@given(histories())
def test_more_ticks_ask_for_the_same(history: History) -> None:
    assert play(history) == play(history, ticks=2)


# ---------------------------------------------------------------- what was asked


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
