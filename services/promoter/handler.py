"""Between the rollout machine and the world: state from the topics, evidence from the store,
decisions to `rollouts`, `routing` and `audit`.

What is decided must hang neither on a kill nor on what Kafka happens to hand out first, since the
topics are partitions without an order among them:

- A tick comes before the events of its time, which it led to. Where such an event is polled first,
  as after a restart, the tick is looked up on `clock` and handled before it. Polled later, it
  changes nothing any more.
- After a restart the memory is that of the committed positions: ticks and acknowledgements beyond
  them are handled when they come, not known in advance.
- A decision is told once for the event that it answers, whatever else was known by then.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from driftgate import audit as log
from driftgate import metrics, model_repo
from driftgate.artifacts import SCHEME, Artifacts
from driftgate.audit import Audit
from driftgate.bus import Bus
from driftgate.classifier.base import EMBEDDED, EMBEDDED_DIGEST
from driftgate.clock import Clock
from driftgate.codec import Codec
from driftgate.dead_letters import UNHANDLED, UNKNOWN_MODEL
from driftgate.errors import BadConfig, BadInput, Corrupt
from driftgate.events import Emit, Event
from driftgate.health import Health
from driftgate.model_repo import ModelYaml, Rollout
from driftgate.runner import CLOCK, newest, readable
from driftgate.store import Store
from driftgate.topology import PROMOTER
from services.promoter import evidence
from services.promoter.judge import Pairs
from services.promoter.rollout import (
    COMMANDS,
    Decision,
    State,
    View,
    activity,
    routing,
    step,
    trial,
)

ROLLOUTS = "rollouts"
ROUTING = "routing"
VERDICTS = "verdicts"
ACKS = "routing.acks"
ORDERS = "commands"
SERVING = "serving"
HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Case:
    """All that one decision is made of."""

    topic: str
    event: Event
    state: State
    view: View
    rules: Rollout

    def told(self) -> dict[str, Any]:
        """For the audit: enough to decide the same again."""
        return {
            "topic": self.topic,
            "event": self.event,
            "state": self.state.event(),
            "view": asdict(self.view),
            "rules": self.rules.model_dump(),
        }


@dataclass
class Promoter:
    """All rollouts. Its memory is what `resume` reads."""

    bus: Bus
    codec: Codec
    store: Store
    artifacts: Artifacts
    cache: Path
    clock: Clock
    audit: Audit
    health: Health
    states: dict[str, State] = field(default_factory=dict)
    _acked: dict[str, dict[str, int]] = field(default_factory=dict)
    _held: dict[str, str | None] = field(default_factory=dict)
    _repos: dict[str, ModelYaml] = field(default_factory=dict)
    _said: list[Emit] = field(default_factory=list)

    def resume(self) -> list[Emit]:
        """Goes on where the topics end; returns the routing that a crash kept from being sent.

        `rollouts` is the truth and routing follows from it. Where routing is ahead all the same,
        the next epoch is above both: a router refuses two records of one epoch.
        """
        done = self.bus.committed(PROMOTER)
        for record, event in readable(self.bus, self.codec, [CLOCK, ACKS]):
            if record.offset >= done.get(record.position, 0):
                continue
            if record.topic == CLOCK:
                self.clock.advance(event["time"])
            else:
                self.note(event)
        for _, entry in readable(self.bus, self.codec, [log.TOPIC]):
            if entry["service"] == PROMOTER:
                self.remember(entry["model"], json.loads(entry["result"]).get("hold"))
        served = newest(self.bus, self.codec, ROUTING)
        routed = {model: event["epoch"] for model, event in served.items()}
        late = []
        for model, event in newest(self.bus, self.codec, ROLLOUTS).items():
            state = State.of(event)
            if state.epoch > routed.get(model, 0):
                late += self.routed(state)
            self.states[model] = replace(state, epoch=max(state.epoch, routed.get(model, 0)))
        self.health.moved(activity=activity(self.states.values()))
        return late

    def handle(self, topic: str, event: Event) -> list[Emit]:
        """What an event leads to, after the ticks that come before it. A tick concerns every model.

        Raises:
            BadInput: it is about a model that has no release, or a model repo that is not stored.
            StoreUnavailable: the evidence cannot be read at present.
            BusUnavailable: ticks cannot be read at present.
        """
        # What a tick led to is kept for the next call where the event after it fails, and is sent
        # at the latest with the tick's own record, before that is committed.
        for tick in self.overdue(event):
            self._said += self.take(CLOCK, tick)
            self.clock.advance(tick["time"])
        self._said += self.take(topic, event)
        said, self._said = self._said, []
        self.health.moved(activity=activity(self.states.values()))
        return said

    def overdue(self, event: Event) -> list[Event]:
        """Ticks up to an event's time that were not handled yet, though they came before it."""
        now = self.clock.now()
        if event["time"] <= now:
            return []
        ticks = (tick for _, tick in readable(self.bus, self.codec, [CLOCK]))
        return [tick for tick in ticks if now < tick["time"] <= event["time"]]

    def take(self, topic: str, event: Event) -> list[Emit]:
        """What an event leads to by itself."""
        if topic == ACKS:
            self.note(event)
        # All that may fail comes before the first change: a retry finds what it left.
        cases = [self.case(model, topic, event) for model in self.concerned(topic, event)]
        return [emit for case in cases for emit in self.react(case)]

    def concerned(self, topic: str, event: Event) -> list[str]:
        """Models whose state an event may change."""
        if topic == CLOCK:
            return list(self.states)
        model = event["model"]
        if topic == VERDICTS or model in self.states:
            return [model]
        if topic == ORDERS and event["kind"] in COMMANDS:
            raise BadInput(UNKNOWN_MODEL, "model", model, f"one of {sorted(self.states)}")
        return []

    def case(self, model: str, topic: str, event: Event) -> Case:
        """All that a decision looks at."""
        state = self.states.get(model, State(model))
        repo = self.repo(event["repo_hash"] if topic == VERDICTS else state.repo_hash)
        now = event["time"] if topic == CLOCK else self.clock.now() or event["time"]
        pairs = self.pairs(state, now) if topic == CLOCK else Pairs()
        view = View(now, pairs, dict(self._acked.get(model, {})))
        return Case(topic, event, state, view, repo.rollout)

    def react(self, case: Case) -> list[Emit]:
        """The new state with its routing, and why."""
        done = step(case.state, case.topic, case.event, case.view, case.rules)
        if done.decision is None:
            return []
        emits = self.told(case, done.state, done.decision)
        if done.state is case.state:
            return emits
        model = done.state.model
        self.states[model] = done.state
        metrics.STAGES.labels(model, done.state.stage).inc()
        return [Emit(ROLLOUTS, done.state.event()), *self.routed(done.state), *emits]

    def told(self, case: Case, after: State, decision: Decision) -> list[Emit]:
        """The audit entry of a decision; a hold is told when its reason is new."""
        reason = decision.numbers["reason"] if decision.name == HOLD else None
        if reason is not None and self._held.get(after.model) == reason:
            return []
        self.remember(after.model, reason)
        return self.audit.entry(
            after.model,
            decision.name,
            inputs=case.told(),
            cause={"topic": case.topic, "event": case.event},
            result={"state": after.event(), "numbers": decision.numbers, "hold": reason},
            words=decision.words,
            time=case.view.now,
            version=decision.version,
        )

    def routed(self, state: State) -> list[Emit]:
        """The routing of a state, if anybody can answer."""
        repo = self.repo(state.repo_hash)
        built_in = EMBEDDED_DIGEST if repo.base.name == EMBEDDED else ""
        record = routing(state, repo, repo.base.sha256 or built_in)
        return [] if record is None else [Emit(ROUTING, record)]

    def pairs(self, state: State, now: int) -> Pairs:
        """The evidence of the trial that is on."""
        on = trial(state)
        if on is None:
            return Pairs()
        old, new, since = on
        return evidence.pairs(self.store, state.model, old, new, since, now)

    def repo(self, repo_hash: str) -> ModelYaml:
        """The model repo of a content hash."""
        if repo_hash not in self._repos:
            try:
                found = model_repo.fetch(SCHEME + repo_hash, self.artifacts, self.cache)
            except (Corrupt, BadConfig) as error:
                wanted = f"the hash of a stored model repo ({error})"
                raise BadInput(UNHANDLED, "repo_hash", repo_hash, wanted) from error
            self._repos[repo_hash] = found.config
        return self._repos[repo_hash]

    def note(self, ack: Event) -> None:
        """Remembers the newest epoch that a router serves."""
        if ack["status"] == SERVING:
            routers = self._acked.setdefault(ack["model"], {})
            routers[ack["router"]] = max(routers.get(ack["router"], 0), ack["epoch"])

    def remember(self, model: str, hold: str | None) -> None:
        """Remembers why a model was held last; None after any other decision."""
        self._held[model] = hold
