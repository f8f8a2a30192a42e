"""What alarms come to: few steps of few incidents, the same however time is cut."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from drift_world import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from typer.testing import CliRunner

from driftgate.drift.alarms import About, Alarm, Condition
from driftgate.drift.incident_alerts import CAUSES, Known, alert
from driftgate.drift.incidents import MOST, REMINDER_MS, Incidents, Transition, step
from driftgate.drift.triggers import critical, open_incidents, unanswered
from driftgate.events import DAY_MS, HOUR_MS, DriftAlert
from driftgate.model_repo import Monitor
from services.console.cli import app

MODEL = "support-triage"
KEPT_MS = 30 * DAY_MS  # by topic `drift.alerts`
START = 20_000 * DAY_MS
ERRORS, SPANISH, WORDS = "errors:all", "errors:language=es", "words:all"
SIGNALS: dict[str, About] = {
    "errors": "quality",
    "words": "input",
    "shares": "output",
    "broken": "output",
    "latency": "operation",
    "reviewers": "quality",
    "clusters": "input",
}
KNOWN = Known(
    MODEL,
    {
        "shares": Monitor(name="shares", signal="output", value="share"),
        "broken": Monitor(name="broken", signal="output", value="broken"),
        "reviewers": Monitor(name="reviewers", signal="quality", value="disagreement"),
        "clusters": Monitor(name="clusters", signal="input", value="new_cluster"),
    },
)


def hour(at: float) -> int:
    return START + round(at * HOUR_MS)


def alarm(at: float, stream: str = ERRORS, version: int = 3, **over: Any) -> Alarm:
    """One that is known at an hour, of a change that began between 4 and 2 hours before."""
    monitor, slice_name, *_ = stream.split(":")
    known = over.pop("known", hour(at))
    return Alarm(
        **{
            "version": version,
            "stream": stream,
            "monitor": monitor,
            "signal": SIGNALS[monitor],
            "slice": slice_name,
            "part": "",
            "severity": "critical",
            "known": known,
            "since": known - 3 * HOUR_MS,
            "earliest": known - 4 * HOUR_MS,
            "latest": known - 2 * HOUR_MS,
            "n": 96,
            "bad": 23.0,
            "reference": 0.11,
            "mean": 0.14,
            "level": 1.3,
            "examples": ("r-17", "r-23"),
            "summary": f"{monitor} rose from 11 % to 24 % ({slice_name}): 23 of 96, expected 11",
            **over,
        }
    )


def calm(at: float, stream: str = ERRORS, calm: bool = True, version: int = 3) -> Condition:
    return Condition(version, stream, hour(at), calm)


def unwatched(at: float, stream: str = ERRORS, version: int = 3) -> Condition:
    """As when its monitor is taken out of model.yaml."""
    return Condition(version, stream, hour(at), calm=True, watched=False)


class Told:
    """What was told so far, and the incidents behind it."""

    def __init__(self) -> None:
        self.incidents = Incidents(MODEL)
        self.told: list[Transition] = []

    def step(self, now: float, *heard: Alarm | Condition, watched: Sequence[int] = (3,)) -> None:
        alarms = [one for one in heard if isinstance(one, Alarm)]
        conditions = [one for one in heard if isinstance(one, Condition)]
        self.incidents, told = step(self.incidents, alarms, conditions, watched, hour(now))
        self.told += told

    @property
    def steps(self) -> list[str]:
        return [transition.kind for transition in self.told]


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_change_that_lasts_is_one_incident_with_few_updates(told: Told) -> None:
    """A hundred streams that grow worse for ten days, hour by hour."""
    for at in range(240):
        worse = replace(alarm(at, f"errors:shop={at % 100}"), bad=min(96.0, 15.0 + at / 3))
        told.step(at, worse)
    assert told.steps[0] == "open"
    assert set(told.steps[1:]) == {"update"}
    for at in range(240):
        updates = [one for one in told.told if hour(at) < one.at <= hour(at) + DAY_MS]
        assert len([one for one in updates if one.kind == "update"]) <= 5
    assert len(told.told[-1].incident.members) == 100


def test_a_stream_that_alarms_again_is_fresh_evidence(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(9, alarm(9))
    assert told.steps == ["open"]
    (incident,) = told.incidents.open
    assert incident.evident == hour(9)
    assert incident.since == hour(-3)
    assert incident.shown.known == hour(9)


def test_a_stream_that_knows_the_date_to_some_days_only_does_not_blur_it(told: Told) -> None:
    told.step(0, alarm(0))
    known = told.incidents.open[0]
    told.step(1, alarm(1, SPANISH, earliest=hour(-300), since=hour(-90), latest=hour(20)))
    (incident,) = told.incidents.open
    assert (incident.since, incident.earliest) == (known.since, known.earliest)
    told.step(2, alarm(2, WORDS, earliest=hour(-90), since=hour(-80), latest=hour(-70)))
    assert told.incidents.open[0].since == hour(-80)


def test_slices_join_and_the_update_names_them(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(1, alarm(1, SPANISH))
    assert told.steps == ["open", "update"]
    assert told.told[1].why == "errors:language=es joined"
    assert alert(told.told[1], KNOWN).streams == (ERRORS, SPANISH)


def test_alarms_of_one_time_open_one_incident_that_names_all(told: Told) -> None:
    told.step(0, alarm(0, WORDS), alarm(0, SPANISH), alarm(0))
    assert told.steps == ["open"]
    assert told.told[0].incident.incident_id == f"{MODEL}@3:errors:all:{hour(0)}"
    assert set(told.told[0].incident.members) == {ERRORS, SPANISH, WORDS}


def test_two_versions_are_two_incidents(told: Told) -> None:
    told.step(0, alarm(0), alarm(0, version=4), watched=(3, 4))
    assert told.steps == ["open", "open"]
    assert told.told[1].elsewhere == (3,)


def test_operation_is_apart(told: Told) -> None:
    told.step(0, alarm(0), alarm(0, "latency:all"))
    assert {one.incident.is_operation for one in told.told} == {True, False}


def test_another_change_is_another_incident(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(200, alarm(200, SPANISH))  # dated 196 h at the earliest, evidence ended at 0 h
    told.step(201, alarm(201, WORDS, earliest=hour(-400), since=hour(-350), latest=hour(-300)))
    assert told.steps == ["open", "open", "open"]


def test_what_may_be_the_same_change_joins(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(200, alarm(200, SPANISH, earliest=hour(160)))
    assert told.steps == ["open", "update"]


def test_a_rise_of_the_severity_does_not_wait(told: Told) -> None:
    told.step(0, alarm(0, WORDS, severity="warning"))
    told.step(0.01, alarm(0.01))
    assert told.steps == ["open", "update"]
    assert told.told[1].at == hour(0.01)
    assert told.told[1].why == "it is critical now, errors:all joined"
    assert told.told[1].incident.shown.stream == ERRORS


def test_a_stream_twice_as_bad_is_an_update_and_a_little_worse_is_none(told: Told) -> None:
    told.step(0, alarm(0, bad=20.0))
    told.step(5, alarm(5, bad=24.0))
    assert told.steps == ["open"]
    told.step(6, alarm(6, bad=60.0))
    assert told.steps == ["open", "update"]
    assert told.told[1].why == "errors:all at least doubled"


def test_what_waits_is_told_by_the_next_step(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(0.02, alarm(0.02, SPANISH))
    told.step(0.04, alarm(0.04, WORDS))
    assert told.steps == ["open"]
    told.step(3)
    assert told.steps == ["open", "update"]
    assert told.told[1].at == hour(1 / 6)
    assert told.told[1].why == "errors:language=es, words:all joined"


def test_it_closes_once_all_streams_are_calm_for_a_day(told: Told) -> None:
    told.step(0, alarm(0), alarm(0, SPANISH))
    told.step(10, calm(10))
    told.step(40)
    assert told.steps == ["open"]
    told.step(50, calm(50, SPANISH))
    told.step(60, calm(60, SPANISH, calm=False))
    told.step(70, calm(70, SPANISH))
    told.step(71, calm(71, SPANISH))
    told.step(93)
    assert told.steps == ["open"]
    told.step(94)
    assert told.steps == ["open", "close"]
    assert (told.told[1].at, told.told[1].why) == (hour(94), "calm for a day")
    assert told.incidents.open == ()


def test_fresh_evidence_ends_calm(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(10, calm(10))
    told.step(34, alarm(34))  # at the very end of the day
    told.step(60)
    assert told.steps == ["open"]


def test_it_reopens_under_its_id_within_seven_days(told: Told) -> None:
    told.step(0, alarm(0), alarm(0, WORDS), calm(1), calm(1, WORDS))
    told.step(24 + 7 * 24, alarm(24 + 7 * 24, WORDS))
    assert told.steps == ["open", "close", "reopen"]
    assert len({one.incident.incident_id for one in told.told}) == 1
    assert told.told[2].incident.shown.stream == WORDS
    assert told.told[2].why == "7.0 days after it closed"


def test_what_is_calm_no_more_while_it_is_closed_counts_when_it_reopens(told: Told) -> None:
    told.step(0, alarm(0), alarm(0, WORDS), calm(1), calm(1, WORDS))
    told.step(30, calm(30, WORDS, calm=False))
    told.step(40, alarm(40))
    told.step(80, calm(42))
    assert told.steps == ["open", "close", "reopen"]
    told.step(110, calm(81, WORDS))
    assert told.steps == ["open", "close", "reopen", "close"]
    assert told.told[-1].at == hour(81 + 24)


def test_later_it_is_a_new_incident_and_the_old_one_is_forgotten(told: Told) -> None:
    told.step(0, alarm(0), calm(1))
    told.step(26 + 7 * 24)
    assert told.incidents.known == ()
    told.step(27 + 7 * 24, alarm(27 + 7 * 24))
    assert told.steps == ["open", "close", "open"]


def test_another_stream_does_not_reopen_it(told: Told) -> None:
    told.step(0, alarm(0), calm(1))
    told.step(30, alarm(30, SPANISH))
    assert told.steps == ["open", "close", "open"]


def test_it_closes_where_nothing_is_heard(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(24 * 30)
    assert (told.told[1].kind, told.told[1].at) == ("close", hour(24 * 30))
    assert told.told[1].why == "no new evidence for 30 days"


def test_it_closes_at_once_when_nobody_watches_it_any_more(told: Told) -> None:
    told.step(0, alarm(0), alarm(0, WORDS))
    told.step(9, unwatched(9), unwatched(9, WORDS))
    assert told.steps == ["open", "close"]
    assert (told.told[1].at, told.told[1].why) == (hour(9), "nobody watches it any more")
    assert list(told.told[1].incident.members) == [ERRORS, WORDS]
    told.step(40, alarm(40))  # the monitor is back
    told.step(70, calm(42))
    assert told.steps == ["open", "close", "reopen", "close"]
    assert told.told[-1].why == "calm for a day"


def test_what_is_still_watched_stays_open_by_itself(told: Told) -> None:
    told.step(0, alarm(0), alarm(0, WORDS, severity="warning"))
    told.step(9, unwatched(9))
    assert told.steps == ["open", "update"]
    assert told.told[1].why == "it is only a warning now"
    assert list(told.told[1].incident.members) == [WORDS]
    told.step(10, alarm(10, WORDS, severity="warning"))
    (incident,) = told.incidents.open
    assert incident.shown.stream == WORDS
    told.step(40, calm(12, WORDS))
    assert told.told[-1].why == "calm for a day"


def test_what_goes_on_as_it_was_is_told_again_once_a_week(told: Told) -> None:
    """Topic `drift.alerts` keeps a month: who reads it must find what is still open."""
    for at in range(0, 24 * 60, 6):
        told.step(at, alarm(at))
    assert told.steps == ["open", *["update"] * 8]
    assert [one.at for one in told.told[1:]] == [hour(24 * 7 * week) for week in range(1, 9)]
    assert told.told[1].why == "there is newer evidence"
    told.step(24 * 120)
    assert told.steps[9:] == ["update", "close"]
    times = [one.at for one in told.told]
    assert max(later - at for at, later in itertools.pairwise(times)) <= KEPT_MS


def test_without_newer_evidence_nothing_is_told_again(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(24 * 29)
    assert told.steps == ["open"]
    told.step(24 * 29.5, alarm(24 * 29.5))
    assert told.told[1].at == hour(24 * 29.5)


GOES_ON = 24 * 45  # hours


@pytest.mark.parametrize("ends", [[calm(GOES_ON)], []], ids=["calm", "not heard"])
def test_who_reads_the_topic_finds_open_what_live_triggers_do(
    told: Told, ends: list[Condition]
) -> None:
    """After requests that failed."""
    for at in range(0, 24 * 90, 6):
        told.step(at, *([alarm(at)] if at < GOES_ON else ends if at == GOES_ON else []))
        now = hour(at)
        kept = [alert(one, KNOWN) for one in told.told if one.at > now - KEPT_MS]
        read = open_incidents(kept, CONFIG, now)
        live = critical(told.incidents.open, CONFIG)
        for last in (now - DAY_MS, hour(24 * 2), hour(24 * 40)):
            seen, there = (
                {one.incident_id for one in unanswered(each, 3, last)} for each in (read, live)
            )
            if hour(0) < last < now:
                newest = told.told[-1].at
                # Until the next reminder is due, it can but be taken to go on.
                assert seen == there or (seen > there and now < newest + REMINDER_MS)


def test_a_version_that_is_replaced_ends_its_incidents_and_says_nothing_more(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(5, alarm(4), alarm(5, version=4), watched=(4,))
    told.step(6, alarm(6), watched=(4,))
    assert [(one.kind, one.incident.version) for one in told.told] == [
        ("open", 3),
        ("open", 4),
        ("close", 3),
    ]
    assert told.told[2].why == "version 3 is replaced"


def test_what_comes_twice_counts_once(told: Told) -> None:
    told.step(0, alarm(0), calm(1))
    told.step(26, alarm(0))
    assert told.steps == ["open", "close"]


def test_what_comes_late_counts_at_the_last_step(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(30)
    told.step(31, alarm(2, SPANISH))
    assert told.steps == ["open", "update"]
    assert told.told[1].at == hour(30)


def test_many_incidents_are_not_too_many(told: Told) -> None:
    """Each change lies 8 days before the one that was known last."""
    for n in range(2 * MOST):
        past = hour(-200 * n)
        dates = {"since": past, "earliest": past - HOUR_MS, "latest": past + HOUR_MS}
        told.step(n / 60, alarm(n / 60, f"errors:shop={n}", **dates))
    assert len(told.incidents.open) == MOST


def test_ids_follow_from_content(told: Told) -> None:
    told.step(0.5, alarm(0))
    told.step(1.5, alarm(1, SPANISH))
    assert [one.alert_id for one in told.told] == [
        f"{MODEL}@3:errors:all:{hour(0)}:open:{hour(0)}",
        f"{MODEL}@3:errors:all:{hour(0)}:update:{hour(1)}",
    ]


# ---------------------------------------------------------------- however time is cut


def at_of(one: Alarm | Condition) -> int:
    return one.known if isinstance(one, Alarm) else one.at


STREAMS = (ERRORS, SPANISH, WORDS, "latency:all")
MINUTES = st.integers(0, 60 * 24 * 60)  # in two months, nearly half of them in three days
TIMES = st.one_of(MINUTES, st.integers(0, 3 * 24 * 60)).map(lambda minute: minute / 60)
VERSIONS = st.sampled_from((3, 4))
HEARD = st.lists(
    st.one_of(
        st.builds(
            lambda at, stream, version, severity, bad, back: alarm(
                at, stream, version, severity=severity, bad=bad, earliest=hour(at - back)
            ),
            TIMES,
            st.sampled_from(STREAMS),
            VERSIONS,
            st.sampled_from(("warning", "critical")),
            st.floats(11, 96),
            st.floats(4, 1000),
        ),
        st.builds(calm, TIMES, st.sampled_from(STREAMS), st.booleans(), VERSIONS),
    ),
    max_size=40,
    unique_by=lambda one: (type(one), at_of(one), one.version, one.stream),
)


def played(heard: Sequence[Alarm | Condition], cuts: Sequence[float]) -> Told:
    told, waiting = Told(), list(heard)
    for now in [*sorted(cuts), 100 * 24]:
        due = [one for one in waiting if at_of(one) <= hour(now)]
        waiting = [one for one in waiting if at_of(one) > hour(now)]
        told.step(now, *due, watched=(3, 4))
    return told


LEFT = st.lists(
    st.builds(unwatched, TIMES, st.sampled_from(STREAMS), VERSIONS),
    max_size=5,
    unique_by=lambda one: (one.at, one.version, one.stream),
)


@given(HEARD, LEFT, st.lists(TIMES, max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_cut_tells_the_same(
    heard: list[Alarm | Condition], left: list[Condition], cuts: list[float]
) -> None:
    known = {(at_of(one), one.version, one.stream) for one in heard}
    heard = heard + [one for one in left if (one.at, one.version, one.stream) not in known]
    whole = played(heard, [])
    assert played(heard, cuts).told == whole.told
    assert played(heard[::-1], range(0, 24 * 60, 8)).told == whole.told


@given(HEARD)
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_doubled_or_a_flood(heard: list[Alarm | Condition]) -> None:
    told = played(heard, []).told
    ids = [one.alert_id for one in told]
    assert len(set(ids)) == len(ids)
    assert [one.at for one in told] == sorted(one.at for one in told)
    last = {one.incident.incident_id: one for one in told}
    assert {one.kind for one in last.values()} <= {"close"}
    members = {(i.incident.version, name) for i in last.values() for name in i.incident.members}
    assert members == {(one.version, one.stream) for one in heard if isinstance(one, Alarm)}
    assert most_updates(told) <= 5


@given(HEARD, LEFT)
@settings(deadline=None, max_examples=200)
def test_what_nobody_watches_any_more_is_no_flood(
    heard: list[Alarm | Condition], left: list[Condition]
) -> None:
    assert most_updates(played([*heard, *left], []).told) <= 5


def most_updates(told: Sequence[Transition]) -> int:
    """Of one incident, in any 24 hours."""
    updates = [(one.incident.incident_id, one.at) for one in told if one.kind == "update"]
    return max(
        (
            sum(other == name and at <= time < at + DAY_MS for other, time in updates)
            for name, at in updates
        ),
        default=0,
    )


def test_the_state_is_json() -> None:
    before, _ = step(Incidents(MODEL), [alarm(0), alarm(0, WORDS)], [calm(1)], (3,), hour(2))
    adapter = TypeAdapter(Incidents)
    assert adapter.validate_json(adapter.dump_json(before)) == before


# ---------------------------------------------------------------- in words


def opened(*streams: str, known: Known = KNOWN, **over: Any) -> DriftAlert:
    told = Told()
    told.step(0, *(alarm(0, stream, **over) for stream in streams))
    return alert(told.told[0], known)


@pytest.mark.parametrize(
    ("streams", "cause"),
    [
        (["errors:all"], "the meaning of answers changed (concept drift), or feedback changed"),
        (["errors:all", "words:all"], "new kinds of input"),
        (["words:all"], "the input changed; it is not known to harm answers"),
        (["clusters:all:refund"], "new kinds of input"),
        (["clusters:all:refund", "shares:all:refund"], "new kinds of input"),
        (
            ["reviewers:all"],
            "reviewers judge the same answers differently more often than before: their "
            "instructions leave something open",
        ),
        (
            ["errors:all", "reviewers:all"],
            "the meaning of answers changed (concept drift), or feedback changed",
        ),
        (["shares:all:refund"], "the mix of traffic changed"),
        (["broken:all"], "the model or its prompt broke"),
        (["errors:all", "broken:all"], "the model or its prompt broke"),
        (["latency:all"], "serving"),
        (
            ["errors:language=es", "words:language=es"],
            "new kinds of input; one part of the traffic: language=es",
        ),
        (["errors:language=es", "words:all"], "new kinds of input"),
    ],
)
def test_the_likely_cause_follows_from_the_streams(streams: list[str], cause: str) -> None:
    assert opened(*streams).cause == cause


def test_a_version_that_was_bad_from_its_first_answers() -> None:
    known = replace(KNOWN, first_answers={3: hour(-4)})
    assert opened(ERRORS, known=known).cause.startswith("the release: version 3")
    earlier = replace(KNOWN, first_answers={3: hour(-40)})
    assert "release" not in opened(ERRORS, known=earlier).cause
    told = Told()
    told.step(0, alarm(0), alarm(0, version=2), watched=(2, 3))
    assert "release" not in alert(told.told[1], known).cause


def test_an_alert_says_since_when_how_strong_and_what_follows(told: Told) -> None:
    told.step(0, alarm(0, SPANISH), alarm(0, WORDS))
    event = alert(told.told[0], KNOWN, "a new version is asked for")
    assert event.summary == (
        "errors rose from 11 % to 24 % (language=es): 23 of 96, expected 11, "
        "since 2024-10-03T21:00:00Z; with words:all"
    )
    assert (event.since_earliest, event.window_start, event.since_latest, event.window_end) == (
        hour(-4),
        hour(-3),
        hour(-2),
        hour(0),
    )
    assert (event.statistic, event.threshold, event.events) == (1.3, 1.0, 96)
    assert event.evidence["bad"] == 23
    assert event.evidence["expected"] == pytest.approx(10.56)
    assert event.evidence["streams"] == 2
    assert event.examples == ("r-17", "r-23")
    assert event.action == "a new version is asked for"
    assert "driftgate review work support-triage" in event.advice


def test_each_step_says_what_it_is(told: Told) -> None:
    told.step(0, alarm(0))
    told.step(1, alarm(1, SPANISH), calm(1.5), calm(1.5, SPANISH))
    told.step(27, alarm(27))
    heads = [alert(one, KNOWN).summary.partition(": ")[0] for one in told.told]
    assert heads == [
        "errors rose from 11 % to 24 % (all)",
        "more is known (errors:language=es joined)",
        "over (calm for a day)",
        "again (0.1 days after it closed)",
    ]


ADVISED = [line for cause in CAUSES for line in re.findall("`driftgate ([^`]*)`", cause.advice)]


@pytest.mark.parametrize("line", ADVISED)
def test_what_is_advised_can_be_typed(line: str) -> None:
    words = line.format(model=MODEL, version=3).split()
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0
