"""A model's traffic over time, by version and by slice, as one self-contained page. Pure but for
`write`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from driftgate.events import DAY_MS, HOUR_MS
from services.console.traffic import Row, Span

ACCURACY = "accuracy"
# Name, format, and its value in a row.
MEASURES: Sequence[tuple[str, str, Callable[[Row], float | None]]] = (
    (ACCURACY, ".0%", lambda row: row.accuracy),
    ("answers", "", lambda row: row.answers),
    ("mean confidence", ".2f", lambda row: row.confidence),
    ("p95 latency, ms", "", lambda row: row.latency_ms[1]),
)
STEPS_S = (60, 600, *(ms // 1000 for ms in (HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS)))
MAX_POINTS = 40
MAX_LINES = 8


def step_of(span: Span) -> int:
    """Seconds from one point of a line to the next."""
    fitting = (step for step in STEPS_S if span.seconds <= step * MAX_POINTS)
    return next(fitting, STEPS_S[-1])


def write(path: Path, title: str, versions: Sequence[Row], slices: Sequence[Row]) -> None:
    """Writes one HTML file. Rows are of `step_of` seconds each, those of a key together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure(title, versions, slices).write_html(path, include_plotlyjs=True)


def figure(title: str, versions: Sequence[Row], slices: Sequence[Row]) -> go.Figure:
    """One chart a measure, of versions on the left and of slices on the right."""
    chart = make_subplots(
        rows=len(MEASURES),
        cols=2,
        shared_xaxes=True,
        shared_yaxes=True,
        vertical_spacing=0.03,
        horizontal_spacing=0.03,
    )
    for at, (measure, form, of) in enumerate(MEASURES, 1):
        for column, lines in ((1, lines_of(versions, "version ")), (2, lines_of(slices, ""))):
            for (name, points), colour in zip(lines, qualitative.D3, strict=False):
                chart.add_scatter(
                    x=[datetime.fromtimestamp(row.time, UTC) for row in points],
                    y=[of(row) for row in points],
                    name=name,
                    mode="lines+markers",
                    line={"color": colour},
                    legend=f"legend{column}",
                    legendgroup=name,
                    showlegend=at == 1,
                    row=at,
                    col=column,
                    **(judged(points) if measure == ACCURACY else {}),
                )
        chart.update_yaxes(tickformat=form, row=at)
        chart.update_yaxes(title=measure, row=at, col=1)
    above = {"orientation": "h", "yanchor": "bottom", "y": 1.01}
    chart.update_layout(
        template="plotly_white",
        title=title,
        height=1000,
        margin={"l": 60, "r": 20, "t": 130, "b": 40},
        legend=above,
        legend2=above | {"x": 0.52},
        hovermode="x unified",
    )
    return chart


def lines_of(rows: Sequence[Row], prefix: str) -> list[tuple[str, list[Row]]]:
    """The lines with the most answers, with their names."""
    lines = [list(points) for _, points in groupby(rows, key=lambda row: row.key)]
    lines.sort(key=lambda line: -sum(row.answers for row in line))
    return [(prefix + line[0].key, line) for line in lines[:MAX_LINES]]


def judged(points: Sequence[Row]) -> Mapping[str, Any]:
    """What accuracy is drawn with: its interval, and of how many outcomes it is."""
    spreads = [(row.accuracy or 0.0, *row.interval) for row in points]
    return {
        "error_y": {
            "array": [high - at for at, _, high in spreads],
            "arrayminus": [at - low for at, low, _ in spreads],
            "thickness": 1,
        },
        "text": [f"{row.right:,} of {row.known:,}" for row in points],
        "hovertemplate": "%{y:.1%}, %{text}",
    }
