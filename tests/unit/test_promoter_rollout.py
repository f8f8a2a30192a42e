"""The rollout machine: each event in each state, and what no sequence of events may break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.events import DAY_MS
from driftgate.model_repo import ModelYaml, Rollout
from services.promoter.judge import Pairs
from services.promoter.rollout import (
    IDLE,
    LOADING,
    Release,
    State,
    Step,
    View,
    routing,
    step,
    trial,
)

DAY = 20_000 * DAY_MS
REPO = ModelYaml.model_validate(
    {
        "model": "m",
        "task": {"kind": "text-classification", "labels": ["a", "b"]},
        "base": {"name": "all-MiniLM-L6-v2"},
        "monitors": [],
        "gate": {"min_accuracy": 0.8},
        "scope": {"language": "es"},
        "rollout": {
            "stages": [
                {"name": "shadow", "percent": 0, "soak_days": 1, "min_pairs": 20},
                {"name": "canary-5", "percent": 5, "soak_days": 1, "min_pairs": 30},
                {"name": "half", "percent": 50, "soak_days": 1, "min_pairs": 40},
                {"name": "full", "percent": 100},
            ],
            "max_days": 21,
            "watch_days": 7,
            "one_off": True,
        },
    }
)
RULES: Rollout = REPO.rollout
GOOD = Pairs(both=60, only_old=3, only_new=6)
BAD = Pairs(both=10, only_old=20)


def verdict(version: int, result: str = "pass", digest: str = "") -> dict[str, Any]:
    return {
        "verdict_id": f"m@{version}",
        "version": version,
        "adapter_digest": digest or f"d{version}",
        "adapter_uri": f"sha256:d{version}",
        "result": result,
        "repo_hash": "repo",
        "words": "as judged",
    }


def ack(epoch: int, status: str = "serving", router: str = "router-0") -> dict[str, Any]:
    return {"router": router, "epoch": epoch, "status": status, "reason": "corrupt"}


def command(kind: str, version: int | None = None, number: int = 1) -> dict[str, Any]:
    return {
        "kind": kind,
        "version": version,
        "actor": "ana",
        "reason": "complaints",
        "command_id": f"c-{number}",
    }


def releases(*versions: int) -> dict[int, Release]:
    return {version: Release(f"d{version}", f"sha256:d{version}") for version in versions}


def state(stage: str = IDLE, **changes: Any) -> State:
    """Version 2 is champion, version 1 was; outside idle version 3 is tried, but for `full`."""
    challenger = None if stage in {IDLE, "full"} else 3
    made = State("m", 9, 2, challenger, stage, 1, DAY, False, (), releases(1, 2), "repo", "", DAY)
    if challenger:
        made = replace(made, versions=releases(1, 2, 3))
    return replace(made, **changes)


def react(
    at: State, topic: str, event: dict[str, Any], days: float = 0, pairs: Pairs = GOOD, **more: Any
) -> Step:
    view = View(DAY + int(days * DAY_MS), pairs, **({"acked": {"router-0": at.epoch}} | more))
    return step(at, topic, event, view, RULES)


def tick(at: State, days: float, pairs: Pairs = GOOD) -> Step:
    return react(at, "clock", {}, days, pairs)


def shape(at: State) -> tuple[int | None, int | None, str, int | None]:
    return at.champion, at.challenger, at.stage, at.previous


def weights(at: State) -> dict[int, int]:
    record = routing(at, REPO, "base")
    assert record is not None
    return {arm["version"]: arm["weight"] for arm in record["arms"]}


def shadows(at: State) -> list[int]:
    record = routing(at, REPO, "base")
    assert record is not None
    return [arm["version"] for arm in record["shadows"]]


def test_a_first_release_gets_all_traffic_at_once() -> None:
    done = react(State("m"), "verdicts", verdict(1))
    assert shape(done.state) == (1, None, IDLE, None)
    assert (done.state.epoch, weights(done.state), shadows(done.state)) == (1, {1: 10_000}, [])
    assert done.decision and done.decision.name == "start"


def test_a_whole_rollout_step_by_step() -> None:
    at = react(state(), "verdicts", verdict(3)).state
    assert (shape(at), weights(at), shadows(at)) == ((2, 3, LOADING, 1), {2: 10_000}, [1, 3])
    told = []
    for stage, live, unheard in [
        ("shadow", {2: 10_000}, [1, 3]),
        ("canary-5", {3: 500, 2: 9500}, [1, 2, 3]),
        ("half", {3: 5000, 2: 5000}, [1, 2, 3]),
    ]:
        done = (
            react(at, "routing.acks", ack(at.epoch))
            if at.stage == LOADING
            else tick(at, (at.since - DAY) / DAY_MS + 1)
        )
        at = done.state
        told.append(done.decision and done.decision.name)
        assert (at.stage, weights(at), shadows(at)) == (stage, live, unheard)
        assert next(iter(weights(at))) == (2 if stage == "shadow" else 3)
    full = tick(at, 3).state
    assert (shape(full), weights(full), shadows(full)) == (
        (3, None, "full", 2),
        {3: 10_000},
        [1, 2],
    )
    done = tick(full, 10)
    assert (shape(done.state), shadows(done.state)) == ((3, None, IDLE, 2), [1])
    assert [*told, done.decision and done.decision.name] == ["advance"] * 3 + ["finish"]
    assert done.state.epoch == 15


def test_routing_says_where_adapters_lie_and_what_a_rollback_returns_to() -> None:
    record = routing(state("canary-5"), REPO, "base")
    assert record is not None
    assert record["arms"][0] == {
        "version": 3,
        "digest": "d3",
        "adapter_uri": "sha256:d3",
        "weight": 500,
    }
    assert (record["rollback_to"], record["scope"]) == (2, {"language": "es"})
    assert (record["epoch"], record["time"], record["base_digest"]) == (9, DAY, "base")


@pytest.mark.parametrize("stage", ["shadow", "canary-5", "half"])
@pytest.mark.parametrize(
    ("pairs", "days", "name", "after"),
    [
        (BAD, 0.1, "rollback", (2, None, IDLE, 1)),
        (Pairs(), 5, "hold", None),
        (GOOD, 0.5, "hold", None),
        (Pairs(both=15, only_old=6, only_new=4), 22, "give-up", (2, None, IDLE, 1)),
    ],
)
def test_a_challenger_is_held_or_taken_back(
    stage: str, pairs: Pairs, days: float, name: str, after: Any
) -> None:
    at = state(stage)
    done = tick(at, days, pairs)
    assert done.decision and done.decision.name == name
    assert shape(done.state) == (after or shape(at))
    assert done.state.quarantined == (("d3",) if name == "rollback" else ())
    assert (done.state is at) == (name == "hold")


def test_a_new_champion_that_harms_goes_back_by_itself() -> None:
    done = tick(state("full"), 2, BAD)
    assert (shape(done.state), done.state.quarantined) == ((1, None, IDLE, None), ("d2",))
    assert trial(state("full")) == (1, 2, DAY)


def test_loading_ends_when_every_router_holds_the_challenger() -> None:
    at = state(LOADING)
    waiting = react(at, "routing.acks", ack(9), acked={"router-0": 9, "router-1": 8})
    assert waiting.state is at
    gone = react(at, "routing.acks", ack(9), acked={"router-0": 9, "router-1": 4})
    assert gone.state.stage == "shadow"
    assert react(at, "routing.acks", ack(8)).state is at
    assert tick(at, 22).state.challenger is None


def test_what_a_router_refuses_is_taken_back() -> None:
    done = react(state(LOADING), "routing.acks", ack(9, "refused"))
    assert (shape(done.state), done.state.quarantined) == ((2, None, IDLE, 1), ("d3",))
    assert done.decision and "corrupt" in done.decision.words


def test_a_first_release_that_no_router_can_serve_makes_room_for_the_next() -> None:
    first = react(State("m"), "verdicts", verdict(1)).state
    done = react(first, "routing.acks", ack(1, "refused"), acked={})
    assert (done.state.champion, routing(done.state, REPO, "")) == (None, None)
    assert react(done.state, "verdicts", verdict(2)).state.champion == 2
    served = react(first, "routing.acks", ack(1, "refused"), acked={"router-1": 1})
    assert served.state is first


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (verdict(4, "fail"), "as judged"),
        (verdict(4, "insufficient"), "as judged"),
        (verdict(4, digest="bad"), "quarantined"),
        (verdict(2, digest="other"), "newer"),
    ],
)
def test_a_version_that_may_not_ship_is_rejected(found: dict[str, Any], words: str) -> None:
    at = state(quarantined=("bad",))
    done = react(at, "verdicts", found)
    assert done.state is at
    assert done.decision and done.decision.name == "reject" and words in done.decision.words


def test_the_newest_version_wins() -> None:
    done = react(state("half"), "verdicts", verdict(4))
    assert (shape(done.state), weights(done.state)) == ((2, 4, LOADING, 1), {2: 10_000})
    assert done.decision and done.decision.name == "supersede"
    assert 3 not in done.state.versions
    assert done.state.quarantined == ()


@pytest.mark.parametrize(
    ("at", "order", "name", "after"),
    [
        (state("half"), command("rollback"), "rollback", (2, None, IDLE, 1)),
        (state(LOADING), command("rollback", 3), "rollback", (2, None, IDLE, 1)),
        (state(), command("rollback"), "rollback", (1, None, IDLE, None)),
        (state("full"), command("rollback"), "rollback", (1, None, IDLE, None)),
        (state("half", paused=True), command("rollback"), "rollback", (2, None, IDLE, 1)),
        (state(previous=None), command("rollback"), "ignore", (2, None, IDLE, None)),
        (state("half"), command("rollback", 2), "ignore", (2, 3, "half", 1)),
        (state("shadow"), command("promote"), "promote", (3, None, "full", 2)),
        (state(), command("promote"), "ignore", (2, None, IDLE, 1)),
        (state("half"), command("pause"), "pause", (2, 3, "half", 1)),
        (state("half"), command("resume"), "ignore", (2, 3, "half", 1)),
        (state("half", paused=True), command("resume"), "resume", (2, 3, "half", 1)),
        (state("half"), command("quarantine", 3), "quarantine", (2, None, IDLE, 1)),
        (state(), command("quarantine", 2), "quarantine", (1, None, IDLE, None)),
        (state(), command("quarantine", 1), "quarantine", (2, None, IDLE, None)),
        (state("half"), command("quarantine", 2), "ignore", (2, 3, "half", 1)),
        (state(), command("quarantine", 7), "ignore", (2, None, IDLE, 1)),
    ],
)
def test_commands(at: State, order: dict[str, Any], name: str, after: Any) -> None:
    done = react(at, "commands", order)
    assert done.decision and done.decision.name == name
    assert "ana: complaints" in done.decision.words
    assert shape(done.state) == after
    assert (done.state is at) == (name == "ignore")
    assert react(done.state, "commands", order).state == done.state  # the same command again


def test_commands_of_others_are_none_of_its_business() -> None:
    assert react(state(), "commands", command("retrain")) == Step(state())


def test_a_paused_rollout_holds_but_is_still_taken_back_for_harm() -> None:
    at = state("half", paused=True)
    assert tick(at, 30).state is at
    assert tick(at, 1, BAD).state.challenger is None
    watched = state("full", paused=True)
    assert tick(watched, 30).state is watched


def test_a_challenger_that_is_paused_while_it_loads_waits_for_the_word_to_go_on() -> None:
    paused = react(state(LOADING), "commands", command("pause")).state
    assert react(paused, "routing.acks", ack(paused.epoch)).state is paused
    held = tick(paused, 30)
    assert held.state is paused
    assert held.decision and held.decision.numbers["reason"] == "paused"
    resumed = react(paused, "commands", command("resume", number=2)).state
    assert react(resumed, "routing.acks", ack(resumed.epoch)).state.stage == "shadow"


def test_no_tick_is_acted_on_twice() -> None:
    after = tick(state("shadow"), 1).state
    assert tick(after, 1) == Step(after)
    assert tick(after, 0.5) == Step(after)


EVENTS = st.one_of(
    st.tuples(
        st.just("verdicts"),
        st.builds(verdict, st.integers(1, 9), st.sampled_from(["pass", "pass", "fail"])),
    ),
    st.tuples(st.just("clock"), st.sampled_from([GOOD, BAD, Pairs()])),
    st.tuples(st.just("routing.acks"), st.sampled_from(["serving", "serving", "refused"])),
    st.tuples(
        st.just("commands"),
        st.builds(
            command,
            st.sampled_from(["rollback", "pause", "resume", "promote", "quarantine"]),
            st.none() | st.integers(1, 9),
            st.integers(1, 10**6),
        ),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens(events: list[tuple[str, Any]]) -> None:
    at, pairs = State("m"), Pairs()
    for day, (topic, drawn) in enumerate(events):
        pairs = drawn if topic == "clock" else pairs
        event = ack(at.epoch, drawn) if topic == "routing.acks" else drawn
        done = react(at, topic, event, day, pairs)
        after = done.state
        changed = after is not at
        assert after.epoch == at.epoch + changed
        assert after.time >= at.time
        assert set(at.quarantined) <= set(after.quarantined)
        assert not changed or done.decision is not None
        assert State.of(after.event()) == after
        assert react(after, topic, event, day, pairs).state == after  # handled twice, done once
        holds_together(after)
        at = after
    can_always_be_rolled_back(at)


def holds_together(at: State) -> None:
    assert at.challenger is None or at.challenger != at.champion
    assert (at.challenger is None) == (at.stage in {IDLE, "full"})
    record = routing(at, REPO, "")
    if record is None:
        assert at.champion is None and at.stage == IDLE
        return
    assert sum(weights(at).values()) == 10_000
    assert set(weights(at)) <= {at.champion, at.challenger}
    for found in (arm["digest"] for arm in (*record["arms"], *record["shadows"])):
        assert found not in at.quarantined
    if at.challenger:
        assert {at.challenger, at.champion} <= set(weights(at)) | set(shadows(at))


def can_always_be_rolled_back(at: State) -> None:
    target = at.champion if at.challenger else at.previous
    done = react(at, "commands", command("rollback", None, 0), 100)
    if target is not None:
        assert (done.state.champion, done.state.challenger) == (target, None)
