"""The loop beside a linear head: logistic regression (scikit-learn) on embeddings of the same
base, frozen, fitted anew on the first morning of each week on the launch data and the very feedback
that the loop got. The head holds nothing out and is in force at once; the loop's versions pass gate
and rollout. Of all rows and those of 56 days, and of three strengths of the penalty, the head has
what was best over the whole world. Without arguments the shipped world is played, whose own goals
stand here too; --data PATH plays any labelled file, --goal says by how many points the loop must
be above the head, and --recipe auto lets the loop choose a head too, at each training. The picture
is .driftgate/bench-loop-peers.html."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from statistics import fmean

from rich.console import Console

from bench.figure import Figure
from bench.parts.weekly_head import Asked, Said, WeeklyHead, strongest
from driftgate import bases, model_repo
from driftgate.classifier.serving import Classifier
from services.simulator import demo
from services.simulator.demo import Plan
from services.simulator.lengths import Calendar
from services.simulator.play import request_id
from services.simulator.profiles import mix_of
from services.simulator.report import figure, releases
from services.simulator.scoring import Week
from services.simulator.session import Played

LEAST_WEEK, LEAST_MEAN = 0.80, 0.87
HEAD = "#3567a8"


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--profile", default="labels")
    parser.add_argument("--goal", type=float, default=1.0, help="points above the head")
    parser.add_argument("--recipe", help="`method.recipe` in place of that of the model repo")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(args)
    state, mix, console = Path(".driftgate/bench").resolve(), mix_of(given.profile), Console()
    calendar = Calendar(seed=given.seed)
    plan = demo.planned(given.data, state, calendar, mix, console)
    if given.recipe:
        train_by(given.recipe, plan.repo / model_repo.MODEL_YAML)
    report = Path(".driftgate/bench-report.html")
    played = demo.run_plan(plan, state, report, mix, console, given.seed)
    head = peer(plan, played)
    draw(plan, played, head, Path(".driftgate/bench-loop-peers.html"))
    return figures(played, head, given.goal, shipped=given.data is None)


def train_by(recipe: str, config: Path) -> None:
    """Changes the recipe of a model repo before its first training."""
    text, changed = re.subn(r"(?m)^(  recipe:) \w+", rf"\1 {recipe}", config.read_text())
    assert changed == 1, f"{config} names no recipe"
    config.write_text(text)


def peer(plan: Plan, played: Played) -> WeeklyHead:
    """The head, on what the loop was asked and told."""
    world, config = plan.world, model_repo.read(plan.repo).config
    texts = [row.text for row in world.launch]
    asked = {}
    for day, rows in enumerate(world.days):
        for place, row in enumerate(rows):
            if (name := request_id(config.model, day, place)) in played.truths:
                asked[name] = Asked(len(texts), row.time or 0, row.label)
                texts.append(row.text)
    said = (Said(**row) for row in played.facts.outcomes)
    base = bases.pinned(config.base.name, config.base.sha256 or "")
    return strongest(world, asked, said, Classifier(base).embed(texts))


def figures(played: Played, head: WeeklyHead, goal: float, shipped: bool) -> list[Figure]:
    weeks = played.result.weeks
    loop = [week.loop or 0.0 for week in weeks]
    mean, least = fmean(loop), min(loop)
    above = 100 * (mean - head.mean)
    frozen = [week.frozen_baseline or 0.0 for week in weeks]
    false = len(played.false_alarms)
    reasons = Counter(one["reason"] for one in played.facts.requests if not one["drill"])
    least_mean = (f"≥ {LEAST_MEAN:.0%}", mean >= LEAST_MEAN) if shipped else ("", None)
    least_week = (f"≥ {LEAST_WEEK:.0%}", least >= LEAST_WEEK) if shipped else ("", None)
    return [
        Figure("loop, mean of all weeks", f"{mean:.1%}", *least_mean),
        Figure("loop, lowest week", f"{least:.1%}", *least_week),
        Figure(f"weekly head, mean of all weeks ({head.words})", f"{head.mean:.1%}"),
        Figure("weekly head, lowest week", f"{min(head.weeks):.1%}"),
        Figure("loop above the head", f"{above:+.1f} points", f"≥ {goal:+g}", above >= goal),
        Figure(
            "the same, last four weeks", f"{100 * (fmean(loop[-4:]) - fmean(head.weeks[-4:])):+.1f}"
        ),
        Figure("one-off, mean of all weeks", f"{fmean(frozen):.1%}"),
        Figure("requests", ", ".join(f"{why} {n}" for why, n in sorted(reasons.items()))),
        Figure("false alarms among those of drift", str(false), "0", not false),
        Figure(
            "spoilt candidate stopped", str(played.drills_stopped), "True", played.drills_stopped
        ),
        *(
            Figure(f"week {week.week}: loop, head, one-off", beside(week, share))
            for week, share in zip(weeks, head.weeks, strict=True)
        ),
    ]


def beside(week: Week, head: float) -> str:
    return f"{week.loop or 0:.1%}, {head:.1%}, {week.frozen_baseline or 0:.1%}"


def draw(plan: Plan, played: Played, head: WeeklyHead, path: Path) -> None:
    """The accuracies by week, as a page: the chart of a played world, and the head."""
    found = releases(played.facts, plan.world.start)
    chart = figure(played.result, found, plan.causes)
    chart.add_scatter(
        x=[week.week for week in played.result.weeks],
        y=list(head.weeks),
        name="the weekly head",
        mode="lines+markers",
        line={"color": HEAD, "width": 3},
        hovertemplate="week %{x}: %{y:.1%}<extra>the weekly head</extra>",
    )
    chart.write_html(path)
