"""What a tick makes of one model: its evidence moves on, incidents take their steps, and triggers
decide. The drift-detector and a replay of stored events both call this. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from driftgate.drift import incidents, supply, triggers
from driftgate.drift.incidents import Transition
from driftgate.drift.learned_seasons import PassedIncident, passed_by_now
from driftgate.drift.model_state import ModelState
from driftgate.drift.monitoring import Told, fold
from driftgate.drift.observations import Observation
from driftgate.drift.triggers import Ask, RetrainState, Suppressed
from driftgate.events import Candidate, RetrainRequest, Verdict
from driftgate.model_repo import ModelYaml
from driftgate.signals import Reference


@dataclass(frozen=True, slots=True)
class Heard:
    """What the other services have said of a model so far.

    Attributes:
        verdicts: by version.
        requests: for a new version, drills among them.
        candidates: that were trained.
    """

    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    requests: Sequence[RetrainRequest] = ()
    candidates: Sequence[Candidate] = ()

    @property
    def references(self) -> Mapping[int, Reference]:
        return {version: verdict.reference for version, verdict in self.verdicts.items()}


@dataclass(frozen=True, slots=True)
class Ticked:
    """What a tick tells.

    Attributes:
        steps: of incidents.
        passed: all incidents that passed by themselves, where that changed.
        unreleased: versions that answer since, and may not.
        retrain: what triggers looked at; decision: what came of it.
        action: what the loop does about what is critical, in words.
    """

    told: Told
    steps: list[Transition]
    passed: tuple[PassedIncident, ...] | None
    unreleased: list[int]
    retrain: RetrainState
    decision: Ask | Suppressed | None
    action: str


def tick(
    state: ModelState, due: Sequence[Observation], heard: Heard, config: ModelYaml, now: int
) -> Ticked:
    """Moves `state` on by the observations that are due, in any order, to the time `now`, ms."""
    told = fold(state.evidence, due, now, config, heard.references)
    state.incidents, steps = incidents.step(
        state.incidents, told.alarms_alone, told.conditions, state.heeded, state.evidence.closed
    )
    passed = passed_by_now(
        state.passed, steps, requested(heard, config, now), state.watched, state.under.since
    )
    changed, state.passed = passed != state.passed, passed
    unreleased = list(newly_unreleased(state, heard))
    state.unreleased += unreleased
    retrain = retrain_state(state, due, heard, config, now)
    return Ticked(
        told,
        steps,
        passed if changed else None,
        unreleased,
        retrain,
        triggers.decide(retrain, config.triggers, now),
        triggers.action(retrain, config.triggers, now),
    )


def requested(heard: Heard, config: ModelYaml, now: int) -> set[str]:
    """Ids of incidents that led to requests."""
    made = triggers.in_earnest(heard.requests, config.model, now)
    return {incident_id for request in made for incident_id in request.alerts}


def newly_unreleased(state: ModelState, heard: Heard) -> Iterator[int]:
    """Each version once that answers and may not."""
    passed = [v for v, verdict in heard.verdicts.items() if verdict.result == "pass"]
    for version in sorted(state.evidence.live):
        new = version not in state.unreleased
        if new and triggers.unreleased(version, state.under, passed):
            yield version


def retrain_state(
    state: ModelState, seen: Sequence[Observation], heard: Heard, config: ModelYaml, now: int
) -> RetrainState:
    """All that triggers look at, by what was seen and heard up to this tick."""
    # As far as it was told before this tick, so that who reads the topics again finds the same.
    history = triggers.RetrainHistory(
        triggers.in_earnest(heard.requests, config.model, now),
        state.judged,
        [one for one in heard.verdicts.values() if one.retrain_id in state.judged],
        [one for one in heard.candidates if one.retrain_id in state.judged],
        state.under,
    )
    known = supply.learned(history.verdict_on(state.watched))
    state.supply = supply.supplied(state.supply, seen, config, known, history.last)
    critical = triggers.critical(state.incidents.open, config)
    new = state.supply.new(known)
    return history.state(config, state.watched, critical, new, state.passed, now)
