"""What the bench says of a world that was played under a feedback profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.profiles import figures, shortened
from driftgate.events import DAY_MS
from services.simulator.demo import Plan
from services.simulator.facts import Facts
from services.simulator.profiles import mix_of
from services.simulator.report import Cause
from services.simulator.scoring import Result, Told, Truth, Week
from services.simulator.session import Played
from services.simulator.world import START, World

PLAN = Plan(
    World("w", (), ((),) * 28, START),
    Path(),
    causes=(Cause("mix", 1, None, ""), Cause("Gatekeeper", 2, None, "")),
)


def taken_back(version: int, of: int) -> dict[str, Any]:
    state = {"challenger": version, "champion": of, "previous": None}
    told = {"service": "promoter", "decision": "rollback", "version": version}
    return told | {"words": f"v{version}", "inputs": json.dumps({"state": state})}


def answers(request: str, **outputs: str) -> list[dict[str, Any]]:
    return [
        {"request_id": request, "version": int(version[1:]), "output": output, "ms": START}
        for version, output in outputs.items()
    ]


def drift(week: float) -> dict[str, Any]:
    return {"reason": "drift", "ms": START + int((week - 1) * 7 * DAY_MS), "words": "errors rose"}


def played(gain: float, lacking: tuple[str, ...] = (), **facts: Any) -> Played:
    names = ("answers", "requests", "candidates", "verdicts", "rollouts", "alerts", "audit")
    empty: dict[str, Any] = dict.fromkeys(names, ()) | {"counts": {"dead_letters": 0}}
    week = Week(4, 100, 0.9, 0.9 - gain, 2)
    return Played(
        Result((week,), 0.75, 2, (), gain),
        Facts(**(empty | facts)),
        (),
        True,
        truths={"r1": Truth(1, "a"), "r2": Truth(1, "a")},
        told=Told(right=90, wrong=10, told_right=18, told_wrong=6),
        lacking=lacking,
    )


def said(profile: str, found: Played, whole: bool = True) -> dict[str, tuple[str, bool | None]]:
    rows = figures(mix_of(profile), PLAN, found, whole)
    assert all(row.what.startswith(f"{profile}: ") for row in rows)
    return {row.what.partition(": ")[2]: (row.value, row.good) for row in rows}


def test_a_version_that_was_better_was_taken_back_wrongly_and_a_worse_one_was_not() -> None:
    given = [*answers("r1", v1="b", v2="a", v3="b"), *answers("r2", v1="a", v2="a", v3="b")]
    rollouts = [{"challenger": 2, "champion": 1}, {"challenger": 3, "champion": 1}]
    audit = [taken_back(2, of=1), taken_back(3, of=1)]
    found = said("labels", played(0.2, answers=given, audit=audit, rollouts=rollouts))
    assert found["wrong roll-backs"] == ("1: v2", False)
    assert found["rollouts"][0] == "2: 0 to full traffic, 2 taken back, 0 given up"
    assert found["answers with feedback of users"][0] == "24.0%"


def test_drift_before_the_first_event_of_the_world_is_named() -> None:
    found = said("labels", played(0.2, requests=[drift(1.5), drift(3.0)]))
    assert found["drift-fired retrains, in weeks"][0] == "1.5, 3.0"
    assert found["of these before the world moves"] == ("1: week 1.5: errors rose", False)


@pytest.mark.parametrize(
    ("profile", "gain", "whole", "good"),
    [
        ("labels", 0.12, True, True),
        ("late", 0.08, True, False),
        ("corrections", 0.0, False, None),
        ("thumbs", 0.0, True, None),
    ],
)
def test_a_gain_is_asked_of_those_who_can_have_it_and_of_a_whole_world(
    profile: str, gain: float, whole: bool, good: bool | None
) -> None:
    found = said(profile, played(gain), whole)
    value, mark = found["accuracy against the frozen baseline, last four weeks"]
    assert mark is good
    assert value == f"90.0% against {0.9 - gain:.1%}, {100 * gain:+.1f} points"


@pytest.mark.parametrize(
    ("profile", "gain", "lacking", "good"),
    [
        ("review", 0.0, (), False),
        ("review", 0.0, ("version 2 was given up",), True),
        ("loud-users", 0.11, (), True),
        ("labels", 0.0, (), None),
    ],
)
def test_who_gains_little_has_to_name_what_was_lacking(
    profile: str, gain: float, lacking: tuple[str, ...], good: bool | None
) -> None:
    value, mark = said(profile, played(gain, lacking))["named as lacking evidence"]
    assert (value, mark) == ("; ".join(lacking) or "nothing", good)
    in_part = said(profile, played(gain, lacking), whole=False)
    assert in_part["named as lacking evidence"] == (value, None)


def test_the_first_weeks_are_played_on_their_own_dates() -> None:
    found = shortened(PLAN, 2)
    assert (found.world.weeks, found.world.start, found.causes) == (2, START, PLAN.causes)
