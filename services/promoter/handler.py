"""Between the rollout machine and the world: state from the topics, evidence from the store,
decisions to `rollouts`, `routing` and `audit`."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from driftgate.dead_letters import UNKNOWN_MODEL
from driftgate.errors import BadInput
from driftgate.events import Emit, Event
from driftgate.model_repo import ModelYaml
from driftgate.runner import CLOCK, newest
from driftgate.store import Store
from driftgate.topology import PROMOTER

from services.promoter import evidence
from services.promoter.judge import Pairs
from services.promoter.rollout import COMMANDS, Decision, State, Step, View, routing, step, trial

ROLLOUTS = "rollouts"
ROUTING = "routing"
VERDICTS = "verdicts"
ACKS = "routing.acks"
ORDERS = "commands"
SERVING = "serving"
HOLD = "hold"


@dataclass
class Promoter:
    """All rollouts. Its memory is what `resume` reads."""

    store: Store
    artifacts: Artifacts
    cache: Path
    clock: Clock
    audit: Audit
    states: dict[str, State] = field(default_factory=dict)
    _acked: dict[str, dict[str, int]] = field(default_factory=dict)
    _held: dict[str, str | None] = field(default_factory=dict)
    _repos: dict[str, ModelYaml] = field(default_factory=dict)

    def resume(self, bus: Bus, codec: Codec) -> list[Emit]:
        """Goes on where the topics end; returns the routing that a crash kept from being sent.

        `rollouts` is the truth and routing follows from it. Where routing is ahead all the same,
        the next epoch is above both: a router refuses two records of one epoch.
        """
        for tick in newest(bus, codec, CLOCK).values():
            self.clock.advance(tick["time"])
        for record in bus.read_all([ACKS]):
            self.note(codec.decode(ACKS, record.value))
        for record in bus.read_all([log.TOPIC]):
            entry = codec.decode(log.TOPIC, record.value)
            if entry["service"] == PROMOTER:
                self.remember(entry["model"], json.loads(entry["result"]).get("hold"))
        routed = {model: event["epoch"] for model, event in newest(bus, codec, ROUTING).items()}
        late = []
        for model, event in newest(bus, codec, ROLLOUTS).items():
            state = State.of(event)
            if state.epoch > routed.get(model, 0):
                late += self.routed(state)
            self.states[model] = replace(state, epoch=max(state.epoch, routed.get(model, 0)))
        return late

    def handle(self, topic: str, event: Event) -> list[Emit]:
        """What an event leads to. A tick concerns every model.

        Raises:
            BadInput: a command for a model that has no release.
            StoreUnavailable: the evidence cannot be read at present.
        """
        if topic == CLOCK:
            return [emit for model in self.states for emit in self.react(model, topic, event)]
        if topic == ACKS:
            self.note(event)
        model = event["model"]
        if topic == VERDICTS:
            self.states.setdefault(model, State(model))
            metrics.VERDICTS.labels(model, event["result"]).inc()
        if model in self.states:
            return self.react(model, topic, event)
        if topic == ORDERS and event["kind"] in COMMANDS:
            raise BadInput(UNKNOWN_MODEL, "model", model, f"one of {sorted(self.states)}")
        return []

    def react(self, model: str, topic: str, event: Event) -> list[Emit]:
        """The new state with its routing, and why."""
        before = self.states[model]
        repo = self.repo(event["repo_hash"] if topic == VERDICTS else before.repo_hash)
        now = event["time"] if topic == CLOCK else self.clock.now() or event["time"]
        pairs = self.pairs(before, now) if topic == CLOCK else Pairs()
        view = View(now, pairs, dict(self._acked.get(model, {})))
        done = step(before, topic, event, view, repo.rollout)
        if done.decision is None:
            return []
        inputs = {
            "topic": topic,
            "event": event,
            "state": before.event(),
            "view": asdict(view),
            "rules": repo.rollout.model_dump(),
        }
        emits = self.told(model, done, inputs, now)
        if done.state is before:
            return emits
        self.states[model] = done.state
        metrics.STAGES.labels(model, done.state.stage).inc()
        return [Emit(ROLLOUTS, done.state.event()), *self.routed(done.state), *emits]

    def told(self, model: str, done: Step, inputs: Mapping[str, Any], now: int) -> list[Emit]:
        """The audit entry of a decision; a hold is told when its reason is new."""
        decision: Decision = done.decision  # type: ignore[assignment]
        reason = decision.numbers.get("reason") if decision.name == HOLD else None
        if reason is not None and self._held.get(model) == reason:
            return []
        self.remember(model, reason)
        return self.audit.entry(
            model,
            decision.name,
            inputs=inputs,
            result={"state": done.state.event(), "numbers": decision.numbers, "hold": reason},
            words=decision.words,
            time=now,
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
            found = model_repo.fetch(SCHEME + repo_hash, self.artifacts, self.cache)
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
