"""Which version answers whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from driftgate.errors import BadInput
from driftgate.events import DAY_MS, Arm, Routing
from driftgate.model_repo import Data
from driftgate.routing import (
    NotServed,
    champion_of,
    choose,
    contradiction,
    pick,
    pinned_champion,
    residents_of,
)
from driftgate.routing import check as check_routing
from services.router.requests import MAX_TEXT, Request, check


def arm(version: int, weight: int = 0) -> Arm:
    return Arm(version=version, digest=f"d{version}", adapter_uri="u", weight=weight)


ROUTING = Routing(
    model="m",
    epoch=4,
    base="b",
    base_digest="bd",
    arms=(arm(2, 500), arm(1, 9500)),
    shadows=(arm(2), arm(1)),
    salt="m",
    sticky_by="subject",
    repo_hash="h",
    time=0,
)


def routing(**changes: Any) -> Routing:
    return replace(ROUTING, **changes)


def test_traffic_follows_the_weights() -> None:
    live = Counter(choose(routing(), "r", f"s{n}", {}).live.version for n in range(10_000))
    assert 400 < live[2] < 600


def test_a_subject_keeps_its_version_and_without_one_the_request_decides() -> None:
    same = {choose(routing(), f"r{n}", "ana", {}).live.version for n in range(50)}
    assert len(same) == 1
    split = routing(arms=(arm(2, 5000), arm(1, 5000)))
    assert {choose(split, f"r{n}", "", {}).live.version for n in range(50)} == {1, 2}


def test_by_request_id_a_subject_does_not_matter() -> None:
    split = routing(arms=(arm(2, 5000), arm(1, 5000)), sticky_by="request_id")
    assert {choose(split, f"r{n}", "ana", {}).live.version for n in range(50)} == {1, 2}


def test_who_answers_live_is_no_shadow_and_propensity_is_the_live_share() -> None:
    for n in range(200):
        choice = choose(routing(), "r", f"s{n}", {})
        other = 3 - choice.live.version
        assert [shadow.version for shadow in choice.shadows] == [other]
        shares = {a.version: a.propensity for a in (choice.live, *choice.shadows)}
        assert shares == {1: 0.95, 2: 0.05}


def test_a_growing_challenger_takes_nobody_back() -> None:
    people = [f"s{n}" for n in range(2000)]
    had: set[str] = set()
    for weight in (0, 500, 5000, 10_000):
        record = routing(arms=(arm(2, weight), arm(1, 10_000 - weight)))
        now = {p for p in people if choose(record, "r", p, {}).live.version == 2}
        assert had <= now
        had = now
    assert had == set(people)


def test_a_version_on_a_base_of_its_own_names_it_and_the_others_have_the_records() -> None:
    other = replace(arm(2, 10_000), base="b2", base_digest="bd2", task="text-generation")
    choice = choose(routing(arms=(other,), shadows=(arm(1),)), "r", "", {})
    live, (shadow,) = choice.live, choice.shadows
    assert (live.base, live.base_digest, live.task) == ("b2", "bd2", "text-generation")
    assert (shadow.base, shadow.base_digest, shadow.task) == ("b", "bd", "text-classification")


def test_outside_its_scope_a_model_does_not_answer() -> None:
    record = routing(scope={"language": "es"})
    assert choose(record, "r", "", {"language": "es"}).epoch == 4
    with pytest.raises(NotServed, match=r"language.*'en'.*'es'"):
        choose(record, "r", "", {"language": "en"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": (arm(2, 500), arm(1, 9000))}, r"arms: got \[500, 9000\].*add up to 10000"),
        ({"arms": (arm(2, -1), arm(1, 10_001))}, "weights of at least 0"),
        ({"arms": ()}, "arms"),
        ({"sticky_by": "cookie"}, "sticky_by: got 'cookie'"),
        ({"shadow_share": 1.5}, "shadow_share: got 1.5, expected a number from 0 to 1"),
        ({"shadow_share": float("nan")}, "shadow_share: got nan"),
        ({"champion": 7}, r"champion: got 7, expected one of versions \[1, 2\]"),
    ],
)
def test_a_record_that_cannot_be_routed_by_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    check_routing(routing())
    with pytest.raises(BadInput, match=message):
        check_routing(routing(**changes))


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(NotServed, match="did you mean 'support-triage'"):
        pick({"support-triage": 1}, "support-triag")


# ---------------------------------------------------------------- champion, standby, shadow share


def test_the_champion_is_who_is_named_and_in_old_records_the_last_arm() -> None:
    old, named = champion_of(routing()), champion_of(routing(champion=2))
    assert old is not None and named is not None
    assert (old.version, named.version) == (1, 2)
    pinned = pinned_champion(routing(champion=3, standby=(arm(3),)))
    assert pinned is not None
    assert (pinned.version, pinned.digest) == (3, "d3")


def test_who_stands_by_is_never_asked() -> None:
    record = routing(standby=(arm(3),))
    for n in range(500):
        choice = choose(record, f"r{n}", f"s{n}", {})
        assert 3 not in {a.version for a in (choice.live, *choice.shadows)}
    assert {a.version for a in residents_of(record)} == {1, 2, 3}


def test_shadows_answer_their_share_of_the_requests_whoever_is_heard() -> None:
    requests = [f"r{n}" for n in range(10_000)]
    some = routing(shadow_share=0.1, arms=(arm(2, 5000), arm(1, 5000)), sticky_by="request_id")
    choices = {r: choose(some, r, "", {}) for r in requests}
    drawn = {r for r, choice in choices.items() if choice.shadows}
    assert 900 < len(drawn) < 1100
    heard = Counter(choices[r].live.version for r in drawn)
    assert 0.4 < heard[1] / len(drawn) < 0.6  # as the draw is not the one of the arms
    more = routing(shadow_share=0.3)
    assert drawn <= {r for r in requests if choose(more, r, "", {}).shadows}
    assert not any(choose(routing(shadow_share=0.0), r, "", {}).shadows for r in requests)
    assert all(choose(routing(), r, "", {}).shadows for r in requests)


def test_what_a_newer_record_adds_is_no_contradiction() -> None:
    """A router of before does not know it, and must go on."""
    newer = routing(champion=1, standby=(arm(3),), shadow_share=0.5)
    assert contradiction(routing(), newer) == ""
    assert "arms" in contradiction(routing(), replace(newer, arms=(arm(1, 10_000),)))


NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "  "}, "text: got '  ', expected a text that is not empty"),
        ({"text": "x" * (MAX_TEXT + 1)}, "expected at most 20000 characters"),
        ({"time": 0}, "time_ms: got 0"),
        ({"time": NOW - 401 * DAY_MS}, "time_ms"),
        ({"time": NOW + 2 * DAY_MS}, "time_ms"),
        ({"request_id": "r" * 201}, "request_id: .*expected at most 200 characters"),
        ({"slices": {"language": "x" * 200}}, "slices"),
        ({"slices": {str(n): "" for n in range(33)}}, "slices: got 33"),
    ],
)
def test_bad_requests_are_told_what_was_expected(changes: dict[str, Any], message: str) -> None:
    good = {"model": "m", "text": "x", "request_id": "r", "subject": "", "slices": {}, "time": NOW}
    check(Request(**good), NOW, Data())
    with pytest.raises(BadInput, match=message):
        check(Request(**(good | changes)), NOW, Data())


def test_before_the_clock_has_a_time_only_1970_is_refused() -> None:
    check(Request("m", "x", "r", "", {}, NOW), 0, Data())
    with pytest.raises(BadInput, match="time_ms"):
        check(Request("m", "x", "r", "", {}, DAY_MS - 1), 0, Data())
