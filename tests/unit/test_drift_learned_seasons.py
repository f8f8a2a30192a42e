"""What is learned of incidents that pass by themselves: which do, when their like may come again,
and what is held up by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from drift_world import CONFIG, MODEL, routing, verdict

from driftgate.drift.alarms import Alarm, Condition
from driftgate.drift.incidents import RECOVERED, Incidents, Transition, opened, step
from driftgate.drift.learned_seasons import (
    KEPT,
    LONGEST_MS,
    TOLERANCE_MS,
    PassedIncident,
    learned_seasons,
    passed_by_now,
)
from driftgate.drift.model_state import ModelState
from driftgate.drift.ticking import Heard, tick
from driftgate.drift.timetable import moment
from driftgate.drift.triggers import (
    Ask,
    Hold,
    OpenIncident,
    RetrainState,
    Suppressed,
    action,
    decide,
    routing_context,
)
from driftgate.events import DAY_MS, HOUR_MS, RetrainRequest
from driftgate.model_repo import Triggers

ERRORS = "quality (all)"


def on(text: str) -> int:
    """A day, ms."""
    return moment(datetime.fromisoformat(text).replace(tzinfo=UTC))


SINCE, CLOSED = on("2025-12-20"), on("2026-01-12")


def alarm(since: int, version: int = 3, **over: Any) -> Alarm:
    """Of a change that is evident two days after it began."""
    fields: dict[str, Any] = {
        "version": version,
        "stream": "errors:all",
        "monitor": "errors",
        "signal": "quality",
        "slice": "all",
        "part": "",
        "severity": "critical",
        "known": since + 2 * DAY_MS,
        "since": since,
        "earliest": since - DAY_MS,
        "latest": since + DAY_MS,
        "n": 96,
        "bad": 23.0,
        "reference": 0.11,
        "mean": 0.14,
        "level": 1.3,
        "examples": (),
        "summary": "errors rose",
    }
    return Alarm(**fields | over)


def closing(since: int = SINCE, at: int = CLOSED, why: str = RECOVERED, **over: Any) -> Transition:
    begun = opened(MODEL, alarm(since, **over), since + 2 * DAY_MS)
    return Transition("close", at, replace(begun, closed=at), why)


def after(
    *steps: Transition,
    before: Sequence[PassedIncident] = (),
    requested: Sequence[str] = (),
    champion: int | None = 3,
    champion_since: int = 0,
) -> tuple[PassedIncident, ...]:
    return passed_by_now(before, steps, requested, champion, champion_since)


def passed(since: int = SINCE, closed: int = CLOSED, about: str = ERRORS) -> PassedIncident:
    return PassedIncident(f"i:{since}", about, since, closed, 3)


# ---------------------------------------------------------------- what has passed


def test_what_recovers_under_one_champion_has_passed() -> None:
    (found,) = after(closing(slice="language=es"), champion_since=SINCE)
    incident_id = f"{MODEL}@3:errors:all:{SINCE + 2 * DAY_MS}"
    assert found == PassedIncident(incident_id, "quality (language=es)", SINCE, CLOSED, 3)


@pytest.mark.parametrize(
    "others",
    [
        {"champion": 4},
        {"champion": None},
        {"champion_since": SINCE + 1},  # such as one that was taken back to meanwhile
        {"requested": (closing().incident.incident_id,)},
    ],
)
def test_what_something_was_done_about_has_not(others: dict[str, Any]) -> None:
    assert after(closing(), **others) == ()


@pytest.mark.parametrize("over", [{"severity": "warning"}, {"signal": "operation"}])
def test_nor_has_what_no_training_would_mend(over: dict[str, Any]) -> None:
    assert after(closing(**over)) == ()


def test_an_incident_passes_by_its_own_steps_alone() -> None:
    """One that is calm for a day; not one that nobody speaks of any more, nor one whose version is
    replaced. One that opens again has not passed until it closes again."""
    book, known = Incidents(MODEL), ()

    def heard(now: int, *said: Alarm | Condition, watched: int = 3) -> tuple[PassedIncident, ...]:
        nonlocal book, known
        alarms = [one for one in said if isinstance(one, Alarm)]
        conditions = [one for one in said if isinstance(one, Condition)]
        book, steps = step(book, alarms, conditions, {watched}, now)
        known = after(*steps, before=known)
        return known

    again = CLOSED + 3 * DAY_MS
    assert heard(CLOSED - DAY_MS, alarm(SINCE), calm(CLOSED - DAY_MS)) == ()
    assert [one.closed for one in heard(CLOSED + HOUR_MS)] == [CLOSED]
    assert heard(again, alarm(SINCE, known=again)) == ()
    assert heard(again + DAY_MS, calm(again + HOUR_MS)) == ()
    (found,) = heard(again + 2 * DAY_MS)
    assert (found.since, found.closed) == (SINCE, again + DAY_MS + HOUR_MS)

    silent, spring = (found,), on("2026-03-01")
    assert heard(spring, alarm(spring)) == silent
    assert heard(on("2026-05-01")) == silent
    assert not book.open
    assert heard(on("2026-06-01"), alarm(on("2026-05-25"))) == silent
    assert heard(on("2026-06-02"), watched=4) == silent
    assert not book.open


def calm(at: int) -> Condition:
    return Condition(3, "errors:all", at, True)


def test_the_newest_are_remembered() -> None:
    steps = [closing(SINCE + n * DAY_MS, SINCE + (n + 9) * DAY_MS) for n in range(KEPT + 6)]
    found = after(*steps)
    assert len(found) == KEPT
    assert found == after(*steps[50:], before=after(*steps[:50]))
    assert found[0].since == SINCE + 6 * DAY_MS


@pytest.mark.parametrize(
    "closed",
    [
        SINCE - 9 * DAY_MS,  # the clock went back
        SINCE,
        SINCE + LONGEST_MS + 1,
        SINCE + 400 * DAY_MS,  # it lasted longer than a year, or the clock jumped
    ],
)
def test_what_has_no_days_of_the_year_is_no_season(closed: int) -> None:
    assert after(closing(at=closed)) == ()
    assert len(after(closing(at=SINCE + LONGEST_MS))) == 1


def test_who_is_champion_stays_it_through_the_stages_of_a_rollout() -> None:
    first = routing_context(routing(3, SINCE))
    tried = routing_context(routing(3, SINCE + 1, epoch=2, challenger=4), first)
    assert (first.since, tried.since) == (SINCE, SINCE)
    new = routing_context(routing(4, SINCE + 2, epoch=3), tried)
    back = routing_context(routing(3, SINCE + 3, epoch=4), new)
    assert (new.since, back.since) == (SINCE + 2, SINCE + 3)


# ---------------------------------------------------------------- the days that come again


@pytest.mark.parametrize(
    ("since", "closed", "begin", "end"),
    [
        ("2025-12-20T09:30", "2026-01-12T17:00", "2026-12-20", "2027-01-13"),  # over New Year
        ("2025-03-01", "2025-03-31", "2026-03-01", "2026-04-01"),
        ("2028-02-29", "2028-03-09", "2029-02-28", "2029-03-10"),
        ("2028-02-10", "2028-02-29T23:59", "2029-02-10", "2029-03-01"),
        ("2027-02-20", "2027-03-01", "2028-02-20", "2028-03-02"),
    ],
)
def test_a_season_comes_on_the_same_days_a_year_later(
    since: str, closed: str, begin: str, end: str
) -> None:
    known = [passed(on(since), on(closed))]
    (season,) = learned_seasons(known, (), on(closed))
    assert (season.begin, season.end) == (on(begin) - TOLERANCE_MS, on(end) + TOLERANCE_MS)
    assert learned_seasons(known, (), season.end - 1) == (season,)
    assert learned_seasons(known, (), season.end) == ()


def test_what_passed_in_the_future_of_a_clock_that_went_back_holds_nothing_now() -> None:
    (season,) = learned_seasons([passed()], (), on("2024-12-25"))
    assert season.begin > CLOSED


def test_the_version_that_served_well_is_named() -> None:
    verdicts = [
        verdict(1, SINCE - 1),
        verdict(5, SINCE + DAY_MS),
        verdict(6, CLOSED + TOLERANCE_MS - 1),
        replace(verdict(7, CLOSED), result="fail"),
        verdict(8, CLOSED + TOLERANCE_MS),
    ]
    (season,) = learned_seasons([passed()], verdicts, CLOSED)
    assert season.summary == (
        "learned season until 2027-01-27 00:00: quality (all) passed by itself, "
        "2025-12-20 00:00 to 2026-01-12 00:00; version 6 learned from the last one"
    )
    (season,) = learned_seasons([passed()], verdicts[:1], CLOSED)
    assert season.summary.endswith("; version 3 came through the last one")


# ---------------------------------------------------------------- what that holds up

BEGIN, END = on("2026-12-06"), on("2027-01-27")


def policy(**keys: Any) -> Triggers:
    drift = {"batch_days": 0, "cooldown_days": 0}
    return Triggers.model_validate({"drift": drift, "learned_seasons": "wait", **keys})


def begun(since: int, about: str = ERRORS) -> OpenIncident:
    """An open incident, evident after a day."""
    evident = since + DAY_MS
    return OpenIncident(f"{about}:{since}", 3, "errors rose", since, evident, evident, about=about)


def state(
    *incidents: OpenIncident, known: Sequence[PassedIncident] = (passed(),), now: int = BEGIN
) -> RetrainState:
    learned = learned_seasons(known, (), now)
    return RetrainState(incidents, {"launch": SINCE - DAY_MS}, learned=learned)


def held(found: Ask | Suppressed | None) -> Hold:
    assert isinstance(found, Suppressed), found
    return found.hold


@pytest.mark.parametrize("since", [BEGIN, on("2026-12-20"), on("2027-01-13"), END - 3 * DAY_MS])
def test_what_begins_on_those_days_waits_until_they_are_over(since: int) -> None:
    waits = state(begun(since))
    for now in (since + DAY_MS, END - 1):
        hold = held(decide(waits, policy(), now))
        assert (hold.kind, hold.until) == ("season", END)
        assert "version 3 came through the last one" in hold.summary
    assert isinstance(decide(waits, policy(), END), Ask)


@pytest.mark.parametrize(
    "others",
    [
        (begun(BEGIN - 1),),
        (begun(on("2026-12-20"), "quality (language=es)"),),
        (begun(on("2026-12-20"), "input (all)"),),
        (begun(on("2026-12-20")), begun(on("2026-12-20"), "input (all)")),
        (begun(on("2027-12-20")),),  # two years later
    ],
)
def test_what_is_not_wholly_of_the_season_asks(others: tuple[OpenIncident, ...]) -> None:
    now = max(one.evident for one in others)
    assert isinstance(decide(state(*others), policy(), now), Ask)


def test_of_several_seasons_each_incident_waits_for_its_own() -> None:
    """Until the first is over: then one of the incidents is of none."""
    words = passed(SINCE, on("2026-01-02"), "input (all)")
    known = [passed(), words, passed(SINCE, on("2025-12-25"))]
    both = state(begun(on("2026-12-20")), begun(on("2026-12-21"), "input (all)"), known=known)
    until = on("2027-01-03") + TOLERANCE_MS
    assert held(decide(both, policy(), on("2026-12-24"))).until == until
    one = state(begun(on("2026-12-20")), known=known)
    assert held(decide(one, policy(), on("2026-12-24"))).until == END


def test_what_is_declared_of_the_days_counts_first() -> None:
    waits, now = state(begun(on("2026-12-20"))), on("2026-12-24")
    sales = {"name": "sales", "from": "12-10", "to": "12-31"}
    assert held(decide(waits, policy(seasons=[sales]), now)).until == on("2027-01-01")
    assert isinstance(decide(waits, policy(seasons=[sales | {"prefer": "train"}]), now), Ask)
    other = {"name": "summer", "from": "07-01", "to": "07-31", "prefer": "train"}
    assert held(decide(waits, policy(seasons=[other]), now)).until == END


def test_unless_model_yaml_says_wait_a_learned_season_is_only_told() -> None:
    found, now = state(begun(on("2026-12-20"))), on("2026-12-24")
    told = "learned season until 2027-01-27 00:00: quality (all) passed by itself"
    default = Triggers.model_validate({"drift": {"batch_days": 0}})
    ask = decide(found, default, now)
    assert isinstance(ask, Ask)
    assert ask.summary.startswith(f"errors rose; {told}")
    assert action(found, default, now).startswith(
        f"a new version is asked for at 2026-12-24 00:00; {told}"
    )
    assert action(found, policy(), now).startswith(f"waits: {told}")
    assert action(state(begun(BEGIN - 1)), default, now).endswith("2026-12-24 00:00")


# ---------------------------------------------------------------- a tick


@pytest.mark.parametrize(("answered", "count"), [(False, 1), (True, 0)])
def test_a_tick_remembers_what_passed_unless_it_was_asked_about(answered: bool, count: int) -> None:
    book, _ = step(Incidents(MODEL), [alarm(SINCE)], [calm(CLOSED)], {3}, CLOSED)
    (incident,) = book.open
    known = ModelState(incidents=book, under=routing_context(routing(3, SINCE)))
    request = RetrainRequest(
        retrain_id="r",
        model=MODEL,
        reason="drift",
        alerts=(incident.incident_id,) if answered else ("another",),
        time=SINCE + 5 * DAY_MS,
    )
    known.evidence.closed = CLOSED + DAY_MS
    found = tick(known, (), Heard(requests=[request]), CONFIG, CLOSED + DAY_MS)
    assert len(known.passed) == count
    assert found.passed == (known.passed if count else None)
    assert tick(known, (), Heard(requests=[request]), CONFIG, CLOSED + 2 * DAY_MS).passed is None
