"""What `explain` says of triggers: what they wait for, what is missing, what would be next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from drift_world import day

from driftgate.drift.explanation import Explanation, Trigger, explain
from driftgate.drift.supply import New
from driftgate.drift.triggers import OpenIncident, RetrainState, Score, Spent, UnderWay
from driftgate.events import HOUR_MS
from driftgate.model_repo import Triggers

POLICY = Triggers.model_validate(
    {
        "drift": {"batch_days": 1, "cooldown_days": 14},
        "cadence_days": 56,
        "new_pairs": 100,
        "new_label": 10,
        "score_drop": 0.05,
        "budget": {"runs": 4},
        "quiet": [{"begin": "22:00", "end": "06:00"}],
    }
)
STATE = RetrainState(
    asked={"launch": day(0), "drift": day(20)},
    new=New(45, {"refund": 4, "billing": 2}),
    score=Score("v", 1, 0.87, 400, 0.88, day(20)),
    spent=Spent(2),
)
INCIDENT = OpenIncident("i", 1, "errors rose", day(28), day(29), day(30), ("all",))


def named(found: Explanation, name: str) -> Trigger:
    (trigger,) = (one for one in found.triggers if one.name == name)
    return trigger


def upcoming(state: RetrainState, now: int, **over: Any) -> tuple[str, int]:
    found = explain(state, POLICY.model_copy(update=over), now).next
    assert found is not None
    return found.name, found.time


def test_every_trigger_says_what_it_waits_for() -> None:
    found = explain(STATE, POLICY, day(29.5))
    assert {one.name: one.on for one in found.triggers} == {
        **dict.fromkeys(("drift", "accuracy", "new_label", "score", "new_pairs"), True),
        **{"new_source": False, "cadence": True, "operator": True},
    }
    assert named(found, "new_pairs").waits_for == "45 of 100"
    assert (named(found, "new_pairs").have, named(found, "new_pairs").of) == (45, 100)
    assert named(found, "new_label").waits_for == "4 of 10 of refund, 2 of 10 of billing"
    assert named(found, "cadence").waits_for == "due 2026-03-18 00:00"
    assert "below 83.6 %" in named(found, "score").waits_for
    assert named(found, "drift").waits_for == "a critical incident that no request has answered"
    assert [hold.kind for hold in found.holds] == ["cooldown"]
    assert found.budget == "2 of 4 requests"


def test_what_comes_next_follows_from_the_rate() -> None:
    """45 pairs in 9 days, so 100 in 20; 4 of a label in 9 days would take longer."""
    found = explain(STATE, POLICY, day(29)).next
    assert found is not None
    assert (found.name, found.time, found.by_rate) == ("new_pairs", day(40) + 6 * HOUR_MS, True)
    assert found.summary == "new_pairs, about 2026-02-10 06:00, at the present rate"


def test_what_is_held_up_comes_when_the_last_hold_is_over() -> None:
    """The cooldown is over at midnight, and the quiet hours at 6."""
    state = replace(STATE, incidents=(INCIDENT,))
    assert upcoming(state, day(32)) == ("drift", day(34) + 6 * HOUR_MS)
    waits = replace(state, under_way=UnderWay("r", None, day(36.5)))
    assert upcoming(waits, day(32)) == ("drift", day(36.5))
    found = explain(waits, POLICY, day(32.5))
    assert found.next is not None
    assert "r is being trained" in found.next.summary
    assert [hold.kind for hold in found.holds] == ["cooldown", "under_way"]


def test_incidents_are_named_and_those_below_the_bar_apart() -> None:
    found = explain(replace(STATE, incidents=(INCIDENT,)), POLICY, day(29.5))
    assert named(found, "drift").waits_for == (
        "1 open: errors rose; gathered until 2026-01-31 00:00"
    )
    assert named(found, "accuracy").due is None
    below = replace(STATE, incidents=(replace(INCIDENT, below_bar=True),))
    found = explain(below, POLICY, day(29.5))
    assert (named(found, "accuracy").due, named(found, "drift").due) == (day(30), None)


def test_what_is_off_is_never_next() -> None:
    off = {"cadence_days": None, "new_pairs": None, "new_label": None}
    drift = POLICY.drift.model_copy(update={"enabled": False})
    policy = POLICY.model_copy(update={**off, "drift": drift})
    assert explain(replace(STATE, incidents=(INCIDENT,)), policy, day(50)).next is None


def test_before_the_launch_an_operator_alone_may_ask() -> None:
    found = explain(RetrainState(new=New(500)), POLICY, day(1))
    assert named(found, "new_pairs").waits_for == named(found, "cadence").waits_for == "the launch"
    assert found.next is None


@pytest.mark.parametrize(("at", "due"), [(21, day(21)), (19, None)])
def test_a_fallen_score_is_due_until_it_is_answered(at: int, due: int | None) -> None:
    fallen = replace(STATE, score=Score("v", 1, 0.7, 400, 0.88, day(at)))
    assert named(explain(fallen, POLICY, day(21)), "score").due == due
