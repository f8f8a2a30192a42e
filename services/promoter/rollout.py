"""The rollout machine: what is and what happened in, what shall be out. Pure.

    idle ──pass──▶ loading ──the routers hold it──▶ shadow ▶ canary ▶ half ▶ full ──watched──▶ idle
                      └───────────┴── harm, no evidence, refusal, rollback ──┴──▶ idle

A first release has nobody to be compared with and goes to all traffic at once. In every stage
champion and challenger both answer, one of them heard. The last stage is the watch: the challenger
is champion already, and a small part of the traffic still hears its predecessor. A version that
passes while a new champion is watched, while an operator holds the rollout, or soon after a
roll-back, waits until that is over.

Time passes with ticks alone. The state says all that a decision needs, so a restart loses nothing,
and an event that is handled twice changes nothing the second time.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from driftgate.errors import BadInput
from driftgate.events import DAY_MS, Command, RoutingAck, ServingCounts, Tick, Verdict
from driftgate.model_repo import ModelYaml, Rollout
from services.promoter.blackout import blacked_out
from services.promoter.canary_analysis import Evidence, Finding, analyse, watch
from services.promoter.error_rates import failing
from services.promoter.leases import REFUSED, Fleet
from services.promoter.state import (
    FROZEN_BASELINE,
    IDLE,
    LOADING,
    Passed,
    State,
    passed_of,
    salt_of,
)

# One poll gives no more records, and positions are committed after each. They are one model's, so
# that they suffice also while a record of another model waits and holds the positions up.
HANDLED_REMEMBERED = 5_000
# 48 bits, in base64: of all that are remembered, a new id looks like one once in 10^10.
SHORT_ID = 8
# The command that puts the prompt of a model repo in force, and the argument that names the repo.
PROMPT, REPO_HASH = "prompt", "repo_hash"
HARM_ALPHA: float = Rollout.model_fields["harm_alpha"].default

Event = Verdict | Command | RoutingAck | ServingCounts | Tick


@dataclass(frozen=True, slots=True)
class Situation:
    """What else a decision may look at.

    Attributes:
        now: the time, ms.
        declared: the model repo in force; an error while it cannot be read.
        evidence: of the stage that is on, up to now.
        counts: what the versions on trial did since their rollout began, on each router, by
            process and epoch.
        acks: newest acknowledgement of each router with a valid lease.
        lost: routers whose lease ended lately, and who may come back.
        routed: epoch of the routing that was sent last.
    """

    now: int
    declared: ModelYaml | BadInput
    evidence: Evidence = field(default_factory=Evidence)
    counts: tuple[ServingCounts, ...] = ()
    acks: tuple[RoutingAck, ...] = ()
    lost: tuple[str, ...] = ()
    routed: int = 0

    @property
    def repo(self) -> ModelYaml:
        """
        Raises:
            BadInput: the model repo in force cannot be read.
        """
        if isinstance(self.declared, BadInput):
            raise self.declared
        return self.declared

    @property
    def rules(self) -> Rollout:
        """Raises: see `repo`."""
        return self.repo.rollout

    @property
    def readable(self) -> Rollout | None:
        """The rules; None while they cannot be read, which keeps nobody from rolling back."""
        return None if isinstance(self.declared, BadInput) else self.declared.rollout


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, for the audit. name: one of the words of `driftgate audit`."""

    name: str
    version: int | None
    summary: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """The state after an event, and what was decided."""

    state: State
    decisions: tuple[Decision, ...] = ()


def step(state: State, event: Event, at: Situation) -> Step:
    """One event's effect. A verdict or command is decided once, whatever came of it: what was
    ignored or rejected in one state could be obeyed in a later one.

    Raises:
        BadInput: it needs the model repo in force, which cannot be read.
    """
    react, ordered_by = REACTIONS[type(event)], event_id(event)
    if ordered_by is None:
        return react(state, event, at)
    known = short_id(ordered_by)
    if not {ordered_by, known}.isdisjoint(state.handled):  # whole ids: records of before
        return Step(state)
    done = react(state, event, at)
    handled = (*state.handled, known)[-HANDLED_REMEMBERED:]
    return replace(done, state=replace(done.state, handled=handled))


def short_id(event_id: str) -> str:
    """An id as `handled` keeps it."""
    return urlsafe_b64encode(hashlib.sha256(event_id.encode()).digest())[:SHORT_ID].decode()


def event_id(event: Event) -> str | None:
    """Id of a verdict or command; None for what says how things are, which may be said twice."""
    match event:
        case Verdict():
            return event.verdict_id
        case Command():
            return event.command_id
    return None


def cause(state: State, event: Event, decision: Decision) -> dict[str, Any]:
    """What makes a decision on an event this very one, whenever and however often it is taken: the
    verdict or command, and otherwise the epoch, which each change ends."""
    match event:
        case Verdict():
            return {"verdict": event.verdict_id}
        case Command():
            return {"command": event.command_id}
    match decision.name:
        case "hold":  # told once a day for each reason
            day = (event.time - state.since) // DAY_MS
            return {"epoch": state.epoch, "reason": decision.numbers["reason"], "day": day}
        case "refusal":
            return {"epoch": state.epoch, **decision.numbers}
    return {"epoch": state.epoch}


def on_verdict(state: State, verdict: Verdict, at: Situation) -> Step:
    """A version that passed starts its rollout, or waits for its turn; the newest wins."""
    passed = passed_of(verdict)
    if state.digest(passed.version) == passed.release.digest:
        return Step(state)  # evaluated once more
    if verdict.result != "pass":
        return reject(state, passed, verdict.words)
    why = occupied(state, at.now)
    if refusal := unfit(state, passed, at.now) or ("" if why else outdated(state, passed)):
        return reject(state, passed, refusal)
    return wait(state, passed, at, why) if why else start(state, passed, at)


def occupied(state: State, now: int) -> str:
    """Why a version that passes has to wait; empty where it is tried at once. A watch that is cut
    short would never find the harm it is for, and an operator's hold is the operator's to end."""
    if state.challenger is not None:
        return f"an operator holds version {state.challenger}" if state.paused else ""
    if state.stage != IDLE:
        return f"version {state.champion}, the new champion, is watched"
    times = "once" if state.rollbacks == 1 else f"{state.rollbacks} times"
    backs_off = state.champion is not None and now < state.back_off_until
    return f"no rollout begins so soon after a version was taken back ({times})" * backs_off


def unfit(state: State, passed: Passed, now: int) -> str:
    """Why a version that passed may never be tried; empty if it may."""
    if state.in_quarantine(passed.release.digest, now):
        return "its adapter was taken back before and is quarantined"
    waiting = state.waiting.version if state.waiting else 0
    newest = max(state.champion or 0, state.challenger or 0, waiting)
    return f"version {newest} is newer" if passed.version <= newest else ""


def outdated(state: State, passed: Passed) -> str:
    """Why what its verdict says does not hold now; empty if it does."""
    if passed.champion == state.champion:
        return ""
    other = "nobody" if passed.champion is None else f"version {passed.champion}"
    return f"it was compared with {other}, but version {state.champion} is champion now"


def reject(state: State, passed: Passed, why: str) -> Step:
    return Step(state, (Decision("reject", passed.version, why, verdict_numbers(passed)),))


def wait(state: State, passed: Passed, at: Situation, why: str) -> Step:
    """Until nobody is watched or held.

    Raises:
        BadInput: its model repo cannot be read. When it had its turn, no tick would get past it.
    """
    if isinstance(at.declared, BadInput):
        raise at.declared
    summary = f"passed, and waits: {why}{dropped(state.waiting)}"
    named = Decision("wait", passed.version, summary, verdict_numbers(passed))
    return Step(replace(state, waiting=passed), (named,))


def start(state: State, passed: Passed, at: Situation) -> Step:
    """The rollout of a version begins."""
    version, numbers = passed.version, verdict_numbers(passed)
    accepted = replace(
        state,
        versions={**state.versions, version: passed.release},
        repo_hash=passed.release.repo_hash,
        waiting=None,
        salt=salt_of(state.model, version, state.epoch),
        approved=(),
    )
    if state.champion is None:
        summary = "first release: all traffic at once"
        after = changed(accepted, at, summary, champion=version, challenger=None, stage=IDLE)
        return Step(after, (Decision("start", version, summary, numbers),))
    name, summary = "start", f"passed; tried against version {state.champion}"
    if state.challenger is not None:
        name, summary = "supersede", f"{summary}; version {state.challenger} is dropped for it"
    summary += dropped(state.waiting)
    after = changed(accepted, at, summary, challenger=version, stage=LOADING)
    return Step(after, (Decision(name, version, summary, numbers),))


def dropped(waiting: Passed | None) -> str:
    """What is told of a version that waited and that a newer one takes the place of."""
    return f"; version {waiting.version}, which waited, is dropped for it" if waiting else ""


def verdict_numbers(passed: Passed) -> dict[str, Any]:
    return {"verdict_id": passed.verdict_id, "digest": passed.release.digest}


def on_ack(state: State, ack: RoutingAck, at: Situation) -> Step:
    """A router serves an epoch, or refuses it, which is named."""
    if ack.epoch != state.epoch:
        return Step(state)
    # That they cannot be read is told at ticks: once, not for each router.
    done = (acknowledged(state, at) if at.readable else None) or Step(state)
    if ack.status != REFUSED:
        return done
    told = f"{ack.router} refuses epoch {ack.epoch}, and goes on with what it had: {ack.reason}"
    numbers = {"router": ack.router} | ({"retrying": True} if ack.retrying else {})
    named = Decision("refusal", state.challenger or state.champion, told, numbers)
    return replace(done, decisions=(named, *done.decisions))


def acknowledged(state: State, at: Situation) -> Step | None:
    """What the routers' acknowledgements change. A challenger that they hold enters its first
    stage. One that none can serve leaves without quarantine, since nothing was learned about it;
    while a router is lost, which may have served it, or waits for what it lacks, that is not
    known."""
    if state.challenger is None or state.paused:
        return None
    fleet = Fleet.at(state.epoch, at.acks)
    undecided = fleet.serving or fleet.behind or fleet.retrying or at.lost
    if fleet.refusing and not undecided:
        return roll_back(state, at, fleet.refusals, name="refused", quarantine=False)
    if state.stage != LOADING or kept_from(state, 0, at):
        return None
    held = f"{len(fleet.serving)} router{'s hold' if len(fleet.serving) > 1 else ' holds'} it"
    summary = "; ".join([held, *filter(None, [fleet.refusals])])
    return enter(state, 0, at, summary, {"routers": len(fleet.serving)})


def blocked(fleet: Fleet, rules: Rollout) -> bool:
    """Whether a router that refuses holds the rollout."""
    return rules.every_router and bool(fleet.refusing)


def on_tick(state: State, tick: Tick, at: Situation) -> Step:
    """Time passed: whoever is on trial is looked at, and whoever waits may have its turn."""
    if at.now <= state.time:
        return Step(state)
    if state.waiting is not None and not occupied(state, at.now):
        return its_turn(replace(state, waiting=None), state.waiting, at)
    return Step(state) if state.stage == IDLE else time_passed(state, at)


def time_passed(state: State, at: Situation) -> Step:
    """What time does to whoever is on trial."""
    if done := acknowledged(state, at):
        return done
    days = state.days(at.now)
    if state.stage == LOADING:
        return loading(state, days, at)
    if state.challenger is None:
        return watched(state, watch(at.evidence, days, at.repo), at)
    return tried(state, days, at)


def its_turn(state: State, passed: Passed, at: Situation) -> Step:
    """A version that waited starts, if its verdict still holds; if not, the tick goes on."""
    refusal = unfit(state, passed, at.now) or outdated(state, passed)
    if not refusal:
        return start(state, passed, at)
    done = Step(state) if state.stage == IDLE else time_passed(state, at)
    told = reject(state, passed, refusal).decisions
    return replace(done, decisions=(*told, *done.decisions))


def loading(state: State, days: float, at: Situation) -> Step:
    """A challenger that the routers do not hold yet waits for them, up to a limit."""
    if state.paused:
        return hold(state, "paused", "an operator holds it")
    waits = kept_from(state, 0, at)
    assert waits, "whom nothing keeps has entered"
    reason, summary = waits
    if days <= at.rules.max_days:
        return hold(state, reason, summary)
    told = f"not begun in {at.rules.max_days:g} days: {summary}"
    return roll_back(state, at, told, name="give-up", quarantine=False)


def awaited(fleet: Fleet, lost: Sequence[str]) -> tuple[str, str]:
    """Why the routers do not all serve what they are to, as a word and for people."""
    if fleet.behind:
        return LOADING, f"{', '.join(fleet.behind)} did not acknowledge it yet"
    missing = f"nothing is heard of {', '.join(lost)}" if lost else ""
    if fleet.refusing:
        return "refused", "; ".join(filter(None, [fleet.refusals, missing]))
    return "no-router", missing or "no router acknowledges anything"


def tried(state: State, days: float, at: Situation) -> Step:
    """A challenger goes on, stays, or is taken back."""
    place = [stage.name for stage in at.rules.stages].index(state.stage)
    found = analyse(at.evidence, days, place, at.repo)
    if found.result == "roll back":
        return roll_back(state, at, found.summary, found.numbers)
    if state.paused:
        return hold(state, "paused", "an operator holds it", found.numbers)
    if found.result == "promote" and (waits := kept_from(state, place + 1, at)):
        late = days > at.rules.max_days
        found = Finding("inconclusive" if late else "hold", *waits, found.numbers)
    if found.result == "inconclusive":
        return roll_back(state, at, found.summary, found.numbers, "give-up", quarantine=False)
    if found.result == "hold":
        return hold(state, found.reason, found.summary, found.numbers)
    return enter(state, place + 1, at, found.summary, found.numbers)


def kept_from(state: State, place: int, at: Situation) -> tuple[str, str] | None:
    """What keeps a challenger that may go on from stage number `place`, as a word and for people:
    a router, somebody's approval, the hour."""
    fleet, stage = Fleet.at(state.epoch, at.acks), at.rules.stages[place]
    if fleet.behind or not fleet.serving:
        return awaited(fleet, at.lost)
    if blocked(fleet, at.rules):
        return "refused", fleet.refusals
    if stage.approval and stage.name not in state.approved:
        command = f"driftgate approve {state.model}"
        return "approval", f"stage {stage.name} waits for approval: `{command}`"
    if until := blacked_out(at.now, at.rules.blackout):
        return "blackout", f"no stage begins in these hours, until {until}"
    return None


def watched(state: State, found: Finding, at: Situation) -> Step:
    """A new champion stays, or goes back to its predecessor."""
    if found.result == "roll back":
        return roll_back(state, at, found.summary, found.numbers)
    if state.paused:
        return hold(state, "paused", "an operator holds it", found.numbers)
    if found.result == "hold":
        return hold(state, found.reason, found.summary, found.numbers)
    summary = f"stays champion: {found.summary}"
    after = changed(state, at, summary, stage=IDLE, rollbacks=0)
    return Step(after, (Decision("finish", state.champion, summary, found.numbers),))


def on_counts(state: State, counts: ServingCounts, at: Situation) -> Step:
    """The fast lane: a version that fails is taken back as soon as that is sure. While the rules
    cannot be read, as sure as they ask where they do not say."""
    trial_on = trial(state)
    if trial_on is None:
        return Step(state)
    found = failing(at.counts, *trial_on)
    if found.e_value < 1 / (at.readable.harm_alpha if at.readable else HARM_ALPHA):
        return Step(state)
    return roll_back(state, at, found.summary, found.numbers)


def on_command(state: State, command: Command, at: Situation) -> Step:
    """An operator's word. One that does not fit the state changes nothing, and is told why."""
    told = f"{command.actor}: {command.reason} (command {command.command_id})"
    done = COMMANDS[command.kind](state, command, at, told)
    return done if isinstance(done, Step) else ignore(state, command, done, told)


def ignore(state: State, command: Command, why: str, told: str) -> Step:
    about = f" of version {command.version}" if command.version else ""
    why = why or standing(state)
    summary = f"{command.kind}{about} changes nothing: {why}; {told}"
    return Step(state, (Decision("ignore", command.version, summary),))


def standing(state: State) -> str:
    """Who is champion and who is tried, for people."""
    if state.champion is None:
        return "no version was released yet"
    paused = ", paused" if state.paused else ""
    if state.challenger is None:
        stage = "none is tried" if state.stage == IDLE else "which is watched"
        return f"version {state.champion} is champion, {stage}{paused}"
    tried = f"version {state.challenger} is in stage {state.stage}{paused}"
    return f"version {state.champion} is champion, {tried}"


Outcome = Step | str
"""What a command comes to, or why it changes nothing; empty: it does not fit the state."""


def on_rollback(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """Takes the version on trial back, or the champion, also while another one is tried."""
    if state.challenger is not None and command.version == state.champion:
        leaves = f"; version {state.challenger}, tried against it, leaves too"
        return roll_back(state, at, told + leaves * bool(state.previous), of_champion=True)
    if command.version not in {None, state.challenger or state.champion}:
        return ""
    return roll_back(state, at, told)


def on_abort(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """The challenger leaves, and may be tried again."""
    if state.challenger is None or command.version not in {None, state.challenger}:
        return ""
    return roll_back(state, at, told, name="abort", quarantine=False)


def on_quarantine(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """Takes a version back if it answers, and never tries it again."""
    version = command.version
    digest = state.digest(version) or command.args.get("digest", "")
    if version is None or not digest:
        return "name a version, and the digest of its adapter where it serves nobody"
    if state.in_quarantine(digest, at.now):
        return "its adapter is in quarantine already"
    if version in {state.challenger, state.champion}:
        of_champion = version == state.champion
        return roll_back(state, at, told, name="quarantine", of_champion=of_champion)
    moves: dict[str, Any] = quarantined(state, digest, at)
    if state.waiting and state.waiting.version == version:
        moves["waiting"] = None
    if state.previous == version:
        moves["previous"] = None
    if state.previous == version and state.challenger is None:  # nobody to go back to: no watch
        after = changed(state, at, told, **moves, stage=IDLE, paused=False)
    else:
        after = amended(state, at, told, **moves)
    return Step(after, (Decision("quarantine", version, told),))


def on_release(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """A version leaves quarantine. It is tried when it passes the gate again."""
    digest = command.args.get("digest", "") or state.digest(command.version)
    if digest not in state.quarantined:
        return f"its adapter {digest[:12]} is not in quarantine" if digest else "name its digest"
    summary = f"released from quarantine by {told}"
    after = amended(state, at, summary, **released(state, digest))
    return Step(after, (Decision("release", command.version, summary),))


def on_switch(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """Pauses what is tried or watched, or resumes it. Where nothing is, the next version is held
    while it loads."""
    version, paused = state.challenger or state.champion, command.kind == "pause"
    if state.paused == paused or command.version not in {None, version}:
        return ""
    summary = f"{command.kind}d by {told}"
    after = amended(state, at, summary, paused=paused)
    return Step(after, (Decision(command.kind, version, summary),))


def on_approve(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """The next stage that asks for it may begin."""
    if state.challenger is None or command.version not in {None, state.challenger}:
        return ""
    if why := no_approver(command, at.rules):
        return why
    names = [stage.name for stage in at.rules.stages]
    reached = names.index(state.stage) if state.stage in names else -1
    open_ = [s.name for s in at.rules.stages[reached + 1 :] if s.approval]
    waiting = [name for name in open_ if name not in state.approved]
    wanted = command.args.get("stage") or next(iter(waiting), "")
    if wanted not in waiting:
        return f"stages that wait for approval: {', '.join(waiting) or 'none'}"
    approved = (*state.approved, wanted)
    summary = f"stage {wanted} is approved: {told}"
    after = amended(state, at, summary, approved=approved)
    return Step(after, (Decision("approve", state.challenger, summary),))


def on_prompt(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """All versions that may answer are asked with the prompt of a model repo, and so are later ones
    that come with the same model repo as they."""
    repo_hash = command.args[REPO_HASH]
    if state.champion is None:
        return "nobody answers yet; the first version brings the prompt of its model repo along"
    if {state.prompt_repo(version) for version in state.versions} == {repo_hash}:
        return f"the prompt of model repo {repo_hash[:12]} is in force"
    summary = f"the prompt of model repo {repo_hash[:12]} is in force: {told}"
    owners = {state.repo_hash, *(release.repo_hash for release in state.versions.values())}
    prompts = {one: repo_hash for one in sorted(owners) if one != repo_hash}
    return Step(amended(state, at, summary, prompts=prompts), (Decision(PROMPT, None, summary),))


def no_approver(command: Command, rules: Rollout) -> str:
    """Why somebody may not approve; empty if they may."""
    if not rules.approvers or command.actor in rules.approvers:
        return ""
    return f"{command.actor} is none of rollout.approvers: {', '.join(rules.approvers)}"


def on_promote(state: State, command: Command, at: Situation, told: str) -> Outcome:
    """All traffic at once, without further evidence; the watch stays. Not before every router can
    answer by it, nor in hours in which no stage begins, and where a stage needs approval, only by
    who may give it."""
    if state.challenger is None or command.version not in {None, state.challenger}:
        return ""
    if any(stage.approval for stage in at.rules.stages) and (why := no_approver(command, at.rules)):
        return why
    fleet = Fleet.at(state.epoch, at.acks)
    if fleet.behind or fleet.refusing or not fleet.serving:
        missing = [*fleet.behind, *fleet.refusing]
        return f"not every router holds it yet: {', '.join(missing) or 'none is heard of'}"
    if until := blacked_out(at.now, at.rules.blackout):
        return f"no stage begins in these hours, until {until}"
    last = len(at.rules.stages) - 1
    return enter(replace(state, paused=False), last, at, told, {}, "promote")


def enter(
    state: State,
    place: int,
    at: Situation,
    summary: str,
    numbers: Mapping[str, Any],
    name: str = "advance",
) -> Step:
    """Into stage number `place`; in the last one the challenger becomes champion."""
    stage, version = at.rules.stages[place].name, state.challenger
    begun = state.begun if state.stage != LOADING else max(at.now, state.time)
    moves: dict[str, Any] = {"stage": stage, "begun": begun}
    if place == len(at.rules.stages) - 1:
        moves |= {"champion": version, "challenger": None, "previous": state.champion}
    told = f"to stage {stage}: {summary}"
    return Step(changed(state, at, told, **moves), (Decision(name, version, told, numbers),))


def roll_back(
    state: State,
    at: Situation,
    summary: str,
    numbers: Mapping[str, Any] | None = None,
    name: str = "rollback",
    quarantine: bool = True,
    of_champion: bool = False,
) -> Step:
    """The challenger leaves; without one, or `of_champion`, the champion does, for its predecessor,
    and who is tried against it leaves too. A champion whom nobody precedes stays. The model repo of
    whoever answers then is in force again."""
    of_challenger = state.challenger is not None and not of_champion
    version = state.challenger if of_challenger else state.champion
    if version is None:
        return Step(state)
    back_to = state.champion if of_challenger else state.previous
    if back_to is None:
        told = f"no version to take {version} back to; {summary}"
        return Step(state, (Decision("ignore", version, told, numbers or {}),))
    moves: dict[str, Any] = {
        "champion": back_to,
        "challenger": None,
        "previous": state.previous if of_challenger else None,
        "stage": IDLE,
        "paused": False,
        "repo_hash": state.versions[back_to].repo_hash,
    }
    if quarantine:
        moves |= quarantined(state, state.digest(version), at) | backing_off(state, at)
    told = f"version {version} is taken back: {summary}"
    after = changed(state, at, told, **moves)
    return Step(after, (Decision(name, version, told, numbers or {}),))


def quarantined(state: State, digest: str, at: Situation) -> dict[str, Any]:
    """What the state says once an adapter is in quarantine."""
    moves = released(state, digest)
    moves["quarantined"] = (*moves["quarantined"], digest)
    if at.readable and at.readable.quarantine_days is not None:
        over = at.now + round(at.readable.quarantine_days * DAY_MS)
        moves["quarantine_ends"] = {**moves["quarantine_ends"], digest: over}
    return moves


def released(state: State, digest: str) -> dict[str, Any]:
    """What the state says once an adapter is in no quarantine."""
    ends = {one: end for one, end in state.quarantine_ends.items() if one != digest}
    kept = tuple(one for one in state.quarantined if one != digest)
    return {"quarantined": kept, "quarantine_ends": ends}


def backing_off(state: State, at: Situation) -> dict[str, Any]:
    """No rollout begins for a while, for twice as long after each roll-back in a row."""
    wait = at.readable.back_off * DAY_MS * 2 ** min(state.rollbacks, 6) if at.readable else 0
    return {"rollbacks": state.rollbacks + 1, "back_off_until": at.now + round(wait)}


def hold(state: State, reason: str, summary: str, numbers: Mapping[str, Any] | None = None) -> Step:
    """Nothing changes, and why."""
    version = state.challenger or state.champion
    return Step(state, (Decision("hold", version, summary, {**(numbers or {}), "reason": reason}),))


def changed(state: State, at: Situation, summary: str, **moves: Any) -> State:
    """The next state: its epoch grows beyond that of state and routing, since a router refuses two
    records of one; time does not go back; what is of no use any more is dropped."""
    now = max(at.now, state.time)
    after = replace(state, **{"since": now, "held_ms": 0, "summary": summary, **moves})
    used = {after.champion, after.challenger, after.previous, FROZEN_BASELINE}
    kept = {version: release for version, release in after.versions.items() if version in used}
    begun = 0 if after.challenger is None or after.stage == LOADING else after.begun
    epoch = max(state.epoch, at.routed) + 1
    return replace(after, epoch=epoch, time=now, versions=kept, begun=begun)


def amended(state: State, at: Situation, summary: str, **moves: Any) -> State:
    """As `changed`, within a stage, whose time goes on."""
    held = state.held(max(at.now, state.time))
    return changed(state, at, summary, since=state.since, held_ms=held, **moves)


Reaction = Callable[[State, Any, Situation], Step]
REACTIONS: Mapping[type[Any], Reaction] = {
    Verdict: on_verdict,
    Command: on_command,
    RoutingAck: on_ack,
    ServingCounts: on_counts,
    Tick: on_tick,
}
COMMANDS: Mapping[str, Callable[[State, Command, Situation, str], Outcome]] = {
    "rollback": on_rollback,
    "abort": on_abort,
    "quarantine": on_quarantine,
    "release": on_release,
    "pause": on_switch,
    "resume": on_switch,
    "approve": on_approve,
    "promote": on_promote,
    PROMPT: on_prompt,
}


def trial(state: State) -> tuple[int, int] | None:
    """Who is compared at present: the version that was there before, and the one on trial. None
    while nobody is."""
    if state.champion is None or state.stage in {IDLE, LOADING}:
        return None
    if state.challenger is not None:
        return state.champion, state.challenger
    return (state.previous, state.champion) if state.previous else None
