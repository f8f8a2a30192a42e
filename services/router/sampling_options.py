"""How a request wants its text written, within what model.yaml declares. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from driftgate.dead_letters import BAD_NUMBER
from driftgate.errors import BadInput
from driftgate.generator.question import Sampling

MAX_STOP = 16


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """What a request says itself; None: as declared.

    Attributes:
        max_new_tokens: no more than declared.
        stop: beside the declared ones.
        seed: the same request with the same seed gets the same text.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


def sampling(declared: Sampling, asked: SamplingOptions) -> Sampling:
    """
    Raises:
        BadInput: a value is out of its range.
    """
    given = {
        "max_new_tokens": asked.max_new_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
    }
    stop = (*declared.stop, *(one for one in asked.stop if one not in declared.stop))
    if len(stop) > MAX_STOP:
        raise BadInput(BAD_NUMBER, "stop", list(asked.stop), f"at most {MAX_STOP} texts in all")
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    wanted = replace(declared, stop=stop, **changed)
    return replace(wanted, max_new_tokens=min(wanted.max_new_tokens, declared.max_new_tokens))


def seed_of(asked: SamplingOptions, request_id: str) -> int:
    """The same request that is asked again gets the same text."""
    if asked.seed is not None:
        return asked.seed
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:6])
