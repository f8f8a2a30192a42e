"""What reviewers said of requests, and which of these are still open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from driftgate.events import Feedback

ENOUGH_SKIPS = 2
"""So many reviewers who pass a request over are enough: nobody else is asked."""

Words = Mapping[str, Feedback]
"""The last word on one request by reviewer, oldest first."""


class Progress(StrEnum):
    """How far a drawn request is."""

    OPEN = "open"
    SECOND = "waiting for a second reviewer"
    LABELLED = "labelled"
    SKIPPED = "skipped"


def words(said: Iterable[Feedback]) -> dict[str, Words]:
    """What stands of reviews and retractions, by request: of each reviewer the last, if it was not
    taken back. That somebody passed a request over is a word here."""
    said = sorted(said, key=lambda one: (one.time, one.feedback_id))
    withdrawn = {one.retracts for one in said if one.kind == "retraction"}
    found: defaultdict[str, dict[str, Feedback]] = defaultdict(dict)
    for one in said:
        own, reviewer = found[one.request_id], one.reviewer or ""
        if one.kind == "retraction" and one.retracts is None:
            own.pop(reviewer, None)
        elif one.kind == "review" and one.feedback_id not in withdrawn:
            own.pop(reviewer, None)
            own[reviewer] = one
    return {request_id: own for request_id, own in found.items() if own}


def answer_of(word: Feedback) -> str | None:
    """The label or the better text that a review gives; None: the request was passed over."""
    return word.edited if word.label is None else word.label


def progress(said: Words, wanted: int) -> Progress:
    """`wanted`: how many reviewers the request needs."""
    labels = sum(answer_of(word) is not None for word in said.values())
    given_up = len(said) - labels >= ENOUGH_SKIPS
    if labels >= wanted or (labels and given_up):
        return Progress.LABELLED
    if given_up:
        return Progress.SKIPPED
    return Progress.SECOND if labels else Progress.OPEN


def closed_for(
    reviewer: str, said: Mapping[str, Words], twice: Collection[str] = ()
) -> frozenset[str]:
    """Requests that a reviewer is not asked about: who has said something of it, and of which
    enough was said. `twice`: those that need two reviewers."""
    return frozenset(
        request_id
        for request_id, own in said.items()
        if reviewer in own or is_done(own, 2 if request_id in twice else 1)
    )


def is_done(said: Words, wanted: int) -> bool:
    return progress(said, wanted) in {Progress.LABELLED, Progress.SKIPPED}
