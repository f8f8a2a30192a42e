"""Which versions answer in a state of a rollout, heard or as shadows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from driftgate.buckets import BUCKETS
from driftgate.events import Arm, Prompt, Routing
from driftgate.model_repo import ModelYaml, Rollout
from driftgate.tasks import task_of
from services.promoter.state import FROZEN_BASELINE, IDLE, Repos, State


def routing(state: State, repo: ModelYaml, repos: Repos) -> Routing | None:
    """The routing record of a state under the model repo in force; None while nobody can answer.
    `repos` are those that versions are asked by."""
    if state.champion is None:
        return None
    weights = live(state, repo.rollout)
    beside = shadows(state, weights, repo.rollout)
    champion = state.versions[state.champion]
    return Routing(
        model=state.model,
        epoch=state.epoch,
        base=champion.base,
        base_digest=champion.base_digest,
        arms=tuple(arm(state, version, weight, repos) for version, weight in weights.items()),
        shadows=tuple(arm(state, version, 0, repos) for version in beside),
        standby=tuple(
            arm(state, version, 0, repos) for version in standby(state, {*weights, *beside})
        ),
        champion=state.champion,
        shadow_share=repo.rollout.shadow_share,
        salt=state.salt or state.model,
        sticky_by=repo.rollout.sticky_by,
        rollback_to=state.champion if state.challenger else state.previous,
        scope=dict(repo.scope),
        repo_hash=state.repo_hash,
        time=state.time,
    )


def prompt(state: State, version: int, repos: Repos) -> Prompt | None:
    """What an input becomes before a version sees it; None where that is the input, or its model
    repo cannot be read: nobody is kept for that from answering, nor from leaving."""
    repo = repos.get(state.prompt_repo(version))
    if not isinstance(repo, ModelYaml):
        return None
    found = task_of(repo.task).prompt
    if found is None:
        return None
    return Prompt(digest=found.digest, system=found.system, template=found.template)


def live(state: State, rules: Rollout) -> dict[int, int]:
    """Weights of who is heard, in 1/10000. The version on trial comes first: its range starts at 0
    and grows, so that nobody who got it loses it, but for who is held back in the watch."""
    assert state.champion is not None
    if state.challenger is None:
        kept = round(rules.hold_back * BUCKETS / 100) if watching(state) else 0
        held_back = {state.previous: kept} if state.previous and kept else {}
        return {state.champion: BUCKETS - kept} | held_back
    percent = {stage.name: stage.percent for stage in rules.stages}
    weight = round(percent.get(state.stage, 0) * BUCKETS / 100)
    weights = {state.champion: BUCKETS - weight}
    return {state.challenger: weight} | weights if weight else weights


def watching(state: State) -> bool:
    """Whether a new champion is watched, and its predecessor can take its place."""
    return state.challenger is None and state.stage != IDLE and state.previous is not None


def shadows(state: State, weights: Mapping[int, int], rules: Rollout) -> list[int]:
    """Who answers what others are heard on: both sides of a trial, and the frozen baseline."""
    wanted = {state.challenger, state.champion if state.challenger else None}
    if watching(state):
        wanted |= {state.champion, state.previous}
    if rules.one_off and state.digest(FROZEN_BASELINE) not in {"", *state.quarantined}:
        wanted.add(FROZEN_BASELINE)
    return sorted(v for v in wanted if v is not None and weights.get(v, 0) < BUCKETS)


def standby(state: State, busy: Collection[int]) -> list[int]:
    """Who answers nothing and stays in memory: the version that a rollback returns to."""
    back_to = state.previous
    return [] if back_to is None or back_to in busy or not state.digest(back_to) else [back_to]


def arm(state: State, version: int, weight: int, repos: Repos) -> Arm:
    release = state.versions[version]
    return Arm(
        version=version,
        digest=release.digest,
        adapter_uri=release.uri,
        weight=weight,
        base=release.base,
        base_digest=release.base_digest,
        task=release.task,
        prompt=prompt(state, version, repos),
    )
