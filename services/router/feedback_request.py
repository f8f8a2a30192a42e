"""A feedback that comes by HTTP, as the event that it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from driftgate.codec import digest
from driftgate.dead_letters import EMPTY
from driftgate.errors import BadInput
from driftgate.feedback_said import feedback_said
from services.router.chat_reply import COMPLETION
from services.router.chat_request import validated


class Given(BaseModel):
    """The body of `POST /v1/feedback`: one of `label`, `rating` and `edited`, about one request.

    Attributes:
        request_id: of the answer, header `x-request-id`; or `completion_id`, the answer's `id`.
        feedback_id: the same id twice is the same feedback; it follows from the rest when left out.
        time_ms: when it was given, ms since 1970; now when left out.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str
    request_id: str | None = None
    completion_id: str | None = None
    label: str | None = None
    rating: float | None = None
    edited: str | None = None
    reviewer: str | None = None
    reason: str | None = None
    feedback_id: str | None = None
    time_ms: int | None = None

    @property
    def about(self) -> str:
        """The request.

        Raises:
            BadInput
        """
        told = [self.request_id, self.completion_id]
        if told.count(None) != 1:
            raise BadInput(EMPTY, "request_id", self.request_id, "it, or else completion_id")
        if self.completion_id is None:
            return self.request_id or ""
        if not self.completion_id.startswith(COMPLETION):
            wanted = f"the id of an answer, {COMPLETION}…"
            raise BadInput(EMPTY, "completion_id", self.completion_id, wanted)
        return self.completion_id.removeprefix(COMPLETION)


def event_of(body: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The fields of the event `Feedback`. now: in ms.

    Raises:
        BadInput: names the field, its value and what was expected.
    """
    given = validated(Given, body)
    said = feedback_said(given.label, given.rating, given.edited, reviewer=given.reviewer)
    said |= {"reviewer": given.reviewer, "reason": given.reason}
    content = {"model": given.model, "request_id": given.about, **said}
    return content | {
        "feedback_id": given.feedback_id or digest([content, given.time_ms])[:32],
        "time": now if given.time_ms is None else given.time_ms,
    }
