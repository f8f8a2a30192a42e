"""What a reviewer gets to see of a request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import mmh3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a version answered to a request, as it is stored.

    Attributes:
        heard: whether the app got it. text: the question; None where only its hash was kept.
        time: of the request, ms.
    """

    version: int
    heard: bool
    text: str | None
    output: str
    slices: Mapping[str, str]
    time: int


@dataclass(frozen=True, slots=True)
class Question:
    """Neither who answered what, nor how sure, nor what another reviewer said: a reviewer who knew
    would follow it. What apps report is masked before it is stored.

    Attributes:
        time: of the request, ms.
        answers: the different ones, in an order that says nothing.
        labels: all that may be answered; None: any text.
        picked: why it was picked for its value; None where it was drawn at random.
    """

    model: str
    request_id: str
    time: int
    text: str
    answers: tuple[str, ...]
    slices: Mapping[str, str]
    labels: tuple[str, ...] | None
    instructions: str
    picked: str | None = None


def heard(answers: Iterable[Answer]) -> Answer | None:
    """The answer that the app got; the first where several were stored."""
    return next((answer for answer in answers if answer.heard), None)


def shuffled(outputs: Collection[str], request_id: str, reviewer: str) -> tuple[str, ...]:
    """Different outputs in an order of this request's and this reviewer's own."""
    seed = f"{request_id}\n{reviewer}\n"
    return tuple(sorted(set(outputs), key=lambda one: (mmh3.hash(f"{seed}{one}".encode()), one)))
