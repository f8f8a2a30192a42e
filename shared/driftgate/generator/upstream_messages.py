"""What is said to an OpenAI-compatible server, and what its answers mean. Pure.

Beyond OpenAI's own, vLLM's fields: every default of the base's `generation_config.json` is written
over, so that sampling is what the question says and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from driftgate.errors import UpstreamUnavailable, shown
from driftgate.generator.question import Question, Sampling

DONE = "[DONE]"

UNSHAPED: dict[str, Any] = {
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Sampling by temperature and top_p alone."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server lists.

    parent: the base of an adapter; None: it is a base. positions: tokens of prompt and answer
    together, where the server says so.
    """

    name: str
    parent: str | None
    positions: int | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a streamed answer.

    log_probabilities: of the tokens written in it. finish: whether and why it is the last.
    """

    text: str
    log_probabilities: tuple[float, ...]
    finish: Literal["stop", "length"] | None


def completion(question: Question, room: int, ends: Collection[int]) -> dict[str, Any]:
    """The body of `POST /v1/completions` for a question, streamed.

    Args:
        room: tokens that the answer may have.
        ends: ids that end an answer.
    """
    sampling = question.sampling
    return {
        "model": question.version,
        "prompt": question.prompt,
        "max_tokens": min(sampling.max_new_tokens, room),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": question.seed,
        "stop": sampling.stop,
        "stop_token_ids": sorted(ends),
        "logprobs": 1,
        "stream": True,
        **UNSHAPED,
    }


def scoring(model: str, before: Sequence[int], token: int) -> dict[str, Any]:
    """The body that asks for the log-probability of a token after others: it is the one that is
    written, whatever is likelier. vLLM tells what the model gave it before the bias. Not by `echo`,
    since log-probabilities of prompts with an adapter end some releases of vLLM.
    """
    question = Question(model, tuple(before), Sampling(max_new_tokens=1))
    return completion(question, 1, ()) | {"logit_bias": {str(token): 100}}


def piece(line: str) -> Piece | None:
    """What one line of a stream says; None: nothing of the answer.

    Raises:
        UpstreamUnavailable: it tells an error, or is no part of an answer.
    """
    if not line.startswith("data:"):
        return None
    data = line.removeprefix("data:").strip()
    if data == DONE:
        return None
    try:
        told = json.loads(data)
        if "error" in told:
            raise UpstreamUnavailable(f"the upstream broke off: {error_in(data)}")
        if not told["choices"]:
            return None
        choice = told["choices"][0]
        text, finish = str(choice["text"]), choice.get("finish_reason")
        values = tuple(map(float, (choice.get("logprobs") or {}).get("token_logprobs", ())))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise odd(data, "a part of an answer with `logprobs`") from error
    if finish not in {None, "stop", "length"} or not all(map(math.isfinite, values)):
        raise odd(data, "finite log-probabilities, and `stop` or `length` at the end")
    return Piece(text, values, finish)


def models(told: Any) -> list[Served]:
    """What `GET /v1/models` lists.

    Raises:
        UpstreamUnavailable: it is no such list.
    """
    try:
        return [
            Served(str(one["id"]), one.get("parent"), one.get("max_model_len"))
            for one in told["data"]
        ]
    except (TypeError, LookupError, AttributeError) as error:
        raise odd(told, "a list of models") from error


def error_in(text: str) -> str:
    """The message in the body of an error: vLLM's of today and before, or whatever is there."""
    try:
        told = json.loads(text)
        inner = told.get("error", told)
        message = inner.get("message", inner) if isinstance(inner, dict) else inner
    except (ValueError, AttributeError):
        message = text
    return shown(message)


def odd(told: Any, expected: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(f"the upstream says {shown(told)}, expected {expected}")
