"""The page that a played world ends with: accuracy by week, and the story of every release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined

from driftgate.events import DAY_MS
from driftgate.model_repo import ModelYaml
from services.simulator.facts import Facts
from services.simulator.lineage import Followed
from services.simulator.scoring import Gain, Result, Told
from services.simulator.world import World

LOOP, BASELINE, GATE, KNOWN = "#0b6e4f", "#b3541e", "#777777", "#8a6fb0"
MAX_AXES = 14


@dataclass(frozen=True, slots=True)
class Cause:
    """What really changed in the world; weeks counted from 1, `until` None: for good."""

    name: str
    week: int
    until: int | None
    words: str


@dataclass(frozen=True, slots=True)
class Release:
    """One trained version and what became of it, in words."""

    version: int
    week: float
    why: str
    drill: str | None
    rows: int
    result: str
    verdict: str
    axes: list[dict[str, Any]]
    steps: list[str]
    live_week: float | None


def write_report(
    path: Path,
    config: ModelYaml,
    world: World,
    result: Result,
    facts: Facts,
    *,
    held: bool,
    false_alarms: Sequence[str],
    causes: Sequence[Cause],
    refused: Sequence[str] = (),
    notes: Sequence[str] = (),
    feedback: str,
    told: Told,
    lacking: Sequence[str] = (),
    measures: tuple[str, str | None] = ("accuracy", None),
    gain: Gain | None = None,
    followed: Followed | None = None,
) -> None:
    """Writes one self-contained HTML file."""
    found = releases(facts, world.start)
    environment = Environment(
        loader=PackageLoader("services.simulator"), undefined=StrictUndefined, autoescape=True
    )
    page = environment.get_template("report.html.j2").render(
        model=config.model,
        world=world,
        result=result,
        held=held,
        facts=facts,
        false_alarms=len(false_alarms),
        drift_requests=len(facts.drift_requests),
        alerts=[alert_line(alert, world.start) for alert in facts.alerts],
        causes=causes,
        refused=refused,
        notes=(*world.notes, *notes),
        feedback=feedback,
        told=told,
        lacking=lacking,
        measure=measures[0],
        grade=measures[1],
        gain=gain,
        followed=followed,
        followed_weeks=[
            week_of(at, world.start)
            for at in ((followed.answered, followed.edited_at, followed.live) if followed else ())
        ],
        later=sum(week.week > (result.refreshed or 0) for week in result.weeks),
        releases=found,
        chart=figure(result, found, causes, measures).to_html(
            full_html=False, include_plotlyjs=True
        ),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def figure(
    result: Result,
    found: Sequence[Release],
    causes: Sequence[Cause],
    measures: tuple[str, str | None] = ("accuracy", None),
) -> go.Figure:
    """Accuracy by week for loop, frozen baseline and gate line; of labels what could be known at
    all, of texts how right answers are in degrees. Releases and causes are marked."""
    measure, grade = measures
    weeks = [week.week for week in result.weeks]
    chart = go.Figure()
    lines = [
        ("the loop", [w.loop for w in result.weeks], LOOP, "solid"),
        ("the one-off", [w.frozen_baseline for w in result.weeks], BASELINE, "solid"),
        ("gate", [result.gate] * len(weeks), GATE, "dash"),
    ]
    if grade is None:
        lines.append(("label has had feedback", [w.known for w in result.weeks], KNOWN, "dash"))
    else:
        lines.append((f"the loop, {grade}", [w.loop_grade for w in result.weeks], LOOP, "dot"))
        lines.append(
            (f"the one-off, {grade}", [w.frozen_grade for w in result.weeks], BASELINE, "dot")
        )
    for name, values, colour, dash in lines:
        chart.add_scatter(
            x=weeks,
            y=values,
            name=name,
            mode="lines+markers" if dash == "solid" else "lines",
            line={"color": colour, "dash": dash, "width": 3 if dash == "solid" else 2},
            hovertemplate="week %{x}: %{y:.1%}<extra>" + name + "</extra>",
        )
    for release in found:
        if release.live_week is not None and release.version > 1:
            chart.add_vline(
                x=release.live_week,
                line={"color": LOOP, "dash": "dot", "width": 1},
                annotation={"text": f"v{release.version}", "font": {"color": LOOP}},
            )
    drawn = [share for week in result.weeks for share in (week.loop, week.frozen_baseline)]
    low = min([share for share in drawn if share is not None] + [0.5])
    for number, cause in enumerate(causes):
        chart.add_annotation(
            x=cause.week,
            y=low - 0.02 - 0.025 * (number % 4),
            text=f"▲ {cause.name}",
            showarrow=False,
            xanchor="left",
            font={"size": 11, "color": "#555"},
        )
    chart.update_layout(
        template="plotly_white",
        height=460,
        margin={"l": 50, "r": 20, "t": 30, "b": 40},
        yaxis={"tickformat": ".0%", "title": f"{measure}, all answers"},
        xaxis={"title": "week", "dtick": 2},
        legend={"orientation": "h", "y": 1.12},
        hovermode="x unified",
    )
    return chart


def releases(facts: Facts, start: int) -> list[Release]:
    """Every trained version, oldest first."""
    found = []
    for candidate in sorted(facts.candidates, key=lambda c: c["version"]):
        version = candidate["version"]
        request = facts.request(candidate["retrain_id"]) or {"words": "", "reason": ""}
        verdict = facts.verdict(version) or {"result": "none", "words": "no verdict", "axes": []}
        axes = sorted(verdict["axes"], key=lambda axis: (axis["passed"], axis["layer"] != "task"))
        live = next((r for r in facts.rollouts if r["champion"] == version), None)
        found.append(
            Release(
                version,
                week_of(candidate["ms"], start),
                request["words"] or request["reason"],
                candidate["drill"],
                candidate["train_rows"],
                verdict["result"],
                verdict["words"],
                axes[:MAX_AXES],
                steps(facts, version, start),
                week_of(live["ms"], start) if live else None,
            )
        )
    return found


def steps(facts: Facts, version: int, start: int) -> list[str]:
    """The promoter's decisions about a version, in words."""
    return [
        f"week {week_of(entry['ms'], start):.1f}: {entry['words']}"
        for entry in facts.audit
        if entry["service"] == "promoter" and entry["version"] == version
    ]


def alert_line(alert: dict[str, Any], start: int) -> dict[str, Any]:
    """A drift alert for the page's table."""
    return alert | {"week": week_of(alert["ms"], start)}


def week_of(ms: int, start: int) -> float:
    """Played week of a moment; 1.0 is the first morning."""
    return 1 + (ms - start) / (7 * DAY_MS)
