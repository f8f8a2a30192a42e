"""When a model asks for a new version: after alarms, when a cadence is due, or by command.

Critical alerts about the version that answers now are batched, then make one request, unless one
was made within the cooldown. They then wait for its end; alerts about a version that no longer
answers are dropped, since what replaced it may have cured them. After a candidate that failed, new
evidence leads to new alerts and, after the cooldown, to a new request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.events import DAY_MS, Event
from driftgate.model_repo import ALL, Triggers
from driftgate.topology import DRIFT

# Requests that start a cooldown. A launch does not: a version may be bad from its first answer.
COOLING = ("drift", "cadence", "operator")
COMMANDED = ("launch", "operator", "erasure")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A critical alert that no request has answered yet: a change that began at `since` and was
    evident at `time`, ms."""

    alert_id: str
    version: int
    slice: str
    words: str
    since: int
    time: int

    @property
    def stream(self) -> str:
        """What alarmed, whenever it did."""
        return self.alert_id.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one model has asked for: `asked` holds the time of the last request of each reason,
    drills apart."""

    pending: tuple[Complaint, ...] = ()
    asked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for a new version now, because of these complaints."""

    reason: str
    complaints: tuple[Complaint, ...] = ()


@dataclass(frozen=True, slots=True)
class Suppressed:
    """The complaints wait: the last request was within the cooldown, which ends at `until`."""

    until: int
    complaints: tuple[Complaint, ...]


def unanswered(wishes: Wishes, new: Iterable[Complaint], live: int | None) -> Wishes:
    """The wishes with new complaints, less those that the last request answers, since its data
    reach further, and those about versions that do not answer now."""
    last = max(wishes.asked.values(), default=0)
    pending = (c for c in (*wishes.pending, *new) if c.version == live and c.time > last)
    return replace(wishes, pending=tuple(pending))


def decide(wishes: Wishes, triggers: Triggers, now: int) -> Ask | Suppressed | None:
    """Whether to ask at the tick `now`, ms."""
    drift = triggers.drift
    if wishes.pending and now >= wishes.pending[0].time + drift.batch_days * DAY_MS:
        last = max((t for why, t in wishes.asked.items() if why in COOLING), default=None)
        until = 0 if last is None else last + round(drift.cooldown_days * DAY_MS)
        if now < until:
            return Suppressed(until, wishes.pending)
        return Ask("drift", wishes.pending)
    cadence = triggers.cadence_days
    if cadence and wishes.asked and now >= max(wishes.asked.values()) + cadence * DAY_MS:
        return Ask("cadence")
    return None


def asked(wishes: Wishes, reason: str, time: int) -> Wishes:
    """The wishes after a request in earnest, which answers what is pending."""
    last = max(time, wishes.asked.get(reason, 0))
    return Wishes((), {**wishes.asked, reason: last})


def complaint(alert: Event, words: str) -> Complaint:
    """What a `drift.alerts` event complains about, and how to say it."""
    return Complaint(
        alert["alert_id"],
        alert["version"],
        alert["slice"],
        words,
        alert["window_start"],
        alert["window_end"],
    )


def request(model: str, ask: Ask, now: int) -> Event:
    """The `retrain.requests` event that the service asks for of its own accord. `since` is when
    the first of the changes began, as the evidence dates it."""
    complaints = ask.complaints
    newest = {c.stream: c.words for c in complaints}
    return {
        "retrain_id": f"{model}:{ask.reason}:{now}",
        "model": model,
        "reason": ask.reason,
        "since": min((c.since for c in complaints), default=None),
        "focus_slices": sorted({c.slice for c in complaints} - {ALL}),
        "exclusions": [],
        "alerts": [c.alert_id for c in complaints],
        "seed_uri": None,
        "drill": None,
        "actor": DRIFT,
        "words": ", ".join(newest.values()) or "the cadence is due",
        "time": now,
    }


def commanded(command: Event) -> Event:
    """The `retrain.requests` event that an operator's command asks for.

    Raises:
        BadInput: its reason is not one that may be commanded.
    """
    args: Mapping[str, Any] = command["args"]
    reason = args.get("reason", "operator")
    if reason not in COMMANDED:
        raise BadInput(UNHANDLED, "args.reason", reason, f"one of {', '.join(COMMANDED)}")
    return {
        "retrain_id": f"{command['model']}:{reason}:{command['command_id']}",
        "model": command["model"],
        "reason": reason,
        "since": None,
        "focus_slices": [],
        "exclusions": [],
        "alerts": [],
        "seed_uri": args.get("seed_uri"),
        "drill": args.get("drill"),
        "actor": command["actor"],
        "words": command["reason"] or f"{command['actor']} asked for it",
        "time": command["time"],
    }
