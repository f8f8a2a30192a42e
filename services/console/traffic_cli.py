"""`driftgate traffic`: how a model answered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from driftgate.errors import BadConfig
from driftgate.store import Store
from services.console.operators import when
from services.console.terminal import HERE, STORE, State, console, reports_errors, say, settings
from services.console.traffic import ALL, EACH, By, Row, Span, rows, span_of

# Broken, so that slices have room beside them on a terminal of 80 columns.
ANSWERED = ("answers", "share", "confi-\ndence", "p50\nms", "p95\nms", "p99\nms")
KNOWN = ("known", "accu-\nracy", "95 %")


@reports_errors
def traffic(
    model: str,
    since: Annotated[
        str, typer.Option(help="30m, 2h, 7d back from the newest answer, or an ISO time")
    ] = "7d",
    slice_: Annotated[str, typer.Option("--slice", help="NAME=VALUE, such as language=es")] = ALL,
    by: Annotated[By, typer.Option(help="what a line is about")] = By.VERSION,
    page: Annotated[
        Path | None, typer.Option(help="also write charts over time into this HTML file")
    ] = None,
    state: State = HERE,
) -> None:
    """Live answers, confidence, latency, and how much of what is known is right."""
    if by is By.SLICE and slice_ != ALL:
        raise BadConfig(f"--slice {slice_!r} and --by slice: expected one of them, not both")
    found = settings(state, STORE)
    with closing(Store.connect(found.store, found.database)) as store:
        span = span_of(store, model, slice_, since)
        title = f"{model}: live answers, {slice_}, {words(span)}"
        listed = rows(store, model, EACH if by is By.SLICE else slice_, by, span)
        if page:
            from services.console import traffic_page

            step = traffic_page.step_of(span)
            versions = rows(store, model, slice_, By.VERSION, span, step)
            slices = rows(store, model, EACH, By.SLICE, span, step)
            traffic_page.write(page, title, versions, slices)
    console.print(title, highlight=False, markup=False)
    console.print(table(listed, by))
    if page:
        say(f"{page} written")


def words(span: Span) -> str:
    return f"{when(span.since * 1000)} to {when(span.until * 1000)} UTC"


def table(listed: Sequence[Row], by: By) -> Table:
    """Rows for people. The share is of all answers; slices overlap, the first of them is `all`."""
    made = Table(padding=0)
    made.add_column(by.value, overflow="fold")
    for name in (*ANSWERED, *KNOWN):
        made.add_column(name, justify="right", no_wrap=True)
    total = listed[0].answers if by is By.SLICE else sum(row.answers for row in listed)
    for row in listed:
        judged = [""] * 2
        if row.accuracy is not None:
            low, high = row.interval
            judged = [f"{row.accuracy:.1%}", f"{100 * low:.1f}–{100 * high:.1f}"]
        made.add_row(
            Text(row.key),
            f"{row.answers:,}",
            f"{row.answers / total:.1%}",
            "" if row.confidence is None else f"{row.confidence:.3f}",
            *(f"{ms:.1f}" for ms in row.latency_ms),
            f"{row.known:,}",
            *judged,
        )
    return made
