"""What each event leads to: what was read of answers and outcomes is remembered, and a tick folds
them and says what alarms and who needs a new version, each model by itself."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from driftgate import metrics
from driftgate.bus import Position
from driftgate.dead_letters import MALFORMED, UNHANDLED, UNKNOWN_MODEL
from driftgate.drift import backlog, triggers
from driftgate.drift.model_state import ModelState
from driftgate.drift.observations import Observation
from driftgate.drift.ticking import Heard, Ticked, tick
from driftgate.drift.triggers import Ask, Suppressed
from driftgate.errors import BadConfig, BadInput, Corrupt, Retriable, nearest, shown
from driftgate.events import (
    AnyEvent,
    Candidate,
    Command,
    DriftAlert,
    Model,
    ObservationBatch,
    RetrainRequest,
    Routing,
    Tick,
    Verdict,
)
from driftgate.model_repo import ModelYaml
from driftgate.runtime import AuditDraft, Effect, Handler, Relayed, Service, View, Views
from driftgate.topology import DRIFT, READER, READS
from services.drift_detector.checkpoint import Checkpoint
from services.drift_detector.reading import unpacked
from services.drift_detector.told import Teller


@dataclass(frozen=True, slots=True)
class ModelTick:
    """A tick, for one model. `config` is None where its model repo is not read yet."""

    model: str
    tick: Tick
    config: ModelYaml | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """A model repo that can be used."""

    model: str
    repo_uri: str


# A launch may be read before the declaration that was sent with it: so often it is tried, 3 to 6 s.
TRIES_UNDECLARED = 7


class NotDeclaredYet(Retriable):
    """The declaration of a model may still lie on its topic."""


@dataclass
class DriftDetector:
    """The service's handlers, around what it remembers.

    Attributes:
        read_repo: the model.yaml in an artifact folder. Raises BadConfig, Corrupt, OSError.
    """

    memory: Checkpoint
    read_repo: Callable[[str], ModelYaml]
    _configs: dict[str, ModelYaml] = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)

    @property
    def relayed(self) -> Relayed:
        return Relayed(READS[READER], ObservationBatch, self.reached)

    def service(self) -> Service:
        return Service(
            name=DRIFT,
            handlers={
                ObservationBatch: Handler(self.remember),
                Model: Handler(self.take_repo, self.declared),
                Routing: Handler(self.route),
                Verdict: Handler(self.see_verdict),
                Command: Handler(self.command, self.once_declared),
                Tick: Handler(self.tick, self.with_config, self.each_model),
            },
            views=(
                View(Verdict, key=lambda verdict: (verdict.model, verdict.version)),
                View(Model),
                View(Candidate, key=lambda candidate: candidate.retrain_id),
                View(RetrainRequest, key=lambda request: request.retrain_id, own=True),
            ),
            begin=self.begin,
            observe=count,
            memory=self.memory,
            relayed=self.relayed,
        )

    def begin(self, views: Views) -> Iterator[Effect]:
        """Without a checkpoint: the model repos that are in force, since what is read again lies
        before some of their declarations."""
        for event in views[Model].values():
            state = self.memory.state.model(event.model)
            state.repo_uri = state.repo_uri or event.repo_uri
        return iter(())

    def remember(self, batch: ObservationBatch, views: Views, now: int) -> Iterable[Effect]:
        """Keeps what another replica, or this one, has read for the ticks that it lies before.

        Raises:
            BadInput: nobody can say what it tells. It counts as told.
        """
        told, memory = self.memory.state.told.get(batch.origin, 0), self.memory.state
        memory.told[batch.origin] = max(told, batch.next)
        try:
            seen = unpacked(batch)
        except (zlib.error, ValueError) as error:
            raise BadInput(MALFORMED, "seen", batch.origin, f"observations ({error})") from error
        for model, observations in seen.items():
            self.keep(model, [one for one in observations if one.offset >= told])
        return ()

    def keep(self, model: str, observations: Sequence[Observation]) -> None:
        state = self.memory.state.model(model)
        room = max(0, backlog.KEPT - len(state.waiting))
        state.waiting.extend(observations[:room])
        drop(state, model, len(observations[room:]))

    def reached(self, source: Position) -> int:
        """How far the partition of an origin was told of."""
        return self.memory.state.told.get(str(source), 0)

    def declared(self, event: Model, views: Views, now: int) -> Declared:
        """
        Raises:
            BadInput: the model repo cannot be used; the model goes on with the one that it has.
            ArtifactsUnavailable
        """
        self.config(event.repo_uri)
        return Declared(event.model, event.repo_uri)

    def take_repo(self, repo: Declared, views: Views, now: int) -> Iterable[Effect]:
        self.memory.state.model(repo.model).repo_uri = repo.repo_uri
        return ()

    def route(self, event: Routing, views: Views, now: int) -> Iterable[Effect]:
        state = self.memory.state.model(event.model)
        state.under = triggers.routing_context(event, state.under)
        return ()

    def see_verdict(self, event: Verdict, views: Views, now: int) -> Iterable[Effect]:
        passed = event.version if event.result == "pass" else None
        self.memory.state.model(event.model).judge(event.retrain_id, passed)
        return ()

    def once_declared(self, event: Command, views: Views, now: int) -> Command:
        """A command that may be followed.

        Raises:
            NotDeclaredYet
            BadInput: it asks for a version of a model that nobody declared.
        """
        if event.kind != "retrain" or event.model in views[Model]:
            self._tries.pop(event.command_id, None)
            return event
        self._tries[event.command_id] += 1
        if self._tries[event.command_id] < TRIES_UNDECLARED:
            raise NotDeclaredYet(f"model {shown(event.model)} is not declared")
        del self._tries[event.command_id]
        hint = nearest(event.model, list(views[Model]))
        wanted = f"a model that is declared on topic models: {hint}"
        raise BadInput(UNKNOWN_MODEL, "model", event.model, wanted)

    def command(self, event: Command, views: Views, now: int) -> Iterable[Effect]:
        """An operator, or the launch, asks for a new version: at once.

        Raises:
            BadInput: see `triggers.commanded`.
        """
        if event.kind != "retrain":
            return ()
        state = self.memory.state.model(event.model)
        request = triggers.commanded(event, state.under, now)
        # Known as of the last tick, so that who reads the topics again finds the same entry.
        live = state.evidence.live_version
        return self.ask(request, {"command": event.as_dict()}, live, views)

    def each_model(self, tick: Tick, views: Views) -> list[ModelTick]:
        """Whoever is declared."""
        state = self.memory.state
        state.forget_undeclared()
        return [
            ModelTick(name, tick) for name, found in sorted(state.models.items()) if found.repo_uri
        ]

    def with_config(self, due: ModelTick, views: Views, now: int) -> ModelTick:
        """
        Raises:
            BadInput: its model repo cannot be used any more.
            ArtifactsUnavailable
        """
        state = self.memory.state.models[due.model]
        try:
            return ModelTick(due.model, due.tick, self.config(state.repo_uri))
        except BadInput:
            state.waiting.clear()  # nobody can say what it means
            raise

    def tick(self, due: ModelTick, views: Views, now: int) -> list[Effect]:
        """What is said of a model now that it is `now`; nothing where it was said already."""
        state = self.memory.state.models[due.model]
        if due.config is None or now <= state.time:
            return []
        heard = heard_of(due.model, views)
        waiting = backlog.at_tick(state.waiting, due.tick, due.config.data.ahead_hours)
        evidence, teller = state.evidence, Teller(due.model, due.config, now)
        crowded = set(evidence.traffic.crowded)
        ticked = tick(state, waiting.due, heard, due.config, now)
        drop(state, due.model, waiting.dropped + evidence.dropped)
        effects = [
            *teller.not_counted(state.dropped, evidence.late),
            *teller.measured(ticked.told.baselines),
            *teller.improved(ticked.told.improvements),
            *chain.from_iterable(map(teller.unreleased, ticked.unreleased)),
            *teller.silences(ticked.told.silences),
            *teller.crowded(name for name in evidence.traffic.crowded if name not in crowded),
            *teller.steps(ticked.steps, ticked.told, evidence.first, ticked.action),
            *teller.passed(ticked.passed, state.watched, state.under.since),
            *self.ask_if_due(teller, state, ticked, views),
        ]
        state.waiting, state.dropped, state.time = waiting.later, 0, now
        evidence.dropped = evidence.late = 0
        self.memory.dirty = True
        return effects

    def ask_if_due(
        self, teller: Teller, state: ModelState, ticked: Ticked, views: Views
    ) -> list[Effect]:
        """Whether a model asks for a new version at this tick."""
        config, model, now = teller.config, teller.model, teller.now
        inputs = {"state": asdict(ticked.retrain), "triggers": config.triggers.model_dump()}
        match ticked.decision:
            case Ask() as ask:
                request = triggers.request(model, ask, state.under, now)
                return self.ask(request, {**inputs, "now": now}, state.watched, views)
            case Suppressed() as suppressed:
                return [
                    AuditDraft(
                        model=model,
                        decision="suppressed",
                        inputs=inputs,
                        result={"until": suppressed.until},
                        summary=suppressed.summary,
                        time=now,
                        version=state.watched,
                        cause=suppressed.cause,  # told once, not each tick
                    )
                ]
        return []

    def ask(
        self, request: RetrainRequest, inputs: dict[str, Any], version: int | None, views: Views
    ) -> list[Effect]:
        """The request, unless it stands on its topic, and its audit."""
        told = AuditDraft(
            model=request.model,
            decision="retrain",
            inputs=inputs,
            result=request.as_dict(),
            summary=f"{request.reason}: {request.words}",
            time=request.time,
            version=version,
            cause={"retrain_id": request.retrain_id},
        )
        return [told] if request.retrain_id in views[RetrainRequest] else [told, request]

    def config(self, uri: str) -> ModelYaml:
        """The config of a model repo.

        Raises:
            BadInput: it cannot be used.
            ArtifactsUnavailable
        """
        if uri not in self._configs:
            try:
                self._configs[uri] = self.read_repo(uri)
            except (Corrupt, BadConfig) as error:
                raise BadInput(UNHANDLED, "repo_uri", uri, f"a model repo ({error})") from error
        return self._configs[uri]


def count(sent: Sequence[AnyEvent], views: Views) -> None:
    for event in sent:
        match event:
            case DriftAlert():
                metrics.ALERTS.labels(event.model, event.monitor).inc()
            case RetrainRequest():
                metrics.RETRAINS.labels(event.model, event.reason).inc()


def heard_of(model: str, views: Views) -> Heard:
    """What the topics say of a model."""
    return Heard(
        {version: v for (name, version), v in views[Verdict].items() if name == model},
        list(views[RetrainRequest].values()),
        list(views[Candidate].values()),
    )


def drop(state: ModelState, model: str, count: int) -> None:
    """Observations that are too many to keep."""
    state.dropped += count
    if count:
        metrics.DROPPED.labels(model).inc(count)
