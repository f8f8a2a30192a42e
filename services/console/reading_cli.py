"""The options that say how a file of labelled text is read, for all commands that read one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from driftgate.labelled.rows import Asked

NONE = "none"
PANEL = "How the file is read (found by rules otherwise; docs/files.md)"


def option(says: str, *names: str) -> Any:
    return typer.Option(*names, help=says, rich_help_panel=PANEL)


Text = Annotated[list[str] | None, option("column with the text; twice: joined", "--text")]
Label = Annotated[str | None, option("column with the label")]
Time = Annotated[str | None, option("column with the date; none: without dates", "--time")]
Subject = Annotated[str | None, option("column that says whom a row is about")]
Slices = Annotated[list[str] | None, option("column that is a slice; none: no slices", "--slice")]
Dates = Annotated[str | None, option("dmy, mdy, ymd, or a format such as '%d.%m.%Y %H:%M'")]
Encoding = Annotated[str | None, option("of a text file, such as cp1252")]
LeftOut = Annotated[float, option("largest share of rows that may be left out")]


def asked(
    text: list[str] | None,
    label: str | None,
    time: str | None,
    subject: str | None,
    slices: list[str] | None,
    dates: str | None,
    encoding: str | None,
    left_out: float,
) -> Asked:
    """What the options say."""
    from driftgate.labelled.rows import Asked

    chosen = None if slices is None else tuple(name for name in slices if name != NONE)
    return Asked(tuple(text or ()), label, time, subject, chosen, dates, encoding, left_out)
