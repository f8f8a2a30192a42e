"""How far a version is that an operator ordered, from what the services tell. Pure.

command ──retrain──▶ request ──train──▶ version ──verdict──▶ rollout, or full traffic at once
                        └──refuse──▶ no       └──fail──▶ no      └──refused, reject──▶ no
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


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of the version that a command asked for.

    Attributes:
        stage: what was done last: ordered, requested, trained, judged.
        version: once it is trained.
        epoch: of the routing that gives it all traffic, for a first release.
        acks: what the routers said of each epoch: status and reason.
        passed: None while it is under way; `words` then say what came of it.
    """

    model: str
    command_id: str
    stage: str = "ordered"
    version: int | None = None
    epoch: int | None = None
    acks: Mapping[int, tuple[str, str]] = field(default_factory=dict)
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
    words = f"{why}; `driftgate dlq list --model {course.model}` shows the record, for a replay"
    return ended(course, False, words)


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
        return ended(course, True, f"{words}; `driftgate audit {course.model}` shows its rollout")
    return settled(replace(course, epoch=state["epoch"]))


def acknowledged(course: Course, ack: Event) -> Course:
    if ack["model"] != course.model:
        return course
    said = (ack["status"], f"{ack['router']} refuses it: {ack['reason']}")
    return settled(replace(course, acks={**course.acks, ack["epoch"]: said}))


def settled(course: Course) -> Course:
    """Ends where a router serves the release, or a later one, or refuses it."""
    if course.epoch is None:
        return course
    if any(course.epoch <= at and said[0] == SERVING for at, said in course.acks.items()):
        return ended(course, True, f"{course.model}@{course.version} serves all traffic")
    if course.epoch in course.acks:
        return ended(course, False, course.acks[course.epoch][1])
    return course


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
    ("promoter", "reject"): rejected,
}
