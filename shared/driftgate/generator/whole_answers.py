"""Questions to an engine that writes, until each has its whole answer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from driftgate.engines import Prediction
from driftgate.errors import BadInput, DriftgateError, QueueFull, Retriable
from driftgate.generator.question import Answer, Question, Written
from driftgate.signals import LOGPROB

if TYPE_CHECKING:
    from driftgate.engines import Writer


def whole_answers(
    writer: Writer, questions: Sequence[Question]
) -> tuple[list[Answer | DriftgateError], list[Written]]:
    """Each answer, in the order of the questions, or why there is none; and what was written
    meanwhile of answers that others have open.

    Raises:
        BadConfig: a version is not resident.
    """
    found: dict[int, Answer | DriftgateError] = {}
    places: dict[int, int] = {}
    others: list[Written] = []
    left = deque(enumerate(questions))
    while len(found) < len(questions):
        while left:
            place, question = left[0]
            try:
                places[writer.open(question)] = place
            except QueueFull:
                break
            except BadInput as error:
                found[place] = error
            left.popleft()
        for one in writer.step():
            if one.handle not in places:
                others.append(one)
            elif ended := one.answer or one.error:
                found[places[one.handle]] = ended
    return [found[place] for place in range(len(questions))], others


def predicted(answer: Answer | DriftgateError) -> Prediction:
    """A whole answer as all engines give it, or an empty one where there is none. Its confidence is
    the geometric mean of the probabilities of its tokens.

    Raises:
        Retriable: there is none yet.
    """
    if isinstance(answer, Retriable):
        raise answer
    if isinstance(answer, DriftgateError):
        return Prediction("", None, {}, 0)
    mean = answer.mean_log_probability
    return Prediction(
        output=answer.text,
        confidence=None if mean is None else math.exp(mean),
        features={} if mean is None else {LOGPROB: mean},
        tokens=answer.tokens_in + answer.tokens_out,
    )
