"""How far a version is that an operator ordered, from what the services tell. Pure.

command ──retrain──▶ request ──train──▶ version ──verdict──▶ rollout, or full traffic at once
                        └──refuse──▶ no       └──fail──▶ no      └──reject, taken back──▶ no
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from driftgate.audit import TOPIC as AUDIT
from driftgate.events import DLQ, Event

ACKS = "routing.acks"
# Topics on which what was ordered may be given up.
STEPS = ("commands", "retrain.requests", "candidates", "verdicts")
TOPICS = (AUDIT, ACKS, *(topic + DLQ for topic in STEPS))
SERVING = "serving"
# Decisions of the promoter after which a version serves nobody.
TAKEN_BACK = ("reject", "refused", "rollback", "quarantine", "give-up")


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of the version that a command asked for.

    Attributes:
        stage: what was done last: ordered, requested, trained, judged.
        version: once it is trained.
        epoch: of the routing that gives it all traffic, for a first release.
        acks: what each router said of each epoch: None, it serves it; else why it refuses.
        options: what a printed command needs to reach the same system, such as ` --state X`.
        passed: None while it is under way; `words` then say what came of it.
    """

    model: str
    command_id: str
    stage: str = "ordered"
    version: int | None = None
    epoch: int | None = None
    acks: Mapping[tuple[str, int], str | None] = field(default_factory=dict)
    options: str = ""
    passed: bool | None = None
    words: str = ""


def step(course: Course, topic: str, event: Event) -> Course:
    """What is known after one more event, in whatever order the topics are read."""
    if course.passed is not None:
        return course
    if topic == ACKS:
        return acknowledged(course, event)
    if topic == AUDIT and event["model"] == course.model:
        react = REACTIONS.get((event["service"], event["decision"]))
        return react(course, event) if react else course
    return course


def given_up(course: Course, event: Event, why: str) -> Course:
    """After an event on one of `STEPS` became a dead letter."""
    if course.passed is not None or not is_step(course, event):
        return course
    command = f"`driftgate dlq list --model {course.model}{course.options}`"
    return ended(course, False, f"{why}; {command} shows the record, for a replay")


def is_step(course: Course, event: Event) -> bool:
    """Whether an event is the command, or what it led to."""
    if event.get("model") != course.model:
        return False
    if "command_id" in event:
        return bool(event["command_id"] == course.command_id)
    if "retrain_id" in event:
        return is_request(course, event["retrain_id"])
    return course.version is not None and event.get("version") == course.version


def requested(course: Course, entry: Event) -> Course:
    command = json.loads(entry["inputs"]).get("command", {})
    if command.get("command_id") != course.command_id:
        return course
    return replace(course, stage="requested")


def refused(course: Course, entry: Event) -> Course:
    return ended(course, False, entry["words"]) if answers(course, entry) else course


def trained(course: Course, entry: Event) -> Course:
    if not answers(course, entry):
        return course
    return replace(course, stage="trained", version=entry["version"])


def judged(course: Course, entry: Event) -> Course:
    """A version that passed is the promoter's from here on."""
    if not about(course, entry):
        return course
    if json.loads(entry["result"])["result"] == "pass":
        return replace(course, stage="judged")
    return ended(course, False, entry["words"])


def rejected(course: Course, entry: Event) -> Course:
    return ended(course, False, entry["words"]) if about(course, entry) else course


def released(course: Course, entry: Event) -> Course:
    """A rollout has begun; a first release is waited for until a router serves it."""
    if not about(course, entry):
        return course
    state = json.loads(entry["result"])["state"]
    if state["champion"] != course.version:
        words = f"{course.model}@{course.version} {entry['words']}"
        return ended(course, True, f"{words}; {audit_command(course)} shows its rollout")
    return settled(replace(course, epoch=state["epoch"]))


def acknowledged(course: Course, ack: Event) -> Course:
    if ack["model"] != course.model:
        return course
    why = None if ack["status"] == SERVING else f"{ack['router']} refuses it: {ack['reason']}"
    return settled(replace(course, acks={**course.acks, (ack["router"], ack["epoch"]): why}))


def settled(course: Course) -> Course:
    """Ends where a router serves the release, or a later one, whatever others refuse. A refusal
    ends nothing: the promoter may take the version back for it, and `refusal` says what is known.
    """
    if course.epoch is None or not serving(course):
        return course
    words = f"{course.model}@{course.version} serves all traffic"
    return ended(course, True, "; ".join([words, *refusals(course)]))


def refusal(course: Course) -> str:
    """Why no router that has acknowledged a release serves it; empty where one does, or none has
    acknowledged it yet. Another one may still be loading it."""
    return "" if course.epoch is None or serving(course) else "; ".join(refusals(course))


def serving(course: Course) -> set[str]:
    """The routers that serve the release, or a later one."""
    return {
        router
        for (router, epoch), why in course.acks.items()
        if why is None and course.epoch is not None and course.epoch <= epoch
    }


def refusals(course: Course) -> list[str]:
    """What the routers say that refused the release and have not served it since."""
    return [
        why
        for (router, epoch), why in sorted(course.acks.items())
        if why is not None and epoch == course.epoch and router not in serving(course)
    ]


def audit_command(course: Course) -> str:
    """What shows all decisions about the model."""
    return f"`driftgate audit {course.model}{course.options}`"


def ended(course: Course, passed: bool, words: str) -> Course:
    return replace(course, passed=passed, words=words)


def answers(course: Course, entry: Event) -> bool:
    """Whether the trainer's decision is about the request."""
    return is_request(course, json.loads(entry["inputs"]).get("retrain_id", ""))


def is_request(course: Course, retrain_id: str) -> bool:
    """A request's id ends with the command's."""
    return retrain_id.rpartition(":")[2] == course.command_id


def about(course: Course, entry: Event) -> bool:
    return course.version is not None and entry["version"] == course.version


REACTIONS: Mapping[tuple[str, str], Callable[[Course, Event], Course]] = {
    ("drift-detector", "retrain"): requested,
    ("trainer", "refuse"): refused,
    ("trainer", "train"): trained,
    ("evaluator", "verdict"): judged,
    ("promoter", "start"): released,
    ("promoter", "supersede"): released,
    **{("promoter", name): rejected for name in TAKEN_BACK},
}
