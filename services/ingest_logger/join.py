"""What a feedback and the live inference that it is about say together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from driftgate.events import Emit

TOPIC = "outcomes"
GOOD_RATING = 0.5


Row = Mapping[str, Any]
IsNew = Callable[[Row], bool]


def outcomes(feedback: Iterable[Row], answers: Iterable[Row], is_new: IsNew) -> list[Emit]:
    """An outcome for each feedback that meets its answer, if one of the two is new: if neither
    is, the outcome was made before. The same feedback twice makes the same outcome.

    Args:
        answers: at most one a request, the live answer that counts.
    """
    by_request = {(row["model"], row["request_id"]): row for row in answers}
    found: dict[str, Emit] = {}
    for given in feedback:
        answer = by_request.get((given["model"], given["request_id"]))
        if answer is not None and (is_new(given) or is_new(answer)):
            found[given["feedback_id"]] = Emit(TOPIC, outcome(given, answer))
    return list(found.values())


def are_new(outcome_ids: Iterable[str], known: set[str]) -> list[bool]:
    """Whether each of these is in `known` for the first time; adds them to it."""
    found = []
    for outcome_id in outcome_ids:
        found.append(outcome_id not in known)
        known.add(outcome_id)
    return found


def outcome(feedback: Row, answer: Row) -> dict[str, Any]:
    of_answer = ("request_id", "model", "version", "slices", "output", "confidence")
    of_feedback = ("kind", "label", "rating", "edited")
    return {
        "outcome_id": feedback["feedback_id"],
        **{name: answer[name] for name in of_answer},
        **{name: feedback[name] for name in of_feedback},
        "was_correct": was_correct(answer["output"], feedback["label"], feedback["rating"]),
        "inference_time": answer["time"],
        "feedback_time": feedback["time"],
        "time": max(answer["time"], feedback["time"]),
    }


def was_correct(output: str, label: str | None, rating: float | None) -> bool | None:
    """A label decides; without one, a rating does; None when neither was given."""
    if label is not None:
        return output == label
    return None if rating is None else rating >= GOOD_RATING
