"""The options that say how a file of labelled text is read, for all commands that read one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from driftgate.errors import BadConfig
from driftgate.labelled.rows import Asked

NONE = "none"
PANEL = "How the file is read (found by rules otherwise; docs/files.md)"


def option(says: str, min: float | None = None, max: float | None = None) -> Any:
    return typer.Option(help=says, min=min, max=max, rich_help_panel=PANEL)


def options(
    text: Annotated[list[str] | None, option("column with the text; twice: joined")] = None,
    label: Annotated[str | None, option("column with the label")] = None,
    time: Annotated[str | None, option("column with the date; none: without dates")] = None,
    subject: Annotated[str | None, option("column that says whom a row is about")] = None,
    slice: Annotated[list[str] | None, option("column that is a slice; none: no slices")] = None,
    dates: Annotated[
        str | None, option("dmy, mdy, ymd, or a format such as '%d.%m.%Y %H:%M'")
    ] = None,
    encoding: Annotated[str | None, option("of a text file, such as cp1252")] = None,
    left_out: Annotated[
        float, option("largest share of rows that may be left out", min=0, max=1)
    ] = 0.2,
) -> Asked:
    """What the options say. Each has the name of its parameter."""
    slices = None if slice is None else tuple(name for name in slice if name != NONE)
    return Asked(tuple(text or ()), label, time, subject, slices, dates, encoding, left_out)


def adds(
    options: Callable[..., Any], name: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives commands the options that are parameters of `options`; a command gets what that makes
    of them as `name`."""
    ours = signature(options, eval_str=True).parameters

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = signature(command, eval_str=True)

        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            said = options(**{one: given.pop(one) for one in ours})
            command(**given, **{name: said})

        parameters = [one for one in own.parameters.values() if one.name != name]
        every = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in (*parameters, *ours.values())]
        wrapped.__signature__ = own.replace(parameters=every)  # type: ignore[attr-defined]
        return wrapped

    return decorate


reads = adds(options, "asked")
"""Gives a command these options; it gets what they say as `asked`."""


def refuse_without(option: str, asked: Asked) -> None:
    """Where there is no file to read, as `option` would name one.

    Raises:
        BadConfig: an option says how to read it.
    """
    usual = Asked()
    for name in (one.name for one in fields(Asked)):
        if getattr(asked, name) != getattr(usual, name):
            said = "slice" if name == "slices" else name.replace("_", "-")
            raise BadConfig(
                f"--{said} says how a file is read, and no file is named: add {option} PATH, or "
                f"leave --{said} out"
            )
