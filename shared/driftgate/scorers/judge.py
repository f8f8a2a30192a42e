"""A model that is asked how good an output is. Not a pure function, and so no scorer like the
others: the evaluator asks it (`services.evaluator.judge_endpoint`), and it never decides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, HttpUrl, ValidationError

from driftgate.repo_file import InRepo
from driftgate.scorers.options import Bar
from driftgate.suites import Part, Text


def without_secrets(url: str) -> str:
    """An address that may stand in git and in logs."""
    try:
        parts = HttpUrl(url)
    except ValidationError:
        raise ValueError("expected an address such as https://host/v1") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "expected an address alone, such as https://host/v1: the token comes from the "
            "environment variable DRIFTGATE_JUDGE_TOKEN"
        )
    return url


class Judge(Part):
    """How to ask: any server of OpenAI's `chat/completions`, as declared in model.yaml."""

    name: Literal["judge"]
    model: Text = Field(description="as the server calls it")
    rubric: InRepo = Field(description="file that says what is good, and what is not")
    url: Annotated[Text, AfterValidator(without_secrets)] | None = Field(
        None, description="such as https://host/v1; null: DRIFTGATE_JUDGE_URL"
    )
    min: Bar = Field(0.5, description="it calls an output right from this score on")
