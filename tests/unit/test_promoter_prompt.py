"""How the versions that serve are asked: by the model repo in force, or as an operator orders."""

from __future__ import annotations

import pytest

from driftgate.errors import BadInput
from driftgate.events import Command, Routing, Verdict
from driftgate.generator.prompt import Prompt
from driftgate.model_repo import ModelYaml
from services.promoter.replay import replay
from services.promoter.rollout import Situation, Step, step
from services.promoter.routing import routing
from services.promoter.service import Gathered, decide, inputs
from services.promoter.state import IDLE, State

NOW = 1_767_571_200_000


def repo(system: str) -> ModelYaml:
    return ModelYaml.model_validate(
        {
            "model": "m",
            "task": {"kind": "text-generation", "system": {"file": "s.txt", "text": system}},
            "base": {"name": "SmolLM2-135M-Instruct"},
            "monitors": [],
            "gate": {"min_accuracy": 0.8},
            "feedback": {"profile": ["edits"]},
            "rollout": {"stages": [{"name": "full", "percent": 100}]},
        }
    )


REPOS = {
    "old": repo("Be brief."),
    "new": repo("Be kind."),
    "next": repo("Be exact."),
    "last": repo("Be quick."),
}
AT = Situation(NOW, REPOS["old"])


def passes(state: State, version: int, repo_hash: str) -> State:
    verdict = Verdict(
        verdict_id=f"v-{version}",
        model="m",
        version=version,
        retrain_id="r",
        adapter_digest=f"{version}" * 64,
        adapter_uri=f"sha256:{version}",
        base="SmolLM2-135M-Instruct",
        base_digest="b",
        task="text-generation",
        champion=state.champion,
        result="pass",
        axes=(),
        repo_hash=repo_hash,
        report_uri="",
        words="",
        time=NOW,
    )
    return step(state, verdict, AT).state


def ordered(state: State, repo_hash: str, command_id: str = "c") -> Step:
    command = Command(
        command_id=command_id,
        model="m",
        kind="prompt",
        args={"repo_hash": repo_hash},
        actor="ana",
        reason="too long",
        time=NOW,
    )
    return step(state, command, AT)


def abort(version: int) -> Command:
    return Command(
        command_id="a",
        model="m",
        kind="abort",
        actor="ana",
        reason="",
        time=NOW,
        version=version,
    )


def systems(state: State) -> dict[int, str | None]:
    """What each version is told first, as the routing says."""
    record = routing(state, REPOS[state.repo_hash], REPOS)
    assert record is not None
    told = {}
    for arm in (*record.arms, *record.shadows, *record.standby):
        said = arm.prompt
        assert said is not None
        assert said.digest == Prompt(said.system, said.template).digest
        told[arm.version] = said.system
    return told


def test_a_version_is_asked_as_its_model_repo_says() -> None:
    assert systems(passes(State("m"), 1, "old")) == {1: "Be brief."}


def test_an_operators_prompt_is_in_force_at_once_and_another_epoch() -> None:
    before = passes(State("m"), 1, "old")
    done = ordered(before, "new")
    assert systems(done.state) == {1: "Be kind."}
    assert done.state.epoch == before.epoch + 1
    (decision,) = done.decisions
    assert decision.name == "prompt"
    assert "ana: too long" in decision.summary
    assert State.of(done.state.record()) == done.state


def test_a_version_that_is_tried_brings_its_own_prompt_and_changes_nobody_elses() -> None:
    state = ordered(passes(State("m"), 1, "old"), "new").state
    tried = passes(state, 2, "next")
    assert systems(tried) == {1: "Be kind.", 2: "Be exact."}
    back = step(tried, abort(2), AT).state
    assert back.stage == IDLE
    assert systems(back) == {1: "Be kind."}


def test_an_operators_prompt_during_a_trial_is_for_both_sides_of_it() -> None:
    tried = passes(ordered(passes(State("m"), 1, "old"), "new").state, 2, "next")
    done = ordered(tried, "last", "c-2").state
    assert systems(done) == {1: "Be quick.", 2: "Be quick."}
    assert systems(step(done, abort(2), AT).state) == {1: "Be quick."}
    again = ordered(done, "last", "c-3")
    assert again.state.epoch == done.epoch
    assert "is in force" in again.decisions[0].summary


def test_an_operators_prompt_holds_for_a_version_that_was_trained_under_the_same_repo() -> None:
    state = ordered(passes(State("m"), 1, "old"), "new").state
    assert systems(passes(state, 2, "old")) == {1: "Be kind.", 2: "Be kind."}


def test_a_version_can_get_its_own_prompt_back() -> None:
    state = ordered(passes(State("m"), 1, "old"), "new").state
    assert systems(ordered(state, "old", "c-2").state) == {1: "Be brief."}


@pytest.mark.parametrize(
    ("state", "repo_hash", "why"),
    [
        (State("m"), "new", "nobody answers yet"),
        (passes(State("m"), 1, "old"), "old", "the prompt of model repo old is in force"),
    ],
)
def test_what_changes_nothing_says_why(state: State, repo_hash: str, why: str) -> None:
    done = ordered(state, repo_hash)
    assert done.state.epoch == state.epoch
    assert why in done.decisions[0].summary


def test_the_audit_decides_the_same_again() -> None:
    state = passes(State("m"), 1, "old")
    command = Command(
        command_id="c",
        model="m",
        kind="prompt",
        args={"repo_hash": "new"},
        actor="ana",
        reason="too long",
        time=NOW,
    )
    gathered = Gathered(command, state, AT, REPOS)
    again = replay(inputs(gathered))
    assert again.state == step(state, command, AT).state
    sent = [type(one).__name__ for one in decide(gathered, None, NOW)]  # type: ignore[arg-type]
    assert sent == ["AuditDraft", "Rollout", "Routing"]


def test_a_prompt_whose_model_repo_cannot_be_read_keeps_nobody_from_leaving() -> None:
    state = ordered(passes(State("m"), 1, "old"), "new").state
    state = passes(state, 2, "next")
    unread = BadInput("unhandled", "repo_hash", "new", "a stored model repo")
    gathered = Gathered(abort(2), state, AT, {**REPOS, "new": unread})
    (sent,) = [one for one in decide(gathered, None, NOW) if isinstance(one, Routing)]  # type: ignore[arg-type]
    assert [(arm.version, arm.prompt) for arm in sent.arms] == [(1, None)]
