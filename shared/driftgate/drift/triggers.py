"""When a model asks for a new version: after alarms, when a cadence is due, or by command.

Critical alerts about the champion are batched, then make one request, unless one was made within
the cooldown or is under way: its version is being trained, judged or tried. They then wait for its
end; alerts about a version that is champion no longer are dropped, since what replaced it may have
cured them. After a candidate that failed, new evidence leads to new alerts and, after the cooldown,
to a new request.

A request's id follows from what led to it: the alerts, the time at which a cadence was due, or the
command. What was asked for is read from topic `retrain.requests` itself, so that a decision which a
crash cut off after it was sent is not taken again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from driftgate.codec import digest
from driftgate.dead_letters import UNHANDLED
from driftgate.drift.backlog import AHEAD_MS
from driftgate.errors import BadInput
from driftgate.events import (
    DAY_MS,
    Champion,
    Command,
    DriftAlert,
    RetrainReason,
    RetrainRequest,
    Routing,
)
from driftgate.model_repo import Rollout, Triggers
from driftgate.routing import pinned_champion
from driftgate.slices import ALL
from driftgate.topology import DRIFT

# Requests that start a cooldown. A launch does not: a version may be bad from its first answer.
COOLING = ("drift", "cadence", "operator")
COMMANDED: Mapping[str, RetrainReason] = {"launch": "launch", "operator": "operator"}
# So long a request may wait for its verdict. A training and its examination take hours at most, so
# one without a verdict by then was refused or given up, and nobody waits for it any longer.
TRAINING_DAYS = 3


@dataclass(frozen=True, slots=True)
class PendingAlert:
    """A critical alert that no request has answered yet: a change that began at `since` and was
    evident at `time`, ms."""

    alert_id: str
    version: int
    slice: str
    summary: str
    since: int
    time: int

    @property
    def stream(self) -> str:
        """What alarmed, whenever it did."""
        return self.alert_id.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A request whose end is waited for, at the longest until `until`, ms. version: what it led to,
    and whose rollout is waited for; None while it is trained and judged."""

    retrain_id: str
    version: int | None
    until: int

    @property
    def summary(self) -> str:
        if self.version is None:
            return f"{self.retrain_id} is being trained"
        return f"{self.retrain_id} led to version {self.version}, which is being tried"


@dataclass(frozen=True, slots=True)
class RetrainState:
    """What one model waits for, and what it has asked for: `asked` holds the time of the last
    request of each reason, drills apart."""

    pending: tuple[PendingAlert, ...] = ()
    asked: Mapping[str, int] = field(default_factory=dict)
    under_way: UnderWay | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for a new version now, because of these alerts, or because of a cadence that was due at
    `due`, ms."""

    reason: RetrainReason
    alerts: tuple[PendingAlert, ...] = ()
    due: int = 0


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Nothing is asked for yet. The alerts, or the cadence where there are none, wait until
    `until`, ms, for the end of the cooldown or of the request that is under way."""

    until: int
    alerts: tuple[PendingAlert, ...]
    under_way: UnderWay | None = None

    @property
    def summary(self) -> str:
        why = f"waits: {self.under_way.summary}" if self.under_way else "within the cooldown"
        what = ", ".join(alert.summary for alert in self.alerts) or "the cadence is due"
        return f"{why}: {what}"

    @property
    def cause(self) -> Mapping[str, Any]:
        """What makes it this very suppression, however long it lasts."""
        return {
            "alerts": [alert.alert_id for alert in self.alerts],
            "waits_for": self.under_way.retrain_id if self.under_way else self.until,
        }


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What a training is asked under: the routing in force, as far as it says who is champion and
    which versions are on trial. newest: the highest version that was ever routed."""

    epoch: int = 0
    champion: Champion | None = None
    challengers: tuple[int, ...] = ()
    newest: int = 0


def routing_context(routing: Routing, newest: int = 0) -> RoutingContext:
    """What a request is asked under while this routing is in force, and before it `newest` was the
    highest version."""
    champion = pinned_champion(routing)
    if champion is None:
        return RoutingContext(routing.epoch, newest=newest)
    # The predecessor that is kept at hand, and a frozen baseline, are older than the champion.
    answering = {arm.version for arm in (*routing.arms, *routing.shadows)}
    challengers = sorted(version for version in answering if version > champion.version)
    return RoutingContext(routing.epoch, champion, tuple(challengers), max(newest, *answering))


def unanswered(
    state: RetrainState, new: Iterable[PendingAlert], watched: int | None
) -> RetrainState:
    """The state with new alerts, less those that the last request answers, since its data reach
    further, and those about other versions than the one that is watched."""
    last = max(state.asked.values(), default=0)
    pending = (a for a in (*state.pending, *new) if a.version == watched and a.time > last)
    return replace(state, pending=tuple(pending))


def decide(state: RetrainState, triggers: Triggers, now: int) -> Ask | Suppressed | None:
    """Whether to ask at the tick `now`, ms."""
    ask = wanted(state, triggers, now)
    if ask is None:
        return None
    if ask.alerts and now < (until := cooled(state, triggers)):
        return Suppressed(until, ask.alerts)
    if state.under_way is not None and now < state.under_way.until:
        return Suppressed(state.under_way.until, ask.alerts, state.under_way)
    return ask


def wanted(state: RetrainState, triggers: Triggers, now: int) -> Ask | None:
    """What there is to ask for, whatever has been asked for already."""
    if state.pending and now >= state.pending[0].time + triggers.drift.batch_days * DAY_MS:
        return Ask("drift", state.pending)
    if triggers.cadence_days and state.asked:
        due = max(state.asked.values()) + triggers.cadence_days * DAY_MS
        if now >= due:
            return Ask("cadence", due=due)
    return None


def cooled(state: RetrainState, triggers: Triggers) -> int:
    """The end of the cooldown, ms; 0 without one."""
    last = max((t for why, t in state.asked.items() if why in COOLING), default=None)
    return 0 if last is None else last + round(triggers.drift.cooldown_days * DAY_MS)


def in_earnest(requests: Iterable[RetrainRequest], model: str, now: int) -> list[RetrainRequest]:
    """What a model has asked for up to `now`, drills apart."""
    return [
        request
        for request in requests
        if request.model == model and request.drill is None and request.time <= now
    ]


def asked(requests: Iterable[RetrainRequest]) -> dict[str, int]:
    """When was asked last, by reason."""
    found: dict[str, int] = {}
    for request in requests:
        found[request.reason] = max(request.time, found.get(request.reason, 0))
    return found


def under_way(
    requests: Iterable[RetrainRequest],
    judged: Mapping[str, int | None],
    context: RoutingContext,
    rollout: Rollout,
    now: int,
) -> UnderWay | None:
    """The request whose end takes longest; None while none is under way. `judged` holds the
    requests that have a verdict, with the version that passed, if one did."""
    open_requests = (
        found
        for request in requests
        if (found := stage_of(request, judged, context, rollout)) is not None and now < found.until
    )
    return max(open_requests, key=lambda found: (found.until, found.retrain_id), default=None)


def stage_of(
    request: RetrainRequest,
    judged: Mapping[str, int | None],
    context: RoutingContext,
    rollout: Rollout,
) -> UnderWay | None:
    """Where a request is; None once it has ended, whatever came of it."""
    passed = judged.get(request.retrain_id)
    latest_verdict = request.time + TRAINING_DAYS * DAY_MS
    if passed in context.challengers:
        longest_trial = round(len(rollout.stages) * rollout.max_days * DAY_MS)
        return UnderWay(request.retrain_id, passed, latest_verdict + longest_trial)
    is_trained = request.retrain_id not in judged
    # The promoter takes up a verdict a moment later. Where nothing is routed it takes up none.
    is_next = passed is not None and context.champion is not None and passed > context.newest
    if timely(request, context) and (is_trained or is_next):
        return UnderWay(request.retrain_id, passed, latest_verdict)
    return None


def timely(request: RetrainRequest, context: RoutingContext) -> bool:
    """Whether a request may still lead to a release. The trainer refuses one that another champion
    overtook, and the promoter a version that was compared with another champion."""
    return request.champion is None or request.champion.version == (
        context.champion.version if context.champion else None
    )


def pending_alert(alert: DriftAlert, summary: str) -> PendingAlert:
    """An alert that waits for a request, and how to say it."""
    return PendingAlert(
        alert.alert_id,
        alert.version,
        alert.slice,
        summary,
        alert.window_start,
        min(alert.window_end, alert.time),
    )


def request(model: str, ask: Ask, context: RoutingContext, now: int) -> RetrainRequest:
    """What the service asks for of its own accord. `since` is when the first of the changes began,
    as the evidence dates it."""
    alerts = ask.alerts
    ids = tuple(alert.alert_id for alert in alerts)
    newest = {alert.stream: alert.summary for alert in alerts}
    cause = digest(ids)[:16] if ids else str(ask.due)
    return RetrainRequest(
        retrain_id=f"{model}:{ask.reason}:{cause}",
        model=model,
        reason=ask.reason,
        since=min((alert.since for alert in alerts), default=None),
        focus_slices=tuple(sorted({alert.slice for alert in alerts} - {ALL})),
        alerts=ids,
        actor=DRIFT,
        words=", ".join(newest.values()) or "the cadence is due",
        epoch=context.epoch,
        champion=context.champion,
        time=now,
    )


def commanded(command: Command, context: RoutingContext, now: int) -> RetrainRequest:
    """What an operator's command asks for, now at the latest, though the clock of who sends it be
    ahead: the time of a request says where the data end and the cooldown begins.

    Raises:
        BadInput: its reason is not one that may be commanded.
    """
    given = command.args.get("reason", "operator")
    reason = COMMANDED.get(given)
    if reason is None:
        wanted = f"one of {', '.join(COMMANDED)}"
        if given == "erasure":
            wanted += ", since nobody is erased by a training: that cannot be asked for yet"
        raise BadInput(UNHANDLED, "args.reason", given, wanted)
    return RetrainRequest(
        retrain_id=f"{command.model}:{reason}:{command.command_id}",
        model=command.model,
        reason=reason,
        seed_uri=command.args.get("seed_uri"),
        drill=command.args.get("drill"),
        actor=command.actor,
        words=command.reason or f"{command.actor} asked for it",
        epoch=context.epoch,
        champion=context.champion,
        time=min(command.time, now + AHEAD_MS),
    )
