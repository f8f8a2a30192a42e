"""Questions to an engine that writes, until each has its whole answer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from driftgate.engines import Prediction
from driftgate.errors import BadInput, DriftgateError, QueueFull
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Question, Written

if TYPE_CHECKING:
    from driftgate.engines import Writer

PLAIN = Prompt(system=None, template="{text}")


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


def predictions(writer: Writer, asked: Mapping[str, Sequence[str]]) -> dict[str, list[Prediction]]:
    """Each version's answers to its texts by the base's own chat template, without a prompt of
    ours, the likeliest token each time.

    Raises:
        BadConfig: a version is not resident.
        DriftgateError: a text has no answer, and why.
    """
    pairs = [(name, text) for name, texts in asked.items() for text in texts]
    answers = iter(writer.answers([Question(n, writer.prompt(PLAIN, text)) for n, text in pairs]))
    return {name: [predicted(next(answers)) for _ in texts] for name, texts in asked.items()}


def predicted(answer: Answer | DriftgateError) -> Prediction:
    """A whole answer as all engines give it; its confidence is the geometric mean of the
    probabilities of its tokens.

    Raises:
        DriftgateError: there is none.
    """
    if isinstance(answer, DriftgateError):
        raise answer
    mean = answer.mean_log_probability or 0.0
    return Prediction(
        output=answer.text,
        confidence=math.exp(mean),
        features={"logprob": mean},
        tokens=answer.tokens_in + answer.tokens_out,
    )
