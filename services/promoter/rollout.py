"""The rollout machine: what is and what happened in, what shall be out. Pure.

    idle ──pass──▶ loading ──every router has it──▶ shadow ▶ canary ▶ half ▶ full ──watched──▶ idle
                      └────────────────┴── harm, no answer, refusal, rollback ──┴──▶ idle

A first release has nobody to be compared with and goes to all traffic at once. In every stage
champion and challenger both answer every request, one of them heard. The last stage is the watch:
the challenger is champion already, and its predecessor answers unheard.

Time passes with ticks alone. The state says all that a decision needs, so a restart loses nothing,
and an event that is handled twice changes nothing the second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from driftgate.buckets import BUCKETS
from driftgate.events import DAY_MS, Event
from driftgate.model_repo import ModelYaml, Rollout
from services.promoter.judge import Finding, Pairs, judge, watch

IDLE = "idle"
LOADING = "loading"
ONE_OFF = 1
"""The version trained on launch data, which never changes."""


@dataclass(frozen=True, slots=True)
class Release:
    """Where the adapter of a version lies."""

    digest: str
    uri: str


@dataclass(frozen=True, slots=True)
class State:
    """The newest `rollouts` record of a model. Times in ms."""

    model: str
    epoch: int = 0
    champion: int | None = None
    challenger: int | None = None
    stage: str = IDLE
    previous: int | None = None
    since: int = 0
    paused: bool = False
    quarantined: tuple[str, ...] = ()
    versions: Mapping[int, Release] = field(default_factory=dict)
    repo_hash: str = ""
    words: str = ""
    time: int = 0

    @classmethod
    def of(cls, event: Event) -> State:
        """The state that a `rollouts` event tells."""
        versions = {int(v): Release(**json.loads(told)) for v, told in event["versions"].items()}
        return cls(**{**event, "versions": versions, "quarantined": tuple(event["quarantined"])})

    def event(self) -> dict[str, Any]:
        """The `rollouts` event of this state."""
        told = {str(v): json.dumps(asdict(r)) for v, r in sorted(self.versions.items())}
        return {**asdict(self), "versions": told, "quarantined": list(self.quarantined)}

    def digest(self, version: int | None) -> str:
        """Digest of a version; empty where it is of no use any more."""
        return self.versions[version].digest if version and version in self.versions else ""


@dataclass(frozen=True, slots=True)
class View:
    """What else a decision may look at.

    now: the time, ms. pairs: of the trial that is on, up to now. acked: newest epoch that each
    router serves.
    """

    now: int
    pairs: Pairs = field(default_factory=Pairs)
    acked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, for the audit. name: one of the words of `driftgate audit`."""

    name: str
    version: int | None
    words: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """The state after an event, and what was decided, if anything."""

    state: State
    decision: Decision | None = None


def step(state: State, topic: str, event: Event, view: View, rules: Rollout) -> Step:
    """One event's effect. `rules` are those of the model repo that the state names."""
    return REACTIONS[topic](state, event, view, rules)


def on_verdict(state: State, verdict: Event, view: View, rules: Rollout) -> Step:
    """A version that passed starts its rollout; the newest wins."""
    version, digest = verdict["version"], verdict["adapter_digest"]
    if state.digest(version) == digest:
        return Step(state)  # handled before
    numbers = {"verdict_id": verdict["verdict_id"], "digest": digest}
    if verdict["result"] != "pass":
        return Step(state, Decision("reject", version, verdict["words"], numbers))
    if digest in state.quarantined:
        words = "its adapter was taken back before and is quarantined"
        return Step(state, Decision("reject", version, words, numbers))
    if version <= max(state.champion or 0, state.challenger or 0):
        words = f"version {state.challenger or state.champion} is newer"
        return Step(state, Decision("reject", version, words, numbers))
    release = Release(digest, verdict["adapter_uri"])
    base = replace(
        state, versions={**state.versions, version: release}, repo_hash=verdict["repo_hash"]
    )
    if state.champion is None:
        words = "first release: all traffic at once"
        after = changed(base, view, words, champion=version, challenger=None, stage=IDLE)
        return Step(after, Decision("start", version, words, numbers))
    name, words = "start", f"passed; tried against version {state.champion}"
    if state.challenger is not None:
        name, words = "supersede", f"{words}; version {state.challenger} is dropped for it"
    after = changed(base, view, words, challenger=version, stage=LOADING)
    return Step(after, Decision(name, version, words, numbers))


def on_ack(state: State, ack: Event, view: View, rules: Rollout) -> Step:
    """A challenger that every router holds enters its first stage; one that is refused leaves."""
    if ack["epoch"] != state.epoch:
        return Step(state)
    if ack["status"] == "refused":
        return take_back(
            state, view, f"{ack['router']} refuses it: {ack['reason']}", name="refused"
        )
    # A router that is gone acknowledged neither this epoch nor the one before.
    behind = sorted(r for r, epoch in view.acked.items() if epoch == state.epoch - 1)
    if state.stage != LOADING or state.paused or behind:
        return Step(state)  # what ends a pause has an epoch of its own, and so acknowledgements
    return enter(state, 0, view, rules, "every router holds it", {"routers": len(view.acked)})


def on_tick(state: State, tick: Event, view: View, rules: Rollout) -> Step:
    """Time passed: whoever is on trial is judged."""
    if view.now <= state.time or state.stage == IDLE:
        return Step(state)
    days = (view.now - state.since) / DAY_MS
    if state.stage == LOADING:
        if state.paused:
            return Step(state, hold(state, "paused", "an operator holds it"))
        if days <= rules.max_days:
            return Step(state, hold(state, "loading", "not every router holds it"))
        words = f"not loaded in {rules.max_days:g} days"
        return take_back(state, view, words, name="give-up", quarantine=False)
    if state.challenger is None:
        return watched(state, watch(view.pairs, days, rules), view)
    return tried(state, days, view, rules)


def tried(state: State, days: float, view: View, rules: Rollout) -> Step:
    """A challenger goes on, stays, or is taken back."""
    at = [stage.name for stage in rules.stages].index(state.stage)
    found = judge(view.pairs, days, rules.stages[at], rules)
    if found.result == "harm":
        return take_back(state, view, found.words, found.numbers)
    if state.paused:
        return Step(state, hold(state, "paused", "an operator holds it", found.numbers))
    if found.result == "give up":
        return take_back(state, view, found.words, found.numbers, "give-up", quarantine=False)
    if found.result == "hold":
        return Step(state, hold(state, found.reason, found.words, found.numbers))
    return enter(state, at + 1, view, rules, found.words, found.numbers)


def watched(state: State, found: Finding, view: View) -> Step:
    """A new champion stays, or goes back to its predecessor."""
    if found.result == "harm":
        return take_back(state, view, found.words, found.numbers)
    if found.result == "hold" or state.paused:
        return Step(state, hold(state, found.reason, found.words, found.numbers))
    words = f"stays champion: {found.words}"
    after = changed(state, view, words, stage=IDLE)
    return Step(after, Decision("finish", state.champion, words, found.numbers))


def on_command(state: State, command: Event, view: View, rules: Rollout) -> Step:
    """An operator's word. One that does not fit the state changes nothing, and is told why."""
    told = f"{command['actor']}: {command['reason']} (command {command['command_id']})"
    if command["kind"] not in COMMANDS or state.words.endswith(told):
        return Step(state)  # not ours, or handled before
    after = COMMANDS[command["kind"]](state, command["version"], view, rules, told)
    if after.state is not state or after.decision is not None:
        return after
    words = f"{command['kind']} changes nothing in stage {state.stage}; {told}"
    return Step(state, Decision("ignore", command["version"], words))


def roll_back(state: State, version: int | None, view: View, rules: Rollout, told: str) -> Step:
    if version not in {None, state.challenger or state.champion}:
        return Step(state)
    return take_back(state, view, told, name="rollback")


def quarantine(state: State, version: int | None, view: View, rules: Rollout, told: str) -> Step:
    """Takes a version back if it answers, and never tries it again."""
    digest = state.digest(version)
    on_trial_against = state.challenger is not None and version == state.champion
    if version is None or not digest or digest in state.quarantined or on_trial_against:
        return Step(state)
    if version == (state.challenger or state.champion):
        return take_back(state, view, told, name="quarantine")
    known = (*state.quarantined, digest)
    previous = None if state.previous == version else state.previous
    after = changed(state, view, told, quarantined=known, previous=previous, since=state.since)
    return Step(after, Decision("quarantine", version, told))


def pause(state: State, version: int | None, view: View, rules: Rollout, told: str) -> Step:
    return switch(state, True, view, told)


def resume(state: State, version: int | None, view: View, rules: Rollout, told: str) -> Step:
    return switch(state, False, view, told)


def switch(state: State, paused: bool, view: View, told: str) -> Step:
    if state.paused == paused:
        return Step(state)
    after = changed(state, view, told, paused=paused, since=state.since)
    name = "pause" if paused else "resume"
    return Step(after, Decision(name, state.challenger or state.champion, told))


def promote(state: State, version: int | None, view: View, rules: Rollout, told: str) -> Step:
    """All traffic at once, without further evidence; the watch stays."""
    if state.challenger is None or version not in {None, state.challenger}:
        return Step(state)
    return enter(state, len(rules.stages) - 1, view, rules, told, {}, "promote")


def enter(
    state: State,
    at: int,
    view: View,
    rules: Rollout,
    words: str,
    numbers: Mapping[str, Any],
    name: str = "advance",
) -> Step:
    """Into stage number `at`; in the last one the challenger becomes champion."""
    stage, version = rules.stages[at].name, state.challenger
    moves: dict[str, Any] = {"stage": stage}
    if at == len(rules.stages) - 1:
        moves |= {"champion": version, "challenger": None, "previous": state.champion}
    told = f"to stage {stage}: {words}"
    return Step(changed(state, view, told, **moves), Decision(name, version, told, numbers))


def take_back(
    state: State,
    view: View,
    words: str,
    numbers: Mapping[str, Any] | None = None,
    name: str = "rollback",
    quarantine: bool = True,
) -> Step:
    """The challenger leaves; without one the champion does, for its predecessor. A champion whom
    nobody precedes stays, unless no router ever served it."""
    version = state.challenger or state.champion
    if version is None:
        return Step(state)
    moves: dict[str, Any] = {"challenger": None, "stage": IDLE, "paused": False}
    if state.challenger is None:
        if state.previous is None and view.acked:
            told = f"no version to take {version} back to; {words}"
            return Step(state, Decision("ignore", version, told, numbers or {}))
        moves |= {"champion": state.previous, "previous": None}
    if quarantine:
        moves["quarantined"] = (*state.quarantined, state.digest(version))
    told = f"version {version} is taken back: {words}"
    after = changed(state, view, told, **moves)
    return Step(after, Decision(name, version, told, numbers or {}))


def hold(
    state: State, reason: str, words: str, numbers: Mapping[str, Any] | None = None
) -> Decision:
    """Nothing changes, and why."""
    version = state.challenger or state.champion
    return Decision("hold", version, words, {**(numbers or {}), "reason": reason})


def changed(state: State, view: View, words: str, **moves: Any) -> State:
    """The next state: its epoch grows, time does not go back, versions of no use are dropped."""
    now = max(view.now, state.time)
    moves = {"since": now, "words": words, **moves}
    after = replace(state, **moves)
    used = {after.champion, after.challenger, after.previous, ONE_OFF}
    kept = {version: release for version, release in after.versions.items() if version in used}
    return replace(after, epoch=state.epoch + 1, time=now, versions=kept)


Reaction = Callable[[State, Event, View, Rollout], Step]
REACTIONS: Mapping[str, Reaction] = {
    "verdicts": on_verdict,
    "commands": on_command,
    "routing.acks": on_ack,
    "clock": on_tick,
}
COMMANDS: Mapping[str, Callable[[State, int | None, View, Rollout, str], Step]] = {
    "rollback": roll_back,
    "quarantine": quarantine,
    "pause": pause,
    "resume": resume,
    "promote": promote,
}


def trial(state: State) -> tuple[int, int, int] | None:
    """Who is compared at present: the version that was there before, the one on trial, and since
    when, ms. None while nobody is."""
    if state.champion is None or state.stage in {IDLE, LOADING}:
        return None
    if state.challenger is not None:
        return state.champion, state.challenger, 0
    return (state.previous, state.champion, state.since) if state.previous else None


def activity(states: Iterable[State]) -> str | None:
    """What is tried or watched at present, for people; None when nothing is."""
    busy = [state for state in states if state.stage != IDLE]
    return ", ".join(f"{s.model}@{s.challenger or s.champion} in {s.stage}" for s in busy) or None


def routing(state: State, repo: ModelYaml, base_digest: str) -> Event | None:
    """The routing record of a state; None while nobody can answer."""
    if state.champion is None:
        return None
    weights = live(state, repo.rollout)
    return {
        "model": state.model,
        "epoch": state.epoch,
        "base": repo.base.name,
        "base_digest": base_digest,
        "arms": [arm(state, version, weight) for version, weight in weights.items()],
        "shadows": [arm(state, version, 0) for version in unheard(state, weights, repo.rollout)],
        "salt": state.model,
        "sticky_by": repo.rollout.sticky_by,
        "rollback_to": state.champion if state.challenger else state.previous,
        "scope": dict(repo.scope),
        "repo_hash": state.repo_hash,
        "time": state.time,
    }


def live(state: State, rules: Rollout) -> dict[int, int]:
    """Weights of who is heard, in 1/10000. The challenger comes first: its range starts at 0 and
    grows, so that nobody who got it loses it."""
    assert state.champion is not None
    percent = {stage.name: stage.percent for stage in rules.stages}
    share = 0 if state.challenger is None else percent.get(state.stage, 0)
    weight = round(share * BUCKETS / 100)
    weights = {state.champion: BUCKETS - weight}
    return {state.challenger: weight} | weights if state.challenger and weight else weights


def unheard(state: State, weights: Mapping[int, int], rules: Rollout) -> list[int]:
    """Who answers what others are heard on: both sides of a trial, and the one-off."""
    wanted = {state.challenger, state.champion if state.challenger else None}
    if state.challenger is None and state.stage != IDLE:
        wanted.add(state.previous)
    if rules.one_off and state.digest(ONE_OFF) not in {"", *state.quarantined}:
        wanted.add(ONE_OFF)
    return sorted(v for v in wanted if v is not None and weights.get(v, 0) < BUCKETS)


def arm(state: State, version: int, weight: int) -> dict[str, Any]:
    release = state.versions[version]
    return {
        "version": version,
        "digest": release.digest,
        "adapter_uri": release.uri,
        "weight": weight,
    }
