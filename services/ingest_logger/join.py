"""What a feedback and the live inference that it is about say together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from driftgate.events import Outcome
from driftgate.latest_word import WORDS
from driftgate.tasks import Said, Task
from services.ingest_logger.rows import Row

# Fields that an outcome has as its feedback has them.
CARRIED = ("reviewer", "propensity", "picked", "instructions", "metric", "value", "retracts")


def outcomes(
    feedback: Iterable[Row],
    answers: Iterable[Row],
    is_new: Callable[[Row], bool],
    tasks: Mapping[str, Task],
) -> list[Outcome]:
    """An outcome for each feedback that meets its answer, if one of the two is new: if neither
    is, the outcome was made before. The same feedback twice makes the same outcome.

    Args:
        answers: at most one a request, the live answer that counts.
        tasks: of the models; who has none any more has no answers that are known to be right.
    """
    by_request = {(row["model"], row["request_id"]): row for row in answers}
    found: dict[str, Outcome] = {}
    for given in feedback:
        answer = by_request.get((given["model"], given["request_id"]))
        if answer is not None and (is_new(given) or is_new(answer)):
            found[given["feedback_id"]] = outcome(given, answer, tasks.get(answer["model"]))
    return list(found.values())


def outcome(feedback: Row, answer: Row, task: Task | None) -> Outcome:
    """Whether the answer was right is said by words alone: a metric measures, and a retraction
    takes back."""
    tells = feedback["kind"] in WORDS
    said = Said(feedback["label"], feedback["rating"], feedback["edited"])
    edit = None
    if task and tells and said.edited is not None:
        edit = task.edit(answer["output"], said.edited)
    return Outcome(
        outcome_id=feedback["feedback_id"],
        request_id=answer["request_id"],
        model=answer["model"],
        version=answer["version"],
        slices=answer["slices"],
        output=answer["output"],
        confidence=answer["confidence"],
        kind=feedback["kind"],
        label=said.label,
        rating=said.rating,
        edited=said.edited,
        was_correct=task.was_correct(answer["output"], said) if task and tells else None,
        inference_time=answer["time"],
        feedback_time=feedback["time"],
        **{name: feedback.get(name) for name in CARRIED},
        subject=answer["subject"],
        heard=answer["propensity"],
        edit_distance=edit.distance if edit else None,
        changed=edit.changed if edit else {},
        time=max(answer["time"], feedback["time"]),
    )


def are_new(outcome_ids: Iterable[str], known: set[str]) -> list[bool]:
    """Whether each id is not in `known`, and not among those before it; adds all to `known`."""
    found = []
    for outcome_id in outcome_ids:
        found.append(outcome_id not in known)
        known.add(outcome_id)
    return found
