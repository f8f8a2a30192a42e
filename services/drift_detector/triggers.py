"""When a model asks for a new version: after alarms, when a cadence is due, or by command.

Critical alerts about the version that answers now are batched, then make one request, unless one
was made within the cooldown. They then wait for its end; alerts about a version that no longer
answers are dropped, since what replaced it may have cured them. After a candidate that failed, new
evidence leads to new alerts and, after the cooldown, to a new request.

A request's id follows from what led to it: the alerts, the time at which a cadence was due, or the
command. What was asked for is read from topic `retrain.requests` itself, so that a decision which a
crash cut off after it was sent is not taken again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from driftgate.codec import digest
from driftgate.dead_letters import UNHANDLED
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
from driftgate.model_repo import Triggers
from driftgate.routing import champion_of
from driftgate.slices import ALL
from driftgate.topology import DRIFT

# Requests that start a cooldown. A launch does not: a version may be bad from its first answer.
COOLING = ("drift", "cadence", "operator")
COMMANDED: Mapping[str, RetrainReason] = {"launch": "launch", "operator": "operator"}


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
class RetrainState:
    """What one model waits for, and what it has asked for: `asked` holds the time of the last
    request of each reason, drills apart."""

    pending: tuple[PendingAlert, ...] = ()
    asked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for a new version now, because of these alerts, or because of a cadence that was due at
    `due`, ms."""

    reason: RetrainReason
    alerts: tuple[PendingAlert, ...] = ()
    due: int = 0


@dataclass(frozen=True, slots=True)
class Suppressed:
    """The alerts wait: the last request was within the cooldown, which ends at `until`."""

    until: int
    alerts: tuple[PendingAlert, ...]


@dataclass(frozen=True, slots=True)
class Under:
    """What a training is asked under: the routing in force, as far as it says who is champion."""

    epoch: int = 0
    champion: Champion | None = None


def under(routing: Routing) -> Under:
    """What a request is asked under while this routing is in force."""
    arm = champion_of(routing)
    if arm is None:
        return Under(routing.epoch)
    champion = Champion(
        version=arm.version,
        digest=arm.digest,
        adapter_uri=arm.adapter_uri,
        base=arm.base,
        base_digest=arm.base_digest,
        task=arm.task,
    )
    return Under(routing.epoch, champion)


def unanswered(state: RetrainState, new: Iterable[PendingAlert], live: int | None) -> RetrainState:
    """The state with new alerts, less those that the last request answers, since its data reach
    further, and those about versions that do not answer now."""
    last = max(state.asked.values(), default=0)
    pending = (a for a in (*state.pending, *new) if a.version == live and a.time > last)
    return replace(state, pending=tuple(pending))


def decide(state: RetrainState, triggers: Triggers, now: int) -> Ask | Suppressed | None:
    """Whether to ask at the tick `now`, ms."""
    drift = triggers.drift
    if state.pending and now >= state.pending[0].time + drift.batch_days * DAY_MS:
        last = max((t for why, t in state.asked.items() if why in COOLING), default=None)
        until = 0 if last is None else last + round(drift.cooldown_days * DAY_MS)
        if now < until:
            return Suppressed(until, state.pending)
        return Ask("drift", state.pending)
    if triggers.cadence_days and state.asked:
        due = max(state.asked.values()) + triggers.cadence_days * DAY_MS
        if now >= due:
            return Ask("cadence", due=due)
    return None


def asked(requests: Iterable[RetrainRequest], model: str, now: int) -> dict[str, int]:
    """When a model last asked, by reason, as far as that was up to `now`. Drills are not asked in
    earnest."""
    found: dict[str, int] = {}
    for request in requests:
        if request.model == model and request.drill is None and request.time <= now:
            found[request.reason] = max(request.time, found.get(request.reason, 0))
    return found


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


def request(model: str, ask: Ask, under: Under, now: int) -> RetrainRequest:
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
        epoch=under.epoch,
        champion=under.champion,
        time=now,
    )


def commanded(command: Command, under: Under) -> RetrainRequest:
    """What an operator's command asks for.

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
        epoch=under.epoch,
        champion=under.champion,
        time=command.time,
    )
