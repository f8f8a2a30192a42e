"""Two reviewers look at one request: whether they disagree more often than before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from drift_world import MODEL, YAML, day, inference, reference

from driftgate.bus import Position
from driftgate.drift import second_reviews
from driftgate.drift.alarms import Alarm
from driftgate.drift.incident_alerts import Known, alert
from driftgate.drift.incidents import Incidents, step
from driftgate.drift.model_state import ModelState
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import Observation, of_inference, of_outcome
from driftgate.drift.quality import REFERENCE_PAIRS
from driftgate.drift.standing import standings
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, HOUR_MS, Outcome
from driftgate.model_repo import ModelYaml, parse
from driftgate.unwatched import notes, unmeasured
from services.drift_detector.checkpoint import STATE, State

STREAM = "reviewers:all"


def declared(profile: str = "labels, review", twice: float = 1.0, severity: str = "") -> ModelYaml:
    """A model of whose sample every request is looked at twice, and a monitor of that alone."""
    monitor = f"  - {{name: reviewers, signal: quality, value: disagreement{severity}}}\n"
    head, tail = YAML[: YAML.index("  - {name: errors")], YAML[YAML.index("triggers:") :]
    share = 0.1 if "review" in profile else 0
    review = f"review: {{share: {share}, twice: {twice}, days: 14}}\n"
    return parse(head.replace("[labels]", f"[{profile}]") + monitor + review + tail)


CONFIG = declared()


def said(number: int, reviewer: str, label: str | None, after: float = 1, **over: Any) -> Outcome:
    """What a reviewer says of an answer `delivery`, so many hours after it."""
    at = day(1) + number
    time = at + round(after * HOUR_MS)
    fields: dict[str, Any] = {
        "outcome_id": f"f-{number}-{reviewer}-{after}",
        "request_id": f"r-{number}",
        "model": MODEL,
        "version": 1,
        "output": "delivery",
        "slices": {},
        "kind": "review",
        "label": label,
        "reviewer": reviewer,
        "propensity": 0.1,
        "was_correct": None if label is None else label == "delivery",
        "inference_time": at,
        "feedback_time": time,
        "time": time,
    }
    return Outcome(**fields | over)


def observed(words: Iterable[Outcome]) -> list[Observation]:
    found = (of_outcome(one, (Position("outcomes", 0), n)) for n, one in enumerate(words))
    return [one for one in found if one is not None]


def edit(number: int, reviewer: str, text: str, correct: bool) -> Outcome:
    return said(number, reviewer, None, edited=text, was_correct=correct)


def retraction(number: int, reviewer: str, after: float, **over: Any) -> Outcome:
    return said(number, reviewer, None, after, kind="retraction", propensity=None, **over)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([said(0, "ada", "refund")], (0, 0)),
        ([said(0, "ada", "refund"), said(0, "bob", "refund", 3)], (1, 0)),
        ([said(0, "ada", "refund"), said(0, "bob", "billing", 3)], (1, 1)),
        ([said(0, "ada", "refund"), said(0, "ada", "billing", 3)], (0, 0)),
        ([said(0, "ada", "refund"), said(0, "bob", None, 3)], (0, 0)),
        ([said(0, "ada", "refund"), said(0, "bob", "billing", picked="hard")], (0, 0)),
        ([said(0, "ada", "refund"), said(0, "user", "billing", kind="correction")], (0, 0)),
        # A later word of a reviewer takes the place of the earlier one, or takes it back.
        (
            [said(0, "ada", "refund"), said(0, "ada", "billing", 2), said(0, "bob", "billing", 3)],
            (1, 0),
        ),
        ([said(0, "ada", "refund"), retraction(0, "ada", 2), said(0, "bob", "billing", 3)], (0, 0)),
        (
            [
                said(0, "ada", "refund"),
                retraction(0, "eve", 2, retracts="f-0-ada-1"),
                said(0, "bob", "billing", 3),
            ],
            (0, 0),
        ),
        # What is said after both have spoken changes nothing.
        (
            [
                said(0, "ada", "refund"),
                said(0, "bob", "billing", 3),
                said(0, "bob", "refund", 5),
                said(0, "eve", "refund", 6),
                said(0, "ada", "refund", 7),
            ],
            (1, 1),
        ),
        # Two edits hardly ever are the same: what counts is whether they call the answer right.
        ([edit(0, "ada", "So.", False), edit(0, "bob", "so", False)], (1, 0)),
        ([edit(0, "ada", "So.", False), edit(0, "bob", "delivery", True)], (1, 1)),
    ],
)
def test_a_request_counts_once_when_two_have_labelled_it(
    words: list[Outcome], told: tuple[int, int]
) -> None:
    seen = observed(words)
    for order in (seen, seen[::-1]):
        assert counted([order]) == told
    one_by_one = sorted(seen, key=lambda one: one.time)
    assert counted([[one] for one in one_by_one]) == told
    assert counted([one_by_one, one_by_one, *([one] for one in one_by_one)]) == told, "sent again"


def counted(ticks: Sequence[Sequence[Observation]], config: ModelYaml = CONFIG) -> tuple[int, int]:
    """Requests that two have labelled, and those of which they say different things; a tick each
    time what is given has come."""
    evidence = Evidence()
    for given in ticks:
        now = max(one.time for one in given) + 3 * 60_000
        fold(evidence, given, now, config, {})
    fold(evidence, [], day(3), config, {})
    if 1 not in evidence.streams:
        return 0, 0
    n, total = evidence.streams[1].seen(STREAM)
    return round(n), round(total)


def test_only_requests_count_that_two_are_asked_about() -> None:
    words = [said(n, who, "refund") for n in range(400) for who in ("ada", "bob")]
    assert counted([observed(words)]) == (400, 0)
    n, _ = counted([observed(words)], declared(twice=0.25))
    assert 60 < n < 140


def test_what_no_second_reviewer_is_asked_about_any_more_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evidence = Evidence()
    fold(evidence, observed([said(n, "ada", "refund") for n in range(5)]), day(2), CONFIG, {})
    assert len(evidence.reviews) == 5
    monkeypatch.setattr(second_reviews, "WAITING", 3)
    fold(evidence, observed([said(9, "ada", "refund", 30)]), day(3), CONFIG, {})
    assert sorted(evidence.reviews) == ["r-3", "r-4", "r-9"], "the newest answers"
    late = said(DAY_MS * 20, "ada", "refund")
    fold(evidence, observed([late]), day(23), CONFIG, {})
    assert list(evidence.reviews) == [late.request_id]


# ---------------------------------------------------------------- as a monitor


def reviews(days: range, disagree: Callable[[int], float], a_day: int = 20) -> list[Observation]:
    """Answers, each looked at by two, who disagree so often; the second comes up to four days after
    the first."""
    rng, found, place = random.Random(3), [], Position("inferences", 0)
    for today in days:
        for n in range(today * a_day, (today + 1) * a_day):
            at = day(today) + (n % a_day) * HOUR_MS
            answer = of_inference(inference(n, at, output="delivery"), (place, n))
            assert answer is not None
            found.append(answer)
            second = "billing" if rng.random() < disagree(today) else "refund"
            times = at + HOUR_MS, at + HOUR_MS + round(rng.random() * 4 * DAY_MS)
            for who, label, time in zip(("ada", "bob"), ("refund", second), times, strict=True):
                word = said(n, who, label)
                found += observed(
                    [replace(word, inference_time=at, feedback_time=time, time=time, version=1)]
                )
    return found


def watched(world: Sequence[Observation], tick_ms: int, restart: bool = False) -> list[Alarm]:
    evidence, alarms, world = Evidence(), [], sorted(world, key=lambda seen: seen.order)
    at = 0
    for now in range(day(0) + tick_ms, world[-1].time + 3 * DAY_MS, tick_ms):
        due = []
        while at < len(world) and world[at].time < now:
            due.append(world[at])
            at += 1
        alarms += fold(evidence, due[::-1], now, CONFIG, {1: reference()}).alarms_alone
        if restart:
            written = STATE.dump_json(State(models={MODEL: ModelState(evidence=evidence)}))
            evidence = STATE.validate_json(written).models[MODEL].evidence
    return alarms


STEADY = reviews(range(60), lambda _: 0.1)
RISEN = reviews(range(40), lambda today: 0.1 if today < 15 else 0.45)


def test_reviewers_who_disagree_as_ever_alarm_nobody() -> None:
    assert watched(STEADY, DAY_MS) == []


def test_reviewers_who_disagree_more_are_told_and_ask_for_no_version() -> None:
    alarm, *_ = watched(RISEN, DAY_MS)
    assert (alarm.stream, alarm.severity) == (STREAM, "warning")
    assert "reviewers: differing pairs of reviews rose from" in alarm.summary
    assert f"{alarm.bad:.0f} differing of {alarm.n}, expected" in alarm.summary
    assert day(12) < alarm.since < day(20), "by the time of the answers"
    _, [opened] = step(Incidents(MODEL), [alarm], [], {1}, alarm.known)
    known = Known(MODEL, {m.name: m for m in CONFIG.monitors}, {1: day(0)})
    told = alert(opened, known)
    assert told.severity == "warning"
    assert told.cause.startswith("reviewers judge the same answers differently")
    assert f"driftgate review stats {MODEL}" in told.advice


def test_neither_ticks_nor_restarts_make_a_difference() -> None:
    expected = watched(RISEN, DAY_MS)
    assert expected
    assert watched(RISEN, 7 * HOUR_MS) == expected
    assert watched(RISEN, DAY_MS, restart=True) == expected


def test_the_first_pairs_of_a_version_are_its_reference() -> None:
    evidence = Evidence()
    said = reviews(range(3), lambda _: 0.1)
    [(version, told)] = fold(evidence, said, day(9), CONFIG, {1: reference()}).baselines
    assert (version, told.stream, told.is_ready) == (1, STREAM, False)
    assert "differing pairs of reviews have no reference yet" in told.summary
    assert f"first {REFERENCE_PAIRS} (" in told.summary
    standing, _ = standings(evidence, CONFIG, {1: reference()}, 1)
    assert standing.summary == f"reference: 60 of {REFERENCE_PAIRS}"


def test_where_no_request_gets_two_reviewers_check_says_so() -> None:
    assert list(notes(CONFIG, [])) == []
    assert list(unmeasured(CONFIG, reference())) == []
    for config in (declared("labels"), declared(twice=0)):
        (note,) = notes(config, [])
        assert note.startswith("monitors: reviewers: no request is looked at by two reviewers")
        assert list(unmeasured(config, reference())) == [
            "reviewers (all): no reference for disagreement"
        ]


def test_it_may_not_ask_for_a_version() -> None:
    with pytest.raises(BadConfig, match="disagreement may only warn"):
        declared(severity=", severity: critical")
