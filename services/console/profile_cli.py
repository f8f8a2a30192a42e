"""The options that say how people answer in a played world, for all commands that play one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from services.console.reading_cli import adds

PANEL = "How people answer (numbers: as the profile says, unless given; docs/command-line.md)"
SHARE = ("--feedback", "--feedback-share")


def option(says: str, *names: str) -> Any:
    return typer.Option(*names, help=says, rich_help_panel=PANEL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say. numbers: by the names of `FeedbackProfile`, None: as the profile."""

    profile: str | None
    numbers: Mapping[str, float | None]


def options(
    profile: Annotated[
        str | None,
        option(
            "labels, complaints, corrections, thumbs, review, late or loud-users; several with "
            "commas between them; or a YAML file with a mix"
        ),
    ] = None,
    feedback: Annotated[
        float | None, option("share of wrong answers that get feedback", *SHARE)
    ] = None,
    feedback_right: Annotated[
        float | None, option("share of right answers that get feedback")
    ] = None,
    delay_hours: Annotated[float | None, option("mean delay of feedback, hours")] = None,
    longest_days: Annotated[
        float | None, option("days after which nobody gives a first word")
    ] = None,
    wrong: Annotated[float | None, option("share of feedback that is mistaken")] = None,
    praise: Annotated[
        float | None, option("share of feedback for an answer that is a rating, not its label")
    ] = None,
    changed: Annotated[
        float | None, option("share of feedback that a second word follows, or that is taken back")
    ] = None,
) -> Wanted:
    """What the options say. Each has the name of its parameter."""
    numbers = {
        "share": feedback,
        "share_right": feedback_right,
        "delay_hours": delay_hours,
        "longest_days": longest_days,
        "wrong": wrong,
        "praise": praise,
        "changed": changed,
    }
    return Wanted(profile, numbers)


plays = adds(options, "wanted")
"""Gives a command these options; it gets what they say as `wanted`."""
