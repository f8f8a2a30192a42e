"""What a causal language model is asked, and what comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from driftgate.dead_letters import BAD_NUMBER, EMPTY, TOO_LARGE
from driftgate.errors import BadInput, DriftgateError

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, and where an answer ends.

    Attributes:
        temperature: of the softmax; 0 takes the likeliest token each time.
        top_p: only the likeliest tokens that together reach this probability are drawn from
            (nucleus: Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
        max_new_tokens: an answer ends there at the latest.
        max_input_tokens: longer prompts are refused.
        stop: texts before which an answer ends.

    Raises:
        BadInput: a value is out of its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    max_input_tokens: int = 1024
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise BadInput(
                BAD_NUMBER, "temperature", self.temperature, "a finite number of at least 0"
            )
        if not 0 < self.top_p <= 1:
            raise BadInput(BAD_NUMBER, "top_p", self.top_p, "a number above 0, and 1 at most")
        for field in ("max_new_tokens", "max_input_tokens"):
            if getattr(self, field) < 1:
                raise BadInput(BAD_NUMBER, field, getattr(self, field), "at least 1")
        if "" in self.stop:
            raise BadInput(EMPTY, "stop", self.stop, "texts that are not empty")


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt for one version.

    Attributes:
        version: the digest of its adapter.
        prompt: token ids up to where the answer begins (`Chat.prompt`).
        seed: the same question with the same seed gets the same answer.
    """

    version: str
    prompt: tuple[int, ...]
    sampling: Sampling = Sampling()
    seed: int = 0

    def check(self, positions: int) -> None:
        """Holds the prompt to its limit, and to what a base of so many positions can read, one
        token of an answer included.

        Raises:
            BadInput: it is empty or too long.
        """
        count = len(self.prompt)
        if not count:
            raise BadInput(EMPTY, "prompt", self.prompt, "at least one token")
        limit = min(self.sampling.max_input_tokens, positions - 1)
        if count > limit:
            raise BadInput(TOO_LARGE, "prompt", f"{count} tokens", f"at most {limit} tokens")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        finish_reason: `stop`: the model ended it, or wrote a stop string, which is not in the text;
            `length`: it reached `max_new_tokens` or the last position that the base knows.
        tokens_in: of the prompt.
        tokens_out: written, the one that ends the answer and those of a stop string included.
        mean_log_probability: of the written tokens, as the model gives them at temperature 1; None
            before the first.
    """

    text: str
    finish_reason: Finish
    tokens_in: int
    tokens_out: int
    mean_log_probability: float | None


@dataclass(frozen=True, slots=True)
class Written:
    """What one step added to one answer.

    Attributes:
        handle: whose.
        text: added; empty while what was written may yet be part of a stop string or of a
            character. All of an answer's, joined, are its text.
        answer: the whole of it, once it has ended.
        error: why it ended without one; a retriable one may be asked again.
    """

    handle: int
    text: str = ""
    answer: Answer | None = None
    error: DriftgateError | None = None
