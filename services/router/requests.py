"""What a request may be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftgate.dead_letters import BAD_TIME, EMPTY, TOO_LARGE
from driftgate.errors import BadInput
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.limits import check_words
from driftgate.model_repo import Data

MAX_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model. time: when it was asked, ms. subject: empty when there is none."""

    model: str
    text: str
    request_id: str
    subject: str
    slices: Mapping[str, str]
    time: int


def check(request: Request, now: int, data: Data) -> None:
    """Holds a request to the limits of its model's data policy. `now` in ms, 0 while unknown.

    Raises:
        BadInput: names the field, its value and what was expected.
    """
    if not request.text.strip():
        raise BadInput(EMPTY, "text", request.text, "a text that is not empty")
    if len(request.text) > MAX_TEXT:
        raise BadInput(TOO_LARGE, "text", request.text, f"at most {MAX_TEXT} characters")
    check_words(request.request_id, request.subject, request.slices)
    oldest = max(DAY_MS, now - data.keep_days * DAY_MS)
    newest = now + data.ahead_hours * HOUR_MS
    if request.time < oldest or (now >= DAY_MS and request.time > newest):
        expected = f"milliseconds since 1970, from {oldest}"
        expected += f" to {newest}" if now >= DAY_MS else ""
        raise BadInput(BAD_TIME, "time_ms", request.time, expected)
