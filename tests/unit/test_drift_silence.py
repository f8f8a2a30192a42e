"""What apps no longer send is told once, within a day, as the widest part that is silent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from drift_world import CONFIG, MODEL, day, inference, outcome, reference
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.bus import Position
from driftgate.drift.incident_alerts import silence_alert
from driftgate.drift.model_state import ModelState
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import Observation, of_inference, of_outcome
from driftgate.drift.silence import (
    ANSWERS,
    REMINDER_MS,
    Part,
    Silence,
    Silences,
    Streams,
    in_slice,
)
from driftgate.drift.version_streams import VersionStreams
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.limits import date
from driftgate.model_repo import Monitor
from services.drift_detector.checkpoint import STATE, State

A_DAY = 240
SPANISH = in_slice("language=es")
SLICES = ["all", "language=es", "language=en"]
WORDS = Monitor(name="words", signal="input", value="words", slices=SLICES, tolerance=0.9)
WATCHED = CONFIG.model_copy(update={"monitors": [*CONFIG.monitors, WORDS]})
MEASURED = reference() | {"cut|words": 20.0}
MEASURED |= {f"words|{name}": 0.1 for name in SLICES} | {
    f"n|words|{name}": 400.0 for name in SLICES
}
MEASURED |= {"error|language=en": 0.1, "n|error|language=en": 400.0}

Sends = Callable[[int], dict[str, Any] | None]
"""What is other about the answer at a time, ms; None: there is none."""


def world(
    days: float, sends: Sends, says: Callable[[int], bool], version: int = 1
) -> list[Observation]:
    """Answers, each with a word an hour later."""
    found: list[Observation | None] = []
    for n in range(round(days * A_DAY)):
        at = day(n / A_DAY)
        over = sends(at)
        if over is None:
            continue
        answer = inference(n, at, version, **over)
        found.append(of_inference(answer, (Position("inferences", 0), n)))
        if says(at):
            word = outcome(n, at, n % 10 > 0, version, slices=answer.slices)
            word = replace(word, time=at + HOUR_MS, feedback_time=at + HOUR_MS)
            found.append(of_outcome(word, (Position("outcomes", 0), n)))
    return [one for one in found if one is not None]


def told(
    days: float,
    sends: Sends = lambda at: {},
    says: Callable[[int], bool] = lambda at: True,
    ticks: Iterable[float] | None = None,
    evidence: Evidence | None = None,
) -> list[Silence]:
    """What is told up to a day, by ticks at these days."""
    seen, evidence = world(days, sends, says), evidence or Evidence()
    found: list[Silence] = []
    before = 0
    for tick in (*(ticks or [n / 4 for n in range(1, round(days * 4))]), days):
        due = [one for one in seen if before <= one.time < day(tick)]
        state = State(models={MODEL: ModelState(evidence=evidence)})  # killed at each tick
        evidence = STATE.validate_json(STATE.dump_json(state)).models[MODEL].evidence
        found += fold(evidence, due, day(tick), WATCHED, {1: MEASURED}).silences
        before = day(tick)
    return found


def lacks(**over: Any) -> Sends:
    """From day 3 on, answers are other than before."""
    return lambda at: over if at >= day(3) else {}


def said(silences: list[Silence]) -> list[tuple[str, str]]:
    return [(one.kind, one.part.summary) for one in silences]


def test_nothing_is_told_while_all_is_sent() -> None:
    assert told(6) == []


@pytest.mark.parametrize(
    ("over", "parts"),
    [
        ({"features": {}}, ["numbers for monitor words"]),
        ({"confidence": None}, ["numbers for monitor confidence"]),
        ({"slices": {"language": "en"}}, ["answers in slice language=es"]),
        ({"slices": {}}, ["answers in slice language"]),
    ],
)
def test_what_is_sent_no_more_is_told_within_a_day_and_once(
    over: dict[str, Any], parts: list[str]
) -> None:
    found = told(10, lacks(**over))
    assert said(found) == [("open", part) for part in parts]
    for one in found:
        assert day(3) - HOUR_MS <= one.since <= day(3)
        assert one.at <= day(4)
        assert one.ever


def test_a_feature_that_is_missing_in_one_slice_is_told_of_that_slice() -> None:
    def spanish(at: int) -> dict[str, Any]:
        n = round((at - day(0)) * A_DAY / DAY_MS)
        return {"features": {}} if n % 4 == 0 and at >= day(3) else {}

    assert said(told(6, spanish)) == [("open", "numbers for monitor words in slice language=es")]


def test_an_app_that_is_away_is_one_line_and_one_more_when_it_is_back() -> None:
    found = told(9, lambda at: None if day(3) <= at < day(6) else {})
    assert said(found) == [("open", "answers"), ("close", "answers")]
    away, back = found
    assert away.at <= day(4) < day(6) <= back.at <= day(6) + HOUR_MS
    assert away.summary == f"no answers since {date(away.since)}, expected 235"
    assert back.summary == "over (they come again after 3.0 days): no answers"


def test_feedback_that_stops_is_told_though_nobody_names_a_slice_of_it() -> None:
    assert said(told(8, says=lambda at: at < day(3))) == [("open", "feedback")]


def test_feedback_that_comes_after_the_answers_does_not_make_their_slice_heard() -> None:
    found = told(10, lacks(slices={"language": "en"}), says=lambda at: at < day(6))
    assert [one for one in said(found) if "es" in one[1]] == [
        ("open", "answers in slice language=es")
    ]


def test_what_never_came_is_told_after_a_day_of_answers() -> None:
    (words,) = told(6, lambda at: {"features": {}})
    assert not words.ever
    assert words.since == day(0)
    assert words.at <= day(1)
    assert words.summary.startswith("no numbers for monitor words yet, since 2026-01-01T00:00:00Z")


def test_a_slice_that_was_never_asked_in_is_waited_for_longer() -> None:
    (silence,) = told(9, lambda at: {"slices": {"language": "en"}})
    assert silence.part.summary == "answers in slice language=es"
    assert not silence.ever
    assert silence.at > day(4)  # of so many answers a rare slice would have had ten


def test_nights_and_weekends_are_told_once_at_most() -> None:
    def office(at: int) -> dict[str, Any] | None:
        weekday, hour = divmod((at - day(0)) / DAY_MS, 7)[1], (at - day(0)) % DAY_MS / HOUR_MS
        return {} if weekday < 5 and 8 <= hour < 18 else None

    assert said(told(28, office)) == [("open", "answers"), ("close", "answers")]


def by_the_hour(days: int, sends: Callable[[float], Iterable[Part]]) -> list[Silence]:
    """What is told of parts that come so often."""
    silences, found = Silences(), []
    for hour in range(days * 24):
        at, parts = day(hour / 24), list(sends(hour / 24))
        found += silences.without_answers(1, at)
        for part in parts:
            silences.hear(part, 10, at, at + HOUR_MS)
        if ANSWERS in parts:
            found += silences.answered(at + HOUR_MS)
            slices = ["language=es"]
            found += silences.look(Counted(1, day(0), [], slices, {1: VersionStreams()}), at)
    return found


class Counted(Streams):
    """Answers enough for whatever lacks to be missed."""

    def answers_since(self, time: int) -> float:
        return 1000.0


def test_a_long_pause_that_comes_no_more_is_forgotten() -> None:
    """Half of it in 60 days: an outage then is told after 17 days, not after 38."""
    found = by_the_hour(160, lambda at: () if 20 <= at < 50 or at >= 120 else [ANSWERS, SPANISH])
    kinds = [one.kind for one in found if one.part == ANSWERS]
    assert kinds == ["open", "update", "close", "open"]
    assert day(136) < [one for one in found if one.kind == "open"][-1].at < day(137.5)


@pytest.mark.parametrize(("part", "others"), [(ANSWERS, []), (SPANISH, [ANSWERS])])
@pytest.mark.parametrize(("every", "pause"), [(7, 2), (31, 30), (30, 15)])
def test_a_pause_that_comes_again_is_told_once(
    part: Part, others: list[Part], every: int, pause: int
) -> None:
    def sends(at: float) -> list[Part]:
        return others if at % every >= every - pause else [part, *others]

    found = [one for one in by_the_hour(400, sends) if one.part.holds(part)]
    assert [one.kind for one in found if one.kind != "update"] == ["open", "close"]


def test_a_new_version_goes_on_where_the_old_one_was() -> None:
    evidence = Evidence()
    first = world(5, lacks(features={}), lambda at: True)
    found = list(fold(evidence, first, day(5), WATCHED, {1: MEASURED}).silences)
    seen = [one for one in world(9, lacks(features={}), lambda at: True, 2) if one.time > day(5)]
    found += fold(evidence, seen, day(9), WATCHED, {1: MEASURED, 2: MEASURED}).silences
    assert [one.kind for one in found] == ["open"]


def test_what_is_declared_no_more_is_waited_for_no_longer() -> None:
    evidence = Evidence()
    seen = world(7, lacks(features={}), lambda at: True)
    fold(evidence, [one for one in seen if one.time < day(5)], day(5), WATCHED, {1: MEASURED})
    due = [one for one in seen if one.time >= day(5)]
    found = fold(evidence, due, day(7), CONFIG, {1: MEASURED}).silences
    assert [one.kind for one in found] == ["close"]
    assert evidence.silences.told == []


def test_what_lasts_is_told_again_before_its_alert_is_forgotten() -> None:
    away = told(40, lambda at: None if at >= day(3) else {})
    assert said(away) == [("open", "answers"), ("update", "answers")]
    assert away[1].at - away[0].at == REMINDER_MS


def test_an_alert_is_a_warning_whose_id_follows_from_what_is_silent_and_since_when() -> None:
    opened, closed = told(9, lambda at: None if day(3) <= at < day(6) else {})
    alerts = [silence_alert(MODEL, one) for one in (opened, closed)]
    assert {one.incident_id for one in alerts} == {f"post:unwatched:*:all:answers:{opened.since}"}
    assert [one.transition for one in alerts] == ["open", "close"]
    assert {one.severity for one in alerts} == {"warning"}


LACKING = lacks(slices={"language": "en"}, features={})


@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(0.01, 5.9), max_size=12), st.randoms(use_true_random=False))
def test_the_same_is_told_whatever_ticks_cut_the_stream(
    cuts: list[float], rng: random.Random
) -> None:
    sends = LACKING if rng.random() < 0.5 else lambda at: None if at >= day(3) else {}
    assert told(6, sends, ticks=sorted(cuts)) == told(6, sends, ticks=())
