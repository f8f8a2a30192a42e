"""Errors as HTTP and OpenAI's clients know them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from driftgate.dead_letters import TOO_LARGE, UNHANDLED
from driftgate.errors import BadInput, QueueFull, Retriable
from driftgate.routing import NotServed

RETRY_AFTER = {"retry-after": "1"}
"""OpenAI's clients wait so long, s, before they ask again."""

# What the bodies of requests call fields that are called otherwise behind the door.
OF_CHAT = {
    "text": "messages",
    "prompt": "messages",
    "max_new_tokens": "max_completion_tokens",
    "subject": "user",
    "slices": "metadata",
    "request_id": "x-request-id",
}
OF_FEEDBACK = {"time": "time_ms"}


class Refused(Exception):
    """A request that HTTP has a status for."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    Attributes:
        code: one word for programs.
        param: the field that is at fault.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": "server_error" if self.status >= 500 else KINDS.get(self.status, INVALID),
                "param": self.param,
                "code": self.code,
            }
        }


INVALID = "invalid_request_error"
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def refusal_of(error: Exception, names: Mapping[str, str]) -> Refusal:
    """What a caller is told of an error: whether to change the request, or to send it again.
    names: what the request calls fields, where it is another name."""
    match error:
        case Refused(refusal=refusal):
            return refusal
        case BadInput():
            return of_input(error, names)
        case NotServed():  # of a model that is served to others
            return Refusal(400, str(error), "out_of_scope", "metadata")
        case QueueFull():
            return Refusal(429, str(error), "queue_full", headers=RETRY_AFTER)
        case Retriable():
            return Refusal(503, str(error), "unavailable", headers=RETRY_AFTER)
    return Refusal(500, str(error), "internal_error")


def of_input(error: BadInput, names: Mapping[str, str]) -> Refusal:
    name, bracket, key = error.field.partition("[")
    param = names.get(name, name)
    code = error.reason
    if param == "messages" and code == TOO_LARGE:
        code = "context_length_exceeded"  # by this word clients know that they must shorten it
    elif code == UNHANDLED:
        code = "unsupported_value"
    named = f"{param}{bracket}{key}"
    return Refusal(400, str(error).replace(error.field, named, 1), code, named)


def not_found(message: str, code: str, param: str | None = None) -> Refused:
    return Refused(Refusal(404, message, code, param))
