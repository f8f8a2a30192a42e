"""The rollout machine: each event in each state, and what no sequence of events may break."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.errors import BadInput
from driftgate.events import (
    DAY_MS,
    Command,
    RoutingAck,
    ServingCounts,
    Tick,
    Verdict,
    VersionCounts,
)
from driftgate.model_repo import Blackout, ModelYaml
from services.promoter.canary_analysis import OUTCOMES, Comparison, Evidence
from services.promoter.e_values import Events, Units
from services.promoter.rollout import (
    Decision,
    Event,
    Situation,
    Step,
    cause,
    short_id,
    step,
    trial,
)
from services.promoter.routing import routing
from services.promoter.state import IDLE, LOADING, Release, State

DAY = 20_000 * DAY_MS
REPO = ModelYaml.model_validate(
    {
        "model": "m",
        "task": {"kind": "text-classification", "labels": ["a", "b"]},
        "base": {"name": "all-MiniLM-L6-v2"},
        "monitors": [],
        "gate": {"min_accuracy": 0.8},
        "scope": {"language": "es"},
        "feedback": {"profile": ["labels"]},
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


def labelled(both: int = 0, only_old: int = 0, only_new: int = 0) -> Evidence:
    """Labels of requests that both versions answered, by who was right."""
    blamed = Events(0.5, only_old, only_new)
    told = (Units(-1.0, only_new), Units(0.0, both), Units(1.0, only_old))
    pairs = Comparison(OUTCOMES, "pairs", events=(blamed,), units=told)
    return Evidence((pairs,), both + only_old + only_new, only_old + only_new)


GOOD = labelled(both=600, only_old=3, only_new=6)
UNPROVEN = labelled(both=45, only_old=6, only_new=4)
BAD = labelled(both=10, only_old=30)


def with_rules(**changes: Any) -> ModelYaml:
    return REPO.model_copy(update={"rollout": REPO.rollout.model_copy(update=changes)})


STRICT = with_rules(every_router=True)


def verdict(version: int, result: str = "pass", digest: str = "", **more: Any) -> Verdict:
    fields = {
        "verdict_id": f"m@{version}",
        "model": "m",
        "version": version,
        "retrain_id": "",
        "adapter_digest": digest or f"d{version}",
        "adapter_uri": f"sha256:d{version}",
        "champion": None if version == 1 else 2,
        "base": "base",
        "base_digest": "b",
        "result": result,
        "axes": [],
        "repo_hash": f"repo-{version}",
        "report_uri": "",
        "words": "as evaluated",
        "time": DAY,
    }
    return Verdict.of(fields | more)


def ack(
    epoch: int,
    status: Literal["serving", "refused"] = "serving",
    router: str = "router-0",
    retrying: bool = False,
) -> RoutingAck:
    return RoutingAck(
        router=router,
        model="m",
        epoch=epoch,
        status=status,
        digests=(),
        reason="corrupt" if status == "refused" else None,
        retrying=retrying,
        time=DAY,
    )


def command(kind: Any, version: int | None = None, number: int = 1) -> Command:
    return Command(
        command_id=f"c-{number}",
        model="m",
        kind=kind,
        version=version,
        actor="ana",
        reason="complaints",
        time=DAY,
    )


def releases(*versions: int) -> dict[int, Release]:
    return {v: Release(f"d{v}", f"sha256:d{v}", "base", "b", "t", f"repo-{v}") for v in versions}


def state(stage: str = IDLE, **changes: Any) -> State:
    """Version 2 is champion, version 1 was; outside idle version 3 is tried, but for `full`."""
    challenger = None if stage in {IDLE, "full"} else 3
    made = State(
        model="m",
        epoch=9,
        champion=2,
        challenger=challenger,
        stage=stage,
        previous=1,
        since=DAY,
        versions=releases(1, 2),
        repo_hash="repo-2",
        time=DAY,
    )
    if challenger:
        made = replace(made, versions=releases(1, 2, 3), repo_hash="repo-3")
    return replace(made, **changes)


def react(
    at: State,
    event: Event,
    days: float = 0,
    evidence: Evidence = GOOD,
    acks: Iterable[RoutingAck] | None = None,
    rules: ModelYaml | BadInput = REPO,
    **more: Any,
) -> Step:
    known = (ack(at.epoch),) if acks is None else tuple(acks)
    situation = Situation(
        now=DAY + int(days * DAY_MS), declared=rules, evidence=evidence, acks=known, **more
    )
    return step(at, event, situation)


def tick(at: State, days: float, evidence: Evidence = GOOD, **more: Any) -> Step:
    time = DAY + int(days * DAY_MS)
    return react(at, Tick(world="w", time=time, positions={}), days, evidence, **more)


def only(done: Step) -> Decision:
    (decision,) = done.decisions
    return decision


def beside_handled(at: State) -> State:
    """A state without what it remembers of what was decided."""
    return replace(at, handled=())


def shape(at: State) -> tuple[int | None, int | None, str, int | None]:
    return at.champion, at.challenger, at.stage, at.previous


def weights(at: State) -> dict[int, int]:
    record = routing(at, REPO, {})
    assert record is not None
    return {arm.version: arm.weight for arm in record.arms}


def shadows(at: State) -> list[int]:
    record = routing(at, REPO, {})
    assert record is not None
    return [arm.version for arm in record.shadows]


def test_a_first_release_gets_all_traffic_at_once() -> None:
    done = react(State("m"), verdict(1), acks=())
    assert shape(done.state) == (1, None, IDLE, None)
    assert (done.state.epoch, weights(done.state), shadows(done.state)) == (1, {1: 10_000}, [])
    assert only(done).name == "start"


def test_a_whole_rollout_step_by_step() -> None:
    at = react(state(), verdict(3)).state
    assert (shape(at), weights(at), shadows(at)) == ((2, 3, LOADING, 1), {2: 10_000}, [1, 3])
    told = []
    for stage, live, shadowed in [
        ("shadow", {2: 10_000}, [1, 3]),
        ("canary-5", {3: 500, 2: 9500}, [1, 2, 3]),
        ("half", {3: 5000, 2: 5000}, [1, 2, 3]),
    ]:
        done = (
            react(at, ack(at.epoch))
            if at.stage == LOADING
            else tick(at, (at.since - DAY) / DAY_MS + 1)
        )
        at = done.state
        told.append(only(done).name)
        assert (at.stage, weights(at), shadows(at)) == (stage, live, shadowed)
        assert next(iter(weights(at))) == (2 if stage == "shadow" else 3)
    full = tick(at, 3).state
    assert (shape(full), weights(full), shadows(full)) == (
        (3, None, "full", 2),
        {3: 9500, 2: 500},  # some hear its predecessor, so that there is something to compare with
        [1, 2, 3],
    )
    done = tick(full, 10)
    assert (shape(done.state), shadows(done.state)) == ((3, None, IDLE, 2), [1])
    assert [*told, only(done).name] == ["advance"] * 3 + ["finish"]
    assert done.state.epoch == 15


@pytest.mark.parametrize(("compared_with", "told"), [(1, "version 1"), (None, "nobody")])
def test_a_version_that_was_compared_with_a_former_champion_is_not_tried(
    compared_with: int | None, told: str
) -> None:
    """As where a training outlasts the next rollout."""
    for at in (state(), state("canary-5")):
        done = react(at, verdict(4, champion=compared_with))
        assert shape(done.state) == shape(at)
        assert only(done).name == "reject"
        expected = f"it was compared with {told}, but version 2 is champion now"
        assert only(done).summary == expected


def test_routing_says_where_adapters_lie_and_what_a_rollback_returns_to() -> None:
    record = routing(state("canary-5"), REPO, {})
    assert record is not None
    assert record.arms[0].as_dict() == {
        "version": 3,
        "digest": "d3",
        "adapter_uri": "sha256:d3",
        "weight": 500,
        "base": "base",
        "base_digest": "b",
        "task": "t",
        "prompt": None,
    }
    assert (record.rollback_to, record.scope) == (2, {"language": "es"})
    assert (record.epoch, record.time, record.base_digest) == (9, DAY, "b")


def test_versions_on_two_bases_serve_side_by_side_under_the_champions_name() -> None:
    at = react(state(), verdict(3, base="other", base_digest="o")).state
    at = replace(at, stage="half")
    record = routing(at, REPO, {})
    assert record is not None
    found = [(arm.version, arm.base, arm.base_digest) for arm in record.arms]
    assert found == [(3, "other", "o"), (2, "base", "b")]
    assert (record.base, record.base_digest) == ("base", "b")


@pytest.mark.parametrize(
    ("at", "event", "in_force"),
    [
        (state(LOADING), ack(9, "refused"), "repo-2"),
        (state("half"), command("rollback"), "repo-2"),
        (state("full", repo_hash="repo-2"), command("rollback"), "repo-1"),
    ],
)
def test_the_model_repo_of_whoever_answers_is_in_force_after_a_challenger_left(
    at: State, event: Event, in_force: str
) -> None:
    acks = [event] if isinstance(event, RoutingAck) else None
    assert react(at, event, acks=acks).state.repo_hash == in_force


@pytest.mark.parametrize("stage", ["shadow", "canary-5", "half"])
@pytest.mark.parametrize(
    ("evidence", "days", "name", "after"),
    [
        (BAD, 0.1, "rollback", (2, None, IDLE, 1)),
        (Evidence(), 5, "hold", None),
        (GOOD, 0.5, "hold", None),
        (labelled(both=9, only_old=6, only_new=4), 22, "give-up", (2, None, IDLE, 1)),
    ],
)
def test_a_challenger_is_held_or_taken_back(
    stage: str, evidence: Evidence, days: float, name: str, after: Any
) -> None:
    at = state(stage)
    done = tick(at, days, evidence)
    assert only(done).name == name
    assert shape(done.state) == (after or shape(at))
    assert done.state.quarantined == (("d3",) if name == "rollback" else ())
    assert (done.state is at) == (name == "hold")


def test_a_new_champion_that_harms_goes_back_by_itself() -> None:
    done = tick(state("full"), 2, BAD)
    assert (shape(done.state), done.state.quarantined) == ((1, None, IDLE, None), ("d2",))
    assert trial(state("full")) == (1, 2)


def test_loading_ends_when_the_routers_hold_the_challenger() -> None:
    at = state(LOADING)
    behind = [ack(9), ack(8, router="router-1")]
    assert react(at, ack(9), acks=behind) == Step(at)
    done = react(at, ack(9), acks=[ack(9), ack(9, router="router-1")])
    assert (done.state.stage, done.state.summary) == (
        "shadow",
        "to stage shadow: 2 routers hold it",
    )
    assert react(at, ack(8), acks=[ack(9)]) == Step(at)


def test_a_router_that_is_gone_blocks_nothing_once_a_tick_shows_it() -> None:
    at = state(LOADING)
    behind = [ack(9), ack(8, router="router-1")]
    assert only(tick(at, 0.1, acks=behind)).summary == "router-1 did not acknowledge it yet"
    assert tick(at, 0.2, acks=[ack(9)], lost=("router-1",)).state.stage == "shadow"


@pytest.mark.parametrize(
    ("acks", "told"),
    [
        ([ack(9), ack(8, router="router-1")], "router-1 did not acknowledge it yet"),
        ([], "no router acknowledges anything"),
    ],
)
def test_no_stage_begins_before_every_router_serves_the_one_that_is_on(
    acks: list[RoutingAck], told: str
) -> None:
    for stage in ("shadow", "half"):
        at = state(stage)
        held = tick(at, 2, acks=acks)
        assert (held.state, only(held).name, only(held).summary) == (at, "hold", told)
        assert tick(at, 2, BAD, acks=acks).state.quarantined == ("d3",)
        late = tick(at, 22, acks=acks)
        assert (only(late).name, late.state.quarantined) == ("give-up", ())


def test_a_router_that_refuses_is_named_and_stops_nobody() -> None:
    at = state(LOADING)
    refusing = ack(9, "refused", "router-1")
    first = react(at, refusing, acks=[ack(8), refusing])
    assert first.state is at
    assert (only(first).name, only(first).version) == ("refusal", 3)
    assert "router-1 refuses epoch 9" in only(first).summary
    waits = ack(9, "refused", "router-1", retrying=True)
    told = react(at, waits, acks=[ack(8), waits])
    causes = [cause(at, refusing, only(first)), cause(at, waits, only(told))]
    assert causes[0] != causes[1]  # what it waited for is no reason to be silent of what it met
    done = react(at, ack(9), acks=[ack(9), refusing])
    assert done.state.stage == "shadow"
    assert done.state.summary == "to stage shadow: 1 router holds it; router-1 refuses it: corrupt"


def test_where_every_router_must_serve_a_refusal_holds_the_rollout() -> None:
    refusing = ack(9, "refused", "router-1")
    for stage, evidence in ((LOADING, Evidence()), ("shadow", GOOD)):
        at = state(stage)
        more: Any = {"acks": [ack(9), refusing], "rules": STRICT}
        assert react(at, ack(9), **more) == Step(at)
        held = tick(at, 1, evidence, **more)
        assert held.state is at
        assert (only(held).numbers["reason"], "router-1" in only(held).summary) == ("refused", True)
        late = tick(at, 22, evidence, **more)
        assert (only(late).name, late.state.challenger) == ("give-up", None)
        assert late.state.quarantined == ()
    assert tick(state("half"), 1, BAD, **more).state.quarantined == ("d3",)


@pytest.mark.parametrize("stage", [LOADING, "shadow", "half"])
def test_a_challenger_that_no_router_can_serve_leaves_and_may_come_again(stage: str) -> None:
    at = state(stage)
    both = [ack(9, "refused"), ack(9, "refused", "router-1")]
    done = react(at, both[0], acks=both)
    assert (shape(done.state), done.state.quarantined) == ((2, None, IDLE, 1), ())
    assert [decision.name for decision in done.decisions] == ["refusal", "refused"]
    assert "router-1 refuses it: corrupt" in done.state.summary
    assert tick(at, 0.1, acks=both).state.challenger is None
    assert react(done.state, verdict(4, digest="d3")).state.challenger == 4


def test_a_challenger_is_not_given_up_for_refusals_while_a_router_is_lost() -> None:
    at = state(LOADING)
    refusing = [ack(9, "refused")]
    assert react(at, refusing[0], acks=refusing, lost=("router-1",)).state is at
    held = only(tick(at, 1, acks=refusing, lost=("router-1",)))
    assert held.summary == "router-0 refuses it: corrupt; nothing is heard of router-1"
    assert only(tick(at, 1, acks=())).numbers["reason"] == "no-router"


def test_a_router_that_waits_for_artifacts_holds_up_no_other_and_is_taken_in_again() -> None:
    at, waits = state(LOADING), ack(9, "refused", "router-1", retrying=True)
    done = react(at, ack(9), acks=[ack(9), waits])
    assert done.state.stage == "shadow"
    back = ack(done.state.epoch, router="router-1")
    strict: Any = {"rules": STRICT}
    shadow = done.state
    refuses = ack(shadow.epoch, "refused", "router-1", retrying=True)
    held = tick(shadow, 2, acks=[ack(shadow.epoch), refuses], **strict)
    assert only(held).numbers["reason"] == "refused"
    assert tick(shadow, 3, acks=[ack(shadow.epoch), back], **strict).state.stage == "canary-5"


def test_a_challenger_stays_while_all_routers_that_refuse_it_go_on_trying() -> None:
    at = state(LOADING)
    both = [ack(9, "refused"), ack(9, "refused", "router-1", retrying=True)]
    assert react(at, both[1], acks=both).state is at
    held = only(tick(at, 1, acks=both))
    assert (held.name, held.numbers["reason"]) == ("hold", "refused")
    assert react(at, ack(9), acks=[both[0], ack(9, router="router-1")]).state.stage == "shadow"


@pytest.mark.parametrize("acks", [[ack(9)], [ack(9, "refused")]])
def test_while_the_model_repo_cannot_be_read_an_acknowledgement_changes_nothing(
    acks: list[RoutingAck],
) -> None:
    missing = BadInput("unhandled", "repo_hash", "repo-3", "a stored model repo")
    at = state(LOADING)
    assert react(at, acks[0], acks=acks, rules=missing).state is at


@pytest.mark.parametrize("at", [state(), state("full"), state(previous=None)])
def test_refusals_take_no_champion_back(at: State) -> None:
    done = react(at, ack(9, "refused"), acks=[ack(9, "refused")])
    assert done.state is at
    assert (only(done).name, only(done).version) == ("refusal", 2)


def test_a_first_release_that_no_router_can_serve_stays_the_desired_state() -> None:
    first = react(State("m"), verdict(1), acks=()).state
    done = react(first, ack(1, "refused"), acks=[ack(1, "refused")])
    assert (done.state, only(done).name) == (first, "refusal")
    assert weights(done.state) == {1: 10_000}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (verdict(4, "fail"), "as evaluated"),
        (verdict(4, "insufficient"), "as evaluated"),
        (verdict(4, digest="bad"), "quarantined"),
        (verdict(2, digest="other"), "newer"),
    ],
)
def test_a_version_that_may_not_ship_is_rejected(found: Verdict, words: str) -> None:
    at = state(quarantined=("bad",))
    done = react(at, found)
    assert beside_handled(done.state) == at
    assert (only(done).name, words in only(done).summary) == ("reject", True)


def test_the_newest_version_wins() -> None:
    done = react(state("half"), verdict(4))
    assert (shape(done.state), weights(done.state)) == ((2, 4, LOADING, 1), {2: 10_000})
    assert only(done).name == "supersede"
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
        (state("half"), command("rollback", 2), "rollback", (1, None, IDLE, None)),
        (state("half", previous=None), command("rollback", 2), "ignore", (2, 3, "half", None)),
        (state("half"), command("rollback", 1), "ignore", (2, 3, "half", 1)),
        (state("half"), command("abort"), "abort", (2, None, IDLE, 1)),
        (state("half"), command("abort", 2), "ignore", (2, 3, "half", 1)),
        (state("full"), command("abort"), "ignore", (2, None, "full", 1)),
        (state(quarantined=("d9",)), command("release", 9), "ignore", (2, None, IDLE, 1)),
        (state("half"), command("approve"), "ignore", (2, 3, "half", 1)),
        (state("shadow"), command("promote"), "promote", (3, None, "full", 2)),
        (state(), command("promote"), "ignore", (2, None, IDLE, 1)),
        (state("half"), command("pause"), "pause", (2, 3, "half", 1)),
        (state("half"), command("resume"), "ignore", (2, 3, "half", 1)),
        (state("half"), command("pause", 3), "pause", (2, 3, "half", 1)),
        (state("half"), command("pause", 4), "ignore", (2, 3, "half", 1)),
        (state("half", paused=True), command("resume", 4), "ignore", (2, 3, "half", 1)),
        (state("half", paused=True), command("resume"), "resume", (2, 3, "half", 1)),
        (state("half"), command("quarantine", 3), "quarantine", (2, None, IDLE, 1)),
        (state(), command("quarantine", 2), "quarantine", (1, None, IDLE, None)),
        (state(), command("quarantine", 1), "quarantine", (2, None, IDLE, None)),
        (state("half"), command("quarantine", 2), "quarantine", (1, None, IDLE, None)),
        (state(), command("quarantine", 7), "ignore", (2, None, IDLE, 1)),
    ],
)
def test_commands(at: State, order: Command, name: str, after: Any) -> None:
    done = react(at, order)
    assert only(done).name == name
    assert "ana: complaints" in only(done).summary
    assert shape(done.state) == after
    assert (beside_handled(done.state) == at) == (name == "ignore")
    assert react(done.state, order) == Step(done.state)  # the same command again


def test_a_verdict_or_command_is_obeyed_once_whatever_came_after_it() -> None:
    order, passed = command("rollback"), verdict(4)
    at = react(state("half"), order).state
    at = react(at, passed).state
    assert react(at, order) == Step(at)
    at = react(at, verdict(5)).state
    assert react(at, passed) == Step(at)


def test_what_was_ignored_or_rejected_is_not_obeyed_when_it_comes_again() -> None:
    ignored, rejected = command("promote"), verdict(3)
    at = react(state(), ignored).state
    at = react(at, verdict(4)).state
    at = react(at, rejected).state
    assert react(at, ignored) == Step(at)
    at = react(at, command("rollback", number=2)).state
    assert react(at, rejected) == Step(at)
    late = command("rollback", 4, number=3)
    at = react(react(at, late).state, verdict(5)).state
    assert react(at, late) == Step(at)


def test_a_command_that_a_state_of_before_names_by_its_whole_id_is_not_obeyed_again() -> None:
    at = state("half", handled=("c-1",))
    assert react(at, command("rollback")) == Step(at)


def test_as_many_are_remembered_as_one_poll_gives_and_the_record_stays_small() -> None:
    at, orders = state("half"), [command("resume", number=n) for n in range(5_000)]
    at = replace(at, handled=tuple(short_id(order.command_id) for order in orders))
    assert react(at, orders[0]) == Step(at)
    at = react(at, command("resume", number=5_000)).state
    assert len(at.handled) == 5_000
    assert sum(map(len, at.handled)) == 40_000


# ---------------------------------------------------------------- what waits for its turn


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (state("full"), "version 2, the new champion, is watched"),
        (state("half", paused=True), "an operator holds version 3"),
    ],
)
def test_a_version_that_passes_while_one_is_watched_or_held_waits(at: State, why: str) -> None:
    done = react(at, verdict(4))
    assert done.state.waiting is not None
    assert beside_handled(replace(done.state, waiting=None)) == at
    assert (only(done).name, only(done).summary) == ("wait", f"passed, and waits: {why}")
    assert State.of(done.state.record()) == done.state
    newer = react(done.state, verdict(5))
    assert newer.state.waiting and newer.state.waiting.version == 5
    assert only(newer).summary.endswith("; version 4, which waited, is dropped for it")
    assert only(react(newer.state, verdict(4, digest="again", verdict_id="x"))).name == "reject"


def test_harm_of_a_watched_champion_takes_it_back_whatever_passed_meanwhile() -> None:
    waits = react(state("full"), verdict(4)).state
    back = tick(waits, 2, BAD)
    assert (shape(back.state), back.state.quarantined) == ((1, None, IDLE, None), ("d2",))
    done = tick(back.state, 3)
    assert shape(done.state) == (1, None, IDLE, None)
    assert done.state.waiting is None
    told = "it was compared with version 2, but version 1 is champion now"
    assert (only(done).name, only(done).version, only(done).summary) == ("reject", 4, told)


def test_a_watch_is_over_when_there_is_nobody_to_go_back_to_any_more() -> None:
    """There is nothing to compare with, and what waits would wait for nothing."""
    waits = react(state("full"), verdict(4)).state
    done = react(waits, command("quarantine", 1))
    assert (shape(done.state), done.state.quarantined) == ((2, None, IDLE, None), ("d1",))
    assert tick(done.state, 0.1).state.challenger == 4


def test_what_waited_starts_when_the_watch_is_over() -> None:
    waits = react(state("full"), verdict(4)).state
    assert tick(waits, 1).state == waits
    over = tick(waits, 8)
    assert (only(over).name, over.state.waiting) == ("finish", waits.waiting)
    done = tick(over.state, 9)
    assert (shape(done.state), done.state.waiting) == ((2, 4, LOADING, 1), None)
    assert (only(done).name, done.state.repo_hash) == ("start", "repo-4")
    assert tick(done.state, 9) == Step(done.state)


def test_what_was_compared_with_the_one_before_the_watched_starts_when_that_is_back() -> None:
    waits = react(state("full"), verdict(4, champion=1)).state
    back = react(waits, command("rollback")).state
    assert shape(tick(back, 1).state) == (1, 4, LOADING, None)


def test_what_waited_for_an_operator_supersedes_when_the_rollout_is_resumed() -> None:
    waits = react(state("half", paused=True), verdict(4)).state
    resumed = react(waits, command("resume")).state
    assert resumed.challenger == 3
    done = tick(resumed, 0.1)
    assert (only(done).name, done.state.challenger, done.state.waiting) == ("supersede", 4, None)
    promoted = react(waits, command("promote", number=2)).state
    assert (promoted.stage, tick(promoted, 0.1).state.waiting) == ("full", waits.waiting)


def test_a_version_that_waits_can_be_quarantined() -> None:
    waits = react(state("full"), verdict(4)).state
    done = react(waits, command("quarantine", 4))
    assert (done.state.waiting, done.state.quarantined) == (None, ("d4",))
    assert (only(done).name, shape(done.state)) == ("quarantine", shape(waits))


def test_a_rejection_of_what_waited_swallows_no_tick() -> None:
    waits = react(state("half", paused=True), verdict(4, champion=1)).state
    resumed = react(waits, command("resume")).state
    done = tick(resumed, 1, BAD)
    assert [decision.name for decision in done.decisions] == ["reject", "rollback"]


def test_what_needs_no_model_repo_is_done_without_one() -> None:
    missing = BadInput("unhandled", "repo_hash", "repo-3", "a stored model repo")
    assert react(state("half"), command("rollback"), rules=missing).state.challenger is None
    assert react(state("half"), command("pause"), rules=missing).state.paused
    with pytest.raises(BadInput, match="a stored model repo"):
        tick(state("half"), 1, rules=missing)


def test_a_change_overtakes_routing_that_is_ahead_of_the_state() -> None:
    assert react(state(), verdict(3), routed=12).state.epoch == 13


def test_the_same_decision_has_the_same_cause_whenever_it_is_taken() -> None:
    at = state("shadow")
    first, later = tick(at, 2, Evidence()), tick(at, 3, labelled(both=1))
    clock = Tick(world="w", time=DAY, positions={})
    assert cause(at, clock, only(first)) == cause(at, clock, only(later))
    soak = only(tick(at, 0.5))
    assert cause(at, clock, soak) != cause(at, clock, only(first))
    assert cause(at, command("pause"), soak) == {"command": "c-1"}
    assert cause(at, verdict(3), soak) == {"verdict": "m@3"}


def test_a_paused_rollout_holds_but_is_still_taken_back_for_harm() -> None:
    at = state("half", paused=True)
    assert tick(at, 30).state is at
    assert tick(at, 1, BAD).state.challenger is None
    watched = state("full", paused=True)
    held = tick(watched, 30)
    assert (held.state, only(held).numbers["reason"]) == (watched, "paused")


def paused_for(at: State, begin: float, end: float) -> State:
    """A state that an operator held from one day to another."""
    held = react(at, command("pause", number=1), begin).state
    return react(held, command("resume", number=2), end).state


def test_a_pause_stops_the_clock_of_the_soak() -> None:
    at = paused_for(state("shadow"), 0.5, 10)
    assert (at.since, State.of(at.record())) == (DAY, at)
    held = tick(at, 10.4)
    assert (only(held).name, only(held).numbers["reason"]) == ("hold", "soak")
    assert only(held).numbers["days"] == pytest.approx(0.9)
    assert tick(at, 10.5).state.stage == "canary-5"


def test_a_rollout_is_not_given_up_for_the_time_that_it_was_paused() -> None:
    at = paused_for(state("half"), 20, 30)
    assert only(tick(at, 30.9, UNPROVEN)).name == "hold"
    assert only(tick(at, 31.1, UNPROVEN)).name == "give-up"
    loads = paused_for(state(LOADING), 20, 30)
    assert only(tick(loads, 30.9, acks=())).name == "hold"
    assert only(tick(loads, 31.1, acks=())).name == "give-up"


def test_a_watch_lasts_as_long_as_it_was_not_paused() -> None:
    at = paused_for(state("full"), 1, 9)
    assert only(tick(at, 10)).numbers["reason"] == "watch"
    assert only(tick(at, 15)).name == "finish"


def test_all_pauses_of_a_stage_count_whatever_changes_meanwhile() -> None:
    at = react(state("shadow"), command("pause", number=1), 0.25).state
    at = react(at, command("quarantine", 1, number=2), 1).state
    at = react(at, command("resume", number=3), 2).state
    at = react(at, command("pause", number=4), 2.5).state
    at = react(at, command("resume", number=5), 3).state
    assert only(tick(at, 3.2)).numbers["reason"] == "soak"
    at = tick(at, 3.25).state
    assert (at.stage, at.held_ms) == ("canary-5", 0)
    assert only(tick(at, 4.2)).numbers["reason"] == "soak"
    assert tick(at, 4.25).state.stage == "half"


def test_a_trial_begins_with_its_first_stage_and_ends_with_the_last() -> None:
    at = react(state(), verdict(3), 1).state
    assert (at.stage, at.begun) == ("loading", 0)
    at = tick(at, 2).state
    assert (at.stage, at.begun) == ("shadow", DAY + 2 * DAY_MS)
    at = State.of(tick(at, 3).state.record())
    assert (at.stage, at.begun) == ("canary-5", DAY + 2 * DAY_MS)
    newer = react(at, verdict(4), 3.5).state
    assert (newer.challenger, newer.stage, newer.begun) == (4, "loading", 0)
    assert react(at, command("rollback"), 3.5).state.begun == 0
    assert tick(tick(at, 4).state, 5).state.begun == 0, "who watches compares anew"


def test_a_rollout_that_begins_paused_has_all_its_time_when_it_is_resumed() -> None:
    at = react(react(state(), command("pause")).state, verdict(3), 5).state
    assert only(tick(at, 40, acks=())).numbers["reason"] == "paused"
    at = react(at, command("resume", number=2), 40).state
    assert only(tick(at, 60.9, acks=())).numbers["reason"] == "no-router"
    assert only(tick(at, 61.1, acks=())).name == "give-up"


def test_who_promotes_lets_the_watch_go_on() -> None:
    done = react(state("half", paused=True), command("promote"))
    assert (done.state.stage, done.state.paused) == ("full", False)


def test_a_champion_without_a_predecessor_takes_nobody_with_it() -> None:
    done = react(state("half", previous=None), command("rollback", 2))
    assert done.state.challenger == 3
    assert "leaves too" not in only(done).summary


def test_a_version_that_is_forgotten_is_quarantined_by_its_digest() -> None:
    order = replace(command("quarantine", 7), args={"digest": "d7"})
    done = react(state(), order)
    assert (only(done).name, done.state.quarantined) == ("quarantine", ("d7",))
    again = react(done.state, replace(order, command_id="c-9"))
    assert "in quarantine already" in only(again).summary


def test_a_watch_without_a_hold_back_ends_with_its_days_and_says_what_it_lacks() -> None:
    done = tick(state("full"), 7, Evidence(), rules=with_rules(hold_back=0.0))
    assert only(done).name == "finish"
    assert "without enough evidence" in only(done).summary


def test_a_challenger_that_is_paused_while_it_loads_waits_for_the_word_to_go_on() -> None:
    paused = react(state(LOADING), command("pause")).state
    assert react(paused, ack(paused.epoch)).state is paused
    held = tick(paused, 30)
    assert held.state is paused
    assert only(held).numbers["reason"] == "paused"
    resumed = react(paused, command("resume", number=2)).state
    assert react(resumed, ack(resumed.epoch)).state.stage == "shadow"


def test_no_tick_is_acted_on_twice() -> None:
    after = tick(state("shadow"), 1).state
    assert tick(after, 1) == Step(after)
    assert tick(after, 0.5) == Step(after)


# ---------------------------------------------------------------- who may, when, and how often


GATED = with_rules(
    approvers=["ana", "bo"],
    stages=[
        stage.model_copy(update={"approval": stage.name == "half"}) for stage in REPO.rollout.stages
    ],
)


def test_a_stage_that_needs_approval_waits_for_who_may_give_it() -> None:
    at = state("canary-5")
    held = tick(at, 2, rules=GATED)
    assert only(held).numbers["reason"] == "approval"
    assert "driftgate approve m" in only(held).summary
    by_nobody = replace(command("approve"), actor="eve")
    refused = react(at, by_nobody, rules=GATED)
    assert only(refused).name == "ignore"
    assert "eve is none of rollout.approvers: ana, bo" in only(refused).summary
    approved = react(at, command("approve"), rules=GATED).state
    assert (approved.approved, approved.since) == (("half",), at.since)
    assert tick(approved, 2, rules=GATED).state.stage == "half"
    again = react(approved, command("approve", number=2), rules=GATED)
    assert "stages that wait for approval: none" in only(again).summary
    next_one = react(approved, verdict(4), rules=GATED).state
    assert next_one.approved == ()


def test_the_first_stage_waits_for_approval_and_for_the_hour_too() -> None:
    stages = [
        stage.model_copy(update={"approval": stage.name == "shadow"})
        for stage in REPO.rollout.stages
    ]
    at = state(LOADING)
    for rules, reason in (
        (with_rules(stages=stages), "approval"),
        (with_rules(blackout=[Blackout(begin="00:00", end="00:00")]), "blackout"),
    ):
        assert react(at, ack(9), rules=rules).state is at
        assert only(tick(at, 1, rules=rules)).numbers["reason"] == reason
    approved = react(at, command("approve"), rules=with_rules(stages=stages)).state
    done = react(approved, ack(10), acks=[ack(10)], rules=with_rules(stages=stages))
    assert done.state.stage == "shadow"


def test_nobody_goes_round_an_approval_by_promoting() -> None:
    by_nobody = replace(command("promote"), actor="eve")
    assert only(react(state("canary-5"), by_nobody, rules=GATED)).name == "ignore"
    assert only(react(state("canary-5"), command("promote"), rules=GATED)).name == "promote"


def test_a_stage_that_nobody_approves_is_given_up() -> None:
    assert only(tick(state("canary-5"), 22, rules=GATED)).name == "give-up"


def test_no_stage_begins_in_blackout_hours_and_harm_is_taken_back_all_the_same() -> None:
    hours = Blackout(begin="00:00", end="00:00")
    rules = with_rules(blackout=[hours])
    held = tick(state("canary-5"), 2, rules=rules)
    assert only(held).numbers["reason"] == "blackout"
    assert only(tick(state("canary-5"), 2, BAD, rules=rules)).name == "rollback"


def test_promote_is_refused_before_every_router_holds_the_version() -> None:
    for acks in ([ack(9), ack(8, router="router-1")], [ack(9), ack(9, "refused", "router-1")]):
        done = react(state(LOADING), command("promote"), acks=acks)
        assert (only(done).name, done.state.stage) == ("ignore", LOADING)
        assert "not every router holds it yet: router-1" in only(done).summary
    done = react(state(LOADING), command("promote"), acks=[])
    assert "none is heard of" in only(done).summary


def test_nobody_goes_round_a_blackout_by_promoting() -> None:
    rules = with_rules(blackout=[Blackout(begin="00:00", end="00:00")])
    done = react(state("half"), command("promote"), rules=rules)
    assert (only(done).name, done.state.challenger) == ("ignore", 3)
    assert "no stage begins in these hours, until" in only(done).summary


def test_after_a_roll_back_no_rollout_begins_for_a_while_and_longer_after_the_next() -> None:
    back = tick(state("half"), 1, BAD).state
    assert (back.rollbacks, back.back_off_until) == (1, DAY + 2 * DAY_MS)
    waits = react(back, verdict(4), days=1.5)
    assert only(waits).name == "wait"
    assert "so soon after a version was taken back (once)" in only(waits).summary
    started = tick(waits.state, 2).state
    assert started.challenger == 4
    again = tick(replace(started, stage="half"), 3, BAD).state
    assert again.back_off_until == DAY + 5 * DAY_MS
    assert tick(replace(again, stage="full", since=DAY), 30).state.rollbacks == 0


def test_giving_up_aborting_and_refusals_keep_nobody_waiting() -> None:
    for done in (tick(state("half"), 22, UNPROVEN), react(state("half"), command("abort"))):
        assert (done.state.rollbacks, done.state.quarantined) == (0, ())


def test_a_quarantine_ends_when_its_time_is_over_or_somebody_ends_it() -> None:
    bounded = with_rules(quarantine_days=30.0, back_off=0.0)
    back = tick(state("half"), 1, BAD, rules=bounded).state
    again = verdict(4, digest="d3")
    assert only(react(back, again, days=30, rules=bounded)).name == "reject"
    assert only(react(back, again, days=31, rules=bounded)).name == "start"
    release = replace(command("release", 3), args={"digest": "d3"})
    released = react(back, release, days=2)
    assert (only(released).name, released.state.quarantined) == ("release", ())
    assert released.state.quarantine_ends == {}
    assert only(react(released.state, again, days=3)).name == "start"
    unknown = replace(command("release", 3), args={"digest": "d7"})
    assert "d7 is not in quarantine" in only(react(back, unknown)).summary


def test_who_is_taken_back_again_for_ever_stays_in_quarantine() -> None:
    once = state("half", quarantined=("d3",), quarantine_ends={"d3": DAY})
    back = tick(once, 1, BAD).state
    assert (back.quarantined, back.quarantine_ends) == (("d3",), {})
    assert back.in_quarantine("d3", DAY + 1000 * DAY_MS)


def test_each_rollout_deals_people_anew_and_keeps_them_while_it_is_on() -> None:
    salts = []
    at = state()
    for version in (3, 4):
        at = react(at, verdict(version)).state
        record = routing(at, REPO, {})
        assert record is not None
        salts.append(record.salt)
        at = react(at, ack(at.epoch)).state
        assert routing(at, REPO, {}).salt == salts[-1]  # type: ignore[union-attr]
    assert len(set(salts)) == 2


def test_who_a_roll_back_returns_to_stays_in_memory_until_the_next_is_settled() -> None:
    def standby(at: State) -> list[int]:
        rules = with_rules(one_off=False)
        record = routing(at, rules, {})
        assert record is not None
        return [arm.version for arm in record.standby]

    assert standby(state()) == [1]
    assert standby(state("half")) == [1]
    assert standby(state("full")) == []  # version 1 answers beside
    assert standby(state(previous=None)) == []


def test_a_hold_is_told_once_a_day() -> None:
    at = state("shadow")
    told = [cause(at, event_at(days), only(tick(at, days, Evidence()))) for days in (2, 2.9, 3.1)]
    assert told[0] == told[1] != told[2]


def event_at(days: float) -> Tick:
    return Tick(world="w", time=DAY + int(days * DAY_MS), positions={})


# ---------------------------------------------------------------- no feedback, no store


def test_a_watch_without_evidence_never_ends_as_good() -> None:
    nothing = tick(state("full"), 8, Evidence())
    assert (only(nothing).name, only(nothing).numbers["reason"]) == ("hold", "samples")
    late = tick(state("full"), 29, Evidence())
    assert only(late).name == "finish"
    assert "without enough evidence: 0 of 30 samples are known" in only(late).summary


@pytest.mark.parametrize("stage", ["shadow", "half", "full"])
def test_a_store_that_is_behind_holds_and_still_shows_harm(stage: str) -> None:
    held = tick(state(stage), 10, replace(GOOD, behind="its newest tick is old"))
    assert only(held).numbers["reason"] == "behind"
    assert only(tick(state(stage), 10, replace(BAD, behind="x"))).name == "rollback"


# ---------------------------------------------------------------- the fast lane


def counted(epoch: int = 9, **tries: tuple[int, int]) -> ServingCounts:
    """Answers and errors of versions `v2`, `v3`."""
    versions = [
        {
            "version": int(name[1:]),
            "digest": "",
            "answers": answers,
            "errors": errors,
            "shadow_answers": 0,
            "shadow_errors": 0,
        }
        for name, (answers, errors) in tries.items()
    ]
    fields = {"router": "r", "started": "s", "model": "m", "epoch": epoch, "time": DAY}
    return ServingCounts.of({**fields, "versions": versions})


def test_a_version_that_fails_is_taken_back_at_once() -> None:
    bad = counted(v3=(30, 8), v2=(600, 12))
    done = react(state("canary-5"), bad, counts=(bad,))
    assert (only(done).name, done.state.quarantined) == ("rollback", ("d3",))
    assert "8 errors in 38 answers, the other 12 in 612" in only(done).summary


def test_a_version_that_fails_is_taken_back_while_the_model_repo_cannot_be_read() -> None:
    missing = BadInput("unhandled", "repo_hash", "repo-3", "a stored model repo")
    bad, fair = counted(v3=(30, 8), v2=(600, 12)), counted(v3=(30, 1), v2=(600, 12))
    done = react(state("canary-5"), bad, counts=(bad,), rules=missing)
    assert (only(done).name, done.state.quarantined) == ("rollback", ("d3",))
    assert react(state("canary-5"), fair, counts=(fair,), rules=missing) == Step(state("canary-5"))


def beside(
    version: int, answers: int, errors: int, shadow_answers: int, shadow_errors: int
) -> VersionCounts:
    return VersionCounts(
        version=version,
        digest="",
        answers=answers,
        errors=errors,
        shadow_answers=shadow_answers,
        shadow_errors=shadow_errors,
    )


def test_what_breaks_both_is_blamed_on_nobody() -> None:
    both = replace(
        counted(v2=(1900, 19), v1=(100, 1)),
        versions=(beside(2, 1881, 19, 99, 1), beside(1, 99, 1, 1881, 19)),
    )
    assert react(state("full"), both, counts=(both,)) == Step(state("full"))


def test_a_shadow_that_fails_is_taken_back_before_anybody_hears_it() -> None:
    shadow = replace(
        counted(v2=(200, 1)),
        versions=(beside(2, 200, 1, 0, 0), beside(3, 0, 0, 150, 30)),
    )
    assert only(react(state("shadow"), shadow, counts=(shadow,))).name == "rollback"


@pytest.mark.parametrize(
    ("at", "found"),
    [
        (state("canary-5"), counted(v3=(40, 1), v2=(600, 12))),
        (state("canary-5"), counted(v3=(0, 2), v2=(0, 0))),
        (state(), counted(v3=(30, 8), v2=(600, 12))),
        (state("half"), counted(v3=(30, 8))),
    ],
)
def test_errors_that_both_have_or_of_nobody_on_trial_take_nothing_back(
    at: State, found: ServingCounts
) -> None:
    assert react(at, found, counts=(found,)) == Step(at)


EVENTS = st.one_of(
    st.builds(verdict, st.integers(1, 9), st.sampled_from(["pass", "pass", "fail"])),
    st.sampled_from([GOOD, BAD, Evidence()]),
    st.lists(st.sampled_from(["serving", "serving", "refused", "behind"]), min_size=1, max_size=3),
    st.builds(
        command,
        st.sampled_from(
            ["rollback", "pause", "resume", "resume", "promote", "quarantine", "abort", "approve"]
        ),
        st.none() | st.integers(1, 9),
        st.integers(1, 10**6),
    ),
)


def acks_at(epoch: int, fleet: list[Any]) -> list[RoutingAck]:
    """What routers say that serve, refuse, or have not seen an epoch."""
    return [
        ack(epoch - 1, router=f"router-{n}")
        if status == "behind"
        else ack(epoch, status, f"router-{n}")
        for n, status in enumerate(fleet)
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens(drawn: list[Any]) -> None:
    at, evidence, acks = State("m"), Evidence(), [ack(0)]
    for day, one in enumerate(drawn):
        match one:
            case Evidence():
                evidence, event = one, Tick(world="w", time=DAY + day * DAY_MS, positions={})
            case list():
                acks = acks_at(at.epoch, one)
                event = acks[-1]
            case Verdict():  # most are compared with whoever is champion
                event = replace(one, champion=at.champion) if one.version % 4 else one
            case _:
                event = one
        done = react(at, event, day, evidence, acks)
        after = done.state
        changed = replace(after, handled=at.handled, waiting=at.waiting) != at
        assert after.epoch == at.epoch + changed
        assert after.time >= at.time
        assert set(at.quarantined) <= set(after.quarantined)
        assert not changed or done.decisions
        assert after.champion is not None or at.champion is None
        assert State.of(after.record()) == after
        assert react(after, event, day, evidence, acks).state == after  # handled twice, done once
        holds_together(after)
        now = DAY + day * DAY_MS
        assert 0 <= after.days(now) <= (now - after.since) / DAY_MS
        passes = not after.paused or after.stage == IDLE
        assert after.days(now + DAY_MS) == pytest.approx(after.days(now) + passes)
        at = after
    can_always_be_rolled_back(at)


def holds_together(at: State) -> None:
    assert at.challenger is None or at.challenger != at.champion
    assert (at.challenger is None) == (at.stage in {IDLE, "full"})
    record = routing(at, REPO, {})
    if record is None:
        assert at.champion is None and at.stage == IDLE
        return
    assert sum(weights(at).values()) == 10_000
    held_back = at.previous if at.stage == "full" else None
    assert set(weights(at)) <= {at.champion, at.challenger, held_back}
    assert record.champion == at.champion
    assert at.repo_hash == f"repo-{at.challenger or at.champion}"
    for found in (arm.digest for arm in (*record.arms, *record.shadows, *record.standby)):
        assert found not in at.quarantined
    if at.challenger:
        assert {at.challenger, at.champion} <= set(weights(at)) | set(shadows(at))


def can_always_be_rolled_back(at: State) -> None:
    target = at.champion if at.challenger else at.previous
    done = react(at, command("rollback", None, 0), 100)
    if target is not None:
        assert (done.state.champion, done.state.challenger) == (target, None)
