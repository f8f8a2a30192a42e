"""How far an operator's order is, from what the services publish: what the promoter makes of a
command, and how far a version is that was asked for. Pure.

command ──retrain──▶ request ──train──▶ version ──verdict──▶ rollout, or full traffic at once
                        └──refuse──▶ no       └──fail──▶ no      └──reject, rolled back──▶ no
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from driftgate.events import (
    DLQ,
    AnyEvent,
    AuditEntry,
    Candidate,
    Command,
    RetrainRequest,
    RoutingAck,
    Verdict,
)
from driftgate.topology import PROMOTER

# Events of these types are steps of an order; as a dead letter, each of them ends it.
STEPS = (Command, RetrainRequest, Candidate, Verdict)
TOPICS = (AuditEntry.TOPIC, RoutingAck.TOPIC, *(step.TOPIC + DLQ for step in STEPS))
# After these a command changes nothing.
IGNORED = ("ignore", "dead-letter")
# Decisions of the promoter after which a version serves nobody.
ROLLED_BACK = ("reject", "refused", "rollback", "quarantine", "give-up", "abort")


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """What is known of the version that a command asked for.

    Attributes:
        stage: the last step: ordered, requested, trained, judged.
        version: once it is trained.
        epoch: of the routing that gives it all traffic, for a first release.
        acks: what each router said of each epoch: None, it serves it; else why it refuses.
        options: what a printed command needs to reach the same system, such as ` --state X`.
        passed: None while it is under way; `summary` then says what came of it.
    """

    model: str
    command_id: str
    stage: str = "ordered"
    version: int | None = None
    epoch: int | None = None
    acks: Mapping[tuple[str, int], str | None] = field(default_factory=dict)
    options: str = ""
    passed: bool | None = None
    summary: str = ""


def step(status: OrderStatus, event: AnyEvent) -> OrderStatus:
    """What is known after one more event, in whatever order the topics are read."""
    if status.passed is not None:
        return status
    match event:
        case RoutingAck(model=status.model):
            return acknowledged(status, event)
        case AuditEntry(model=status.model) if is_answer(status, event):
            return ended(status, event.decision not in IGNORED, event.words)
        case AuditEntry(model=status.model):
            react = REACTIONS.get((event.service, event.decision))
            return react(status, event) if react else status
    return status


def given_up(status: OrderStatus, event: AnyEvent, why: str) -> OrderStatus:
    """After an event became a dead letter."""
    if status.passed is not None or not is_step(status, event):
        return status
    command = f"`driftgate dlq list --model {status.model}{status.options}`"
    return ended(status, False, f"{why}; {command} shows the record, for a replay")


def is_step(status: OrderStatus, event: AnyEvent) -> bool:
    """Whether an event is the command, or what it led to."""
    match event:
        case Command():
            return event.command_id == status.command_id
        case RetrainRequest() | Candidate() | Verdict():
            return event.model == status.model and is_request(status, event.retrain_id)
    return False


def is_answer(status: OrderStatus, entry: AuditEntry) -> bool:
    """Whether the promoter tells what it makes of the command."""
    if entry.service != PROMOTER:
        return False
    event = json.loads(entry.inputs).get("event", {})
    return bool(event.get("command_id") == status.command_id)


def requested(status: OrderStatus, entry: AuditEntry) -> OrderStatus:
    ours = is_request(status, json.loads(entry.result).get("retrain_id", ""))
    return replace(status, stage="requested") if ours else status


def refused(status: OrderStatus, entry: AuditEntry) -> OrderStatus:
    return ended(status, False, entry.words) if is_about_request(status, entry) else status


def trained(status: OrderStatus, entry: AuditEntry) -> OrderStatus:
    if not is_about_request(status, entry):
        return status
    return replace(status, stage="trained", version=entry.version)


def judged(status: OrderStatus, entry: AuditEntry) -> OrderStatus:
    """A version that passed is the promoter's from here on."""
    if not about(status, entry):
        return status
    if json.loads(entry.result)["result"] == "pass":
        return replace(status, stage="judged")
    return ended(status, False, entry.words)


def rolled_back(status: OrderStatus, entry: AuditEntry) -> OrderStatus:
    return ended(status, False, entry.words) if about(status, entry) else status


def released(status: OrderStatus, entry: AuditEntry) -> OrderStatus:
    """A rollout has begun, or begins later; a first release is waited for until a router serves
    it."""
    if not about(status, entry):
        return status
    state = json.loads(entry.result)["state"]
    if state["champion"] != status.version:
        summary = f"{status.model}@{status.version} {entry.words}"
        return ended(status, True, f"{summary}; {audit_command(status)} shows its rollout")
    return served(replace(status, epoch=state["epoch"]))


def acknowledged(status: OrderStatus, ack: RoutingAck) -> OrderStatus:
    why = None if ack.status == "serving" else f"{ack.router} refuses it: {ack.reason}"
    return served(replace(status, acks={**status.acks, (ack.router, ack.epoch): why}))


def served(status: OrderStatus) -> OrderStatus:
    """Ends where a router serves the release, or a later one, whatever others refuse. A refusal
    ends nothing: the promoter may roll the version back for it, and `refusal` says what is known.
    """
    if status.epoch is None or not serving(status):
        return status
    summary = f"{status.model}@{status.version} serves all traffic"
    return ended(status, True, "; ".join([summary, *refusals(status)]))


def refusal(status: OrderStatus) -> str:
    """Why no router that has acknowledged a release serves it; empty where one does, or none has
    acknowledged it yet. Another one may still be loading it."""
    return "" if status.epoch is None or serving(status) else "; ".join(refusals(status))


def serving(status: OrderStatus) -> set[str]:
    """The routers that serve the release, or a later one."""
    return {
        router
        for (router, epoch), why in status.acks.items()
        if why is None and status.epoch is not None and status.epoch <= epoch
    }


def refusals(status: OrderStatus) -> list[str]:
    """What the routers say that refused the release and have not served it since."""
    return [
        why
        for (router, epoch), why in sorted(status.acks.items())
        if why is not None and epoch == status.epoch and router not in serving(status)
    ]


def audit_command(status: OrderStatus) -> str:
    """What shows all decisions about the model."""
    return f"`driftgate audit {status.model}{status.options}`"


def ended(status: OrderStatus, passed: bool, summary: str) -> OrderStatus:
    return replace(status, passed=passed, summary=summary)


def is_about_request(status: OrderStatus, entry: AuditEntry) -> bool:
    """Whether the trainer's decision is about the request."""
    return is_request(status, json.loads(entry.inputs).get("retrain_id", ""))


def is_request(status: OrderStatus, retrain_id: str) -> bool:
    """A request's id ends with the command's."""
    return retrain_id.rpartition(":")[2] == status.command_id


def about(status: OrderStatus, entry: AuditEntry) -> bool:
    return status.version is not None and entry.version == status.version


REACTIONS: Mapping[tuple[str, str], Callable[[OrderStatus, AuditEntry], OrderStatus]] = {
    ("drift-detector", "retrain"): requested,
    ("trainer", "refuse"): refused,
    ("trainer", "train"): trained,
    ("evaluator", "verdict"): judged,
    ("promoter", "start"): released,
    ("promoter", "supersede"): released,
    ("promoter", "wait"): released,
    **{("promoter", name): rolled_back for name in ROLLED_BACK},
}
