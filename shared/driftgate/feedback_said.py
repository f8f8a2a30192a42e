"""What one word of feedback says, by whichever way it comes in. Pure."""

from __future__ import annotations

from typing import Any

from driftgate import limits
from driftgate.dead_letters import EMPTY
from driftgate.errors import BadInput


def feedback_said(
    label: str | None,
    rating: float | None,
    edited: str | None,
    kind: str | None = None,
    reviewer: str | None = None,
) -> dict[str, Any]:
    """The kind of a feedback, and what it is about. Without a kind it follows from the others: a
    label is a review where a reviewer gives it, and a correction where a user does.

    Raises:
        BadInput: none or several of label, rating and edited are given, or the edit is blank.
    """
    given = {"label": label, "rating": rating, "edited": edited}
    told = [name for name, value in given.items() if value is not None]
    if len(told) != 1:
        raise BadInput(EMPTY, "feedback", told, "one of label, rating and edited")
    if edited is not None:
        limits.check_text("edited", edited)
        limits.NotBlank().check("edited", edited)
    label_kind = "review" if reviewer else "correction"
    kinds = {"label": label_kind, "rating": "rating", "edited": "edit"}
    return {"kind": kinds[told[0]] if kind is None else kind, **given}
