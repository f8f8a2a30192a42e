"""What a reviewer's word becomes: a feedback of kind review, with the chance with which the request
was drawn, or the reason for which it was picked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from driftgate import limits
from driftgate.errors import BadConfig
from driftgate.events import Feedback
from driftgate.review import drawn
from driftgate.review.question import heard
from driftgate.tasks import task_of
from services.console.review_queue import Queue


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a reviewer sits. options: what a printed command needs to reach the same system."""

    queue: Queue
    reviewer: str
    options: str


@dataclass(frozen=True, slots=True)
class Word:
    """What the reviewer said: a label, a better text, or only why the request was passed over.
    picked: why a request is reviewed that was not drawn; empty where it was."""

    label: str | None = None
    edited: str | None = None
    reason: str | None = None
    picked: str = ""


def review_of(desk: Desk, request_id: str, word: Word, time: int) -> Feedback:
    """The event; the same word at the same time, ms, has the same id.

    Raises:
        BadConfig: there is nothing to review, or it has to be said that it was picked.
        BadInput: the model does not answer with this label, or a text cannot be sent.
    """
    queue = desk.queue
    task = task_of(queue.declared.task)
    if word.edited is not None and task.outputs is not None:
        raise BadConfig(f"--edit: {queue.model} answers {task.summary}, expected LABEL")
    made = Feedback(
        feedback_id="-",
        request_id=request_id,
        model=queue.model,
        kind="review",
        label=word.label,
        edited=word.edited,
        reason=word.reason,
        reviewer=desk.reviewer,
        instructions=queue.declared.review.instructions,
        time=time,
    )
    limits.check_texts(made.as_dict())
    task.check_feedback(made)
    propensity = drawn_with(desk, request_id, word.picked)
    made = replace(made, propensity=propensity, picked=word.picked or None)
    content = json.dumps(made.as_dict(), sort_keys=True, ensure_ascii=False)
    made = replace(made, feedback_id=f"review-{hashlib.sha256(content.encode()).hexdigest()[:32]}")
    limits.check(Feedback.TOPIC, made.as_dict())
    return made


def drawn_with(desk: Desk, request_id: str, picked: str) -> float | None:
    """The chance with which the request was drawn; None where it was picked, for the reason given.

    Raises:
        BadConfig: it cannot be reviewed, or not so.
    """
    queue, command = desk.queue, f"`driftgate review next {desk.queue.model}{desk.options}`"
    given = heard(queue.answers(request_id))
    if given is None:
        raise BadConfig(
            f"REQUEST_ID {request_id!r}: no answer of {queue.model} to it is stored; {command} "
            "offers a request"
        )
    if given.text is None:
        raise BadConfig(
            f"REQUEST_ID {request_id!r}: its text was not kept, so nobody can judge its answer; "
            "`data.keep_text: true` in model.yaml keeps the texts of requests to come"
        )
    before = queue.said_of(request_id).get(desk.reviewer)
    propensity = queue.propensity(given, request_id, before)
    if propensity and picked:
        raise BadConfig(
            f"--picked {picked!r}: request {request_id!r} is in the random sample, and is missed "
            "there if it is reviewed for its value: leave --picked out"
        )
    if not propensity and not picked.strip():
        raise BadConfig(
            f"REQUEST_ID {request_id!r} {why_not_asked(queue, request_id)}; --picked REASON "
            f"reviews it nevertheless, outside all estimates; {command} offers one of the sample"
        )
    return propensity


def why_not_asked(queue: Queue, request_id: str) -> str:
    rules = queue.declared.review
    if drawn(queue.model, request_id, rules.share):
        return f"was drawn and is older than {rules.days} days (review.days)"
    return f"is not in the review sample (review.share {rules.share:g})"
