"""Between the rollout machine and the world: states and leases from the topics, evidence from the
store, decisions to `rollouts`, `routing` and `audit`.

`rollouts` is the state; routing follows from it. Both are sent together, and a crash may part them:
whoever handles the event again, or the next tick, sends what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from driftgate import events, metrics
from driftgate.buckets import BUCKETS
from driftgate.dead_letters import UNHANDLED, UNKNOWN_MODEL
from driftgate.errors import BadInput
from driftgate.events import (
    AnyEvent,
    Command,
    Routing,
    RoutingAck,
    ServingCounts,
    Tick,
    Verdict,
)
from driftgate.health import Health
from driftgate.model_repo import ModelYaml
from driftgate.runtime import AuditDraft, Effect, Handler, Service, View, Views
from driftgate.tasks import task_of
from driftgate.topology import PROMOTER
from services.promoter.canary_analysis import Evidence
from services.promoter.evidence import Reader
from services.promoter.leases import Leases, forgotten
from services.promoter.ledger import Trial
from services.promoter.repos import RepoCache
from services.promoter.rollout import (
    COMMANDS,
    PROMPT,
    REPO_HASH,
    Decision,
    Event,
    Situation,
    amended,
    cause,
    step,
    trial,
)
from services.promoter.routing import live, routing
from services.promoter.state import (
    Repos,
    State,
    activity,
    based,
    begun_after,
    on_trial,
    with_bases,
)

ERASE = "erase"
LOOKS = "looks"


@dataclass(frozen=True, slots=True)
class ModelTick:
    """A tick, for one model."""

    model: str
    tick: Tick


Part = ModelTick | Verdict | Command | RoutingAck | ServingCounts


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that one decision and what follows from it are made of."""

    event: Event
    state: State
    situation: Situation
    repos: Repos


@dataclass
class Promoter:
    """The edge of the service: reads states, model repos and evidence."""

    evidence: Reader
    repos: RepoCache
    health: Health

    def service(self) -> Service:
        return Service(
            name=PROMOTER,
            handlers={
                Verdict: Handler(decide, self.gather),
                Command: Handler(decide, self.gather, each=obeyed_here),
                RoutingAck: Handler(decide, self.gather, each=of_released),
                ServingCounts: Handler(decide, self.gather, each=of_trials),
                Tick: Handler(self.decide, self.gather, each=due),
            },
            views=(
                View(events.Rollout, own=True),
                View(Routing, own=True),
                View(RoutingAck, key=by_router, keep=may_come_back),
                View(ServingCounts, key=by_process, keep=of_a_rollout),
            ),
            begin=self.begin,
            observe=self.observe,
        )

    def begin(self, views: Views) -> Iterable[Effect]:
        self.keep_repos(views)
        return ()

    def gather(self, part: Part, views: Views, now: int) -> Gathered:
        """
        Raises:
            BadInput: a command that cannot be carried out.
            StoreUnavailable: the evidence cannot be read at present.
        """
        event = part.tick if isinstance(part, ModelTick) else part
        if isinstance(event, Command):
            check(event, views)
        state = current(views, part.model)
        repos = self.repos_of(state, event)
        state = with_bases(state, repos)
        if isinstance(event, Command) and event.kind == PROMPT:
            check_prompt(event, readable(repos[event.args[REPO_HASH]]))
        if isinstance(event, Verdict) and not event.base:
            event = based(event, repos[event.repo_hash])
        declared = repos[event.repo_hash if isinstance(event, Verdict) else state.repo_hash]
        acks = (ack for ack in views[RoutingAck].values() if ack.model == part.model)
        leases = Leases.at(now, tuple(views.ticks), acks)
        situation = Situation(
            now=now,
            declared=declared,
            evidence=self.look(state, declared, views, now)
            if isinstance(event, Tick)
            else Evidence(),
            counts=counts(state, views) if isinstance(event, ServingCounts) else (),
            acks=leases.valid,
            lost=leases.lost,
            routed=routed(views, part.model),
        )
        return Gathered(event, state, situation, repos)

    def decide(self, gathered: Gathered, views: Views, now: int) -> Iterable[Effect]:
        """As the function below. What a tick makes of a trial is shown on /looks each time: in the
        audit a hold stands once a day."""
        effects = list(decide(gathered, views, now))
        looks = {one.model: shown(one) for one in effects if isinstance(one, AuditDraft)}
        self.health.pages[LOOKS] = self.health.pages.get(LOOKS, {}) | looks
        return effects

    def repos_of(self, state: State, event: Event) -> Repos:
        """The model repos that may be in force after an event."""
        hashes = state.repo_hashes
        if isinstance(event, Verdict):
            hashes |= {event.repo_hash}
        if isinstance(event, Command) and event.kind == PROMPT:
            hashes |= {event.args[REPO_HASH]}
        return {repo_hash: self.repos.find(repo_hash) for repo_hash in hashes}

    def look(
        self, state: State, declared: ModelYaml | BadInput, views: Views, now: int
    ) -> Evidence:
        """What is known of the stage that is on."""
        on = trial(state)
        if on is None or isinstance(declared, BadInput):
            return Evidence()
        chance = live(state, declared.rollout).get(on[1], 0) / BUCKETS
        trial_on = Trial(state.model, *on, state.since, chance, state.begun)
        return self.evidence.look(trial_on, declared, tuple(views.ticks), now)

    def observe(self, sent: Sequence[AnyEvent], views: Views) -> None:
        begun = {(event.model, event.epoch) for event in sent if isinstance(event, Routing)}
        for event in sent:
            if isinstance(event, events.Rollout) and (event.model, event.epoch) in begun:
                metrics.STAGES.labels(event.model, event.stage).inc()
        self.health.heartbeat(activity=activity(views[events.Rollout].values()))
        if any(isinstance(event, events.Rollout) for event in sent):
            self.keep_repos(views)
            states = views[events.Rollout].values()
            self.evidence.keep(frozenset(state.model for state in states if on_trial(state)))

    def keep_repos(self, views: Views) -> None:
        """Those that a state names; the others are forgotten."""
        states = map(State.of, views[events.Rollout].values())
        self.repos.keep(frozenset().union(*(state.repo_hashes for state in states)))


def by_router(ack: RoutingAck) -> tuple[str, str]:
    return ack.router, ack.model


def may_come_back(ack: RoutingAck, views: Views) -> bool:
    """Whether the router was there lately. One that comes later says so itself."""
    return ack.time >= forgotten(views.ticks[-1], tuple(views.ticks))


def by_process(counts: ServingCounts) -> tuple[str, str, str, int]:
    return counts.router, counts.started, counts.model, counts.epoch


def counts(state: State, views: Views) -> tuple[ServingCounts, ...]:
    """Of the versions on trial, all that the routers told since their rollout began."""
    on = trial(state)
    if on is None:
        return ()
    both = set(on)
    return tuple(
        one
        for _, one in sorted(views[ServingCounts].items())
        if one.model == state.model
        and of_a_rollout(one, views)
        and both <= {version.version for version in one.versions}
    )


def of_a_rollout(counts: ServingCounts, views: Views) -> bool:
    """Whether they are of a rollout that is on. An earlier one of the same versions is over."""
    record = views[events.Rollout].get(counts.model)
    return record is not None and on_trial(record) and counts.epoch > begun_after(record.salt)


def of_trials(counts: ServingCounts, views: Views) -> Iterable[ServingCounts]:
    """Counts with an error, of a model of which a version is tried or watched."""
    failed = any(one.errors or one.shadow_errors for one in counts.versions)
    record = views[events.Rollout].get(counts.model)
    return (counts,) if failed and record is not None and on_trial(record) else ()


def obeyed_here(command: Command, views: Views) -> Iterable[Command]:
    """Commands that are the promoter's; `retrain` is the drift-detector's."""
    return (command,) if command.kind in (*COMMANDS, ERASE) else ()


def of_released(ack: RoutingAck, views: Views) -> Iterable[RoutingAck]:
    return (ack,) if ack.model in views[events.Rollout] else ()


def due(tick: Tick, views: Views) -> Iterable[ModelTick]:
    """Models with a rollout on, and those whose routing a crash kept back."""
    return [
        ModelTick(model, tick)
        for model, record in sorted(views[events.Rollout].items())
        if on_trial(record) or record.waiting or record.epoch != routed(views, model)
    ]


def check(command: Command, views: Views) -> None:
    """
    Raises:
        BadInput: nobody can carry it out.
    """
    if command.kind == ERASE:
        expected = f"one of {sorted(COMMANDS)} or retrain: erasure does not exist yet, and nothing "
        raise BadInput(UNHANDLED, "kind", ERASE, expected + "was erased")
    if command.model not in views[events.Rollout]:
        known = f"one of {sorted(views[events.Rollout])}"
        raise BadInput(UNKNOWN_MODEL, "model", command.model, known)
    if command.kind == PROMPT and REPO_HASH not in command.args:
        raise BadInput(UNHANDLED, "args", command.args, f"{REPO_HASH}: the hash of a model repo")


def check_prompt(command: Command, repo: ModelYaml) -> None:
    """
    Raises:
        BadInput: the model repo is not one that says how the model is asked.
    """
    if repo.model != command.model or task_of(repo.task).prompt is None:
        wanted = f"that of a model repo of {command.model} with a prompt"
        raise BadInput(UNHANDLED, REPO_HASH, command.args[REPO_HASH], wanted)


def current(views: Views, model: str) -> State:
    """The state of a model; an empty one before its first release."""
    record = views[events.Rollout].get(model)
    return State.of(record) if record else State(model)


def routed(views: Views, model: str) -> int:
    """Epoch of the routing that was sent last; 0 before the first."""
    record = views[Routing].get(model)
    return record.epoch if record else 0


def decide(gathered: Gathered, views: Views, now: int) -> Iterable[Effect]:
    """The new state with its routing, and why.

    Raises:
        BadInput: the model repo in force cannot be read.
    """
    state, situation = gathered.state, gathered.situation
    done = step(state, gathered.event, situation)
    after = done.state
    if after.epoch == state.epoch < situation.routed:  # a crash kept the state back
        after = amended(after, situation, after.summary)
    effects: list[Effect] = [audit(gathered, done.state, decision) for decision in done.decisions]
    if after != state:
        effects.append(after.record())
    if situation.routed < after.epoch:
        effects += routing_of(after, gathered.repos)
    return effects


def routing_of(state: State, repos: Repos) -> list[Effect]:
    """The routing of a state, if anybody can answer."""
    if state.champion is None:
        return []
    record = routing(state, readable(repos[state.repo_hash]), repos)
    return [] if record is None else [record]


def readable(repo: ModelYaml | BadInput) -> ModelYaml:
    """
    Raises:
        BadInput: it cannot be read.
    """
    if isinstance(repo, BadInput):
        raise repo
    return repo


def audit(gathered: Gathered, after: State, decision: Decision) -> AuditDraft:
    """The entry of a decision; what it was made of is enough to make it again."""
    before, event, situation = gathered.state, gathered.event, gathered.situation
    return AuditDraft(
        model=after.model,
        decision=decision.name,
        version=decision.version,
        inputs=inputs(gathered),
        result={
            "state": after.record().as_dict(),
            "numbers": decision.numbers,
            "hold": decision.numbers["reason"] if decision.name == "hold" else None,
        },
        summary=decision.summary,
        time=situation.now,
        cause=cause(before, event, decision),
    )


def shown(draft: AuditDraft) -> dict[str, Any]:
    """A look at a trial, for operators."""
    state = draft.inputs["state"]
    return {
        "decision": draft.decision,
        "version": draft.version,
        "stage": state["stage"],
        "since": state["since"],
        "numbers": draft.result["numbers"],
        "words": draft.summary,
        "time": draft.time,
    }


def rules(repo: ModelYaml) -> dict[str, Any]:
    """What of a model repo decides, as a model repo."""
    whole = repo.model_dump(mode="json")
    decides = ("model", "task", "base", "gate", "feedback", "review", "rollout")
    return {name: whole[name] for name in decides} | {"monitors": []}


def inputs(gathered: Gathered) -> dict[str, Any]:
    """The arguments of `rollout.step`, plainly."""
    situation = gathered.situation
    declared = situation.declared
    return {
        "topic": gathered.event.TOPIC,
        "event": gathered.event.as_dict(),
        "state": gathered.state.record().as_dict(),
        "now": situation.now,
        "rules": None if isinstance(declared, BadInput) else rules(declared),
        "evidence": asdict(situation.evidence),
        "counts": [one.as_dict() for one in situation.counts],
        "acks": [ack.as_dict() for ack in situation.acks],
        "lost": situation.lost,
        "routed": situation.routed,
    }
