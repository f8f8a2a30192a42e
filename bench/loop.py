"""The whole loop on a world: accuracy of the loop against the one-off and the gate line, and the
wall time and memory that it takes. Arguments are those of `driftgate demo`, such as --data PATH;
without any it plays the shipped world, where the loop must end 10 points above the one-off, with
--example ticket-extract the one whose model writes: 15 points of exact match above, and 99 % of
answers well formed. With --paced nothing waits for anything, so that a training takes days of the
world's time."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import psutil
from rich.console import Console

from bench.figure import Figure
from bench.parts.memory import Memory
from deploy.local import stack
from services.simulator import demo
from services.simulator.demo import edit_followed
from services.simulator.lengths import Calendar
from services.simulator.paced import PACE
from services.simulator.profiles import SHIPPED, WRITTEN
from services.simulator.scoring import LAST, Gain
from services.simulator.session import Played

GIB = 2**30
# Of a world that writes: answers in the last weeks, and the share of all that is well formed.
LEAST_ANSWERS, LEAST_FORMED = 300, 0.99


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--task", choices=["classification", "generation"])
    parser.add_argument("--example", default=demo.EXAMPLE.name)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--paced", action="store_true")
    given = parser.parse_args(args)
    state = Path(".driftgate/bench").resolve()
    folder = demo.example(given.example)
    written = given.task == "generation" if given.data else demo.answers_texts(folder)
    peak = Memory(lambda: held(state), every=2.0)
    begin = time.monotonic()
    with peak:
        played = demo.run(
            given.data,
            state,
            Path(".driftgate/bench-report.html"),
            Calendar(seed=given.seed),
            WRITTEN if written else SHIPPED,
            Console(),
            pace=PACE if given.paced else None,
            example=folder,
            written=written,
        )
    seconds = time.monotonic() - begin
    result = played.result
    shipped = given.data is None
    drift = len(played.facts.drift_requests)
    launch, last = result.weeks[0], result.weeks[-1]
    gain = result.advantage or 0.0
    least = (0.15 if written else 0.10) if shipped else 0.0
    return [
        wall_time(seconds, given.paced or written)
        if shipped
        else Figure("wall time", f"{seconds:.0f} s"),
        Figure("answers", f"{sum(w.answers for w in result.weeks):,}"),
        Figure("loop, first → last week", f"{launch.loop:.1%} → {last.loop:.1%}"),
        Figure(
            "one-off, first → last week",
            f"{launch.frozen_baseline:.1%} → {last.frozen_baseline:.1%}",
        ),
        Figure("gate line", f"{result.gate:.0%}"),
        Figure(
            "weeks below gate × share of known labels, after the first refresh",
            str(len(result.below)),
            *(("", None) if given.paced else ("0", not result.below)),
        ),
        Figure("weeks below the gate line itself", str(len(result.below_line))),
        Figure(
            "loop above the one-off, last four weeks",
            f"{gain:+.1%}{interval(played.gain)}",
            f"≥ {least:+.0%}",
            gain >= least,
        ),
        Figure("first refresh at full traffic", f"week {result.refreshed}"),
        Figure("drift-fired refreshes", str(drift)),
        Figure("false alarms among them", str(len(played.false_alarms))),
        Figure(
            "spoilt candidate stopped", str(played.drills_stopped), "True", played.drills_stopped
        ),
        Figure(
            "answers stored twice",
            str(played.facts.counts["doubled"]),
            "0",
            not played.facts.counts["doubled"],
        ),
        Figure(
            "most memory of the stack", f"{peak.most / GIB:.1f} GiB", "≤ 10", peak.most <= 10 * GIB
        ),
        *(writing(played, shipped) if written else ()),
        *(Figure("how it went", note) for note in played.notes),
    ]


def interval(gain: Gain | None) -> str:
    if gain is None:
        return ""
    return f" (on {gain.requests} requests that both answered {gain.low:+.1%} to {gain.high:+.1%})"


def writing(played: Played, shipped: bool) -> list[Figure]:
    """What is told of answers that are texts, and asked of the shipped world's."""
    weeks = played.result.weeks
    answers = sum(week.answers for week in weeks)
    last = sum(week.answers for week in weeks[-LAST:])
    formed = sum(week.well_formed * week.answers for week in weeks) / answers
    _, grade = played.measures
    return [
        Figure(
            "answers, last four weeks",
            str(last),
            *((f"≥ {LEAST_ANSWERS}", last >= LEAST_ANSWERS) if shipped else ()),
        ),
        Figure(
            "well formed",
            f"{formed:.2%}",
            *((f"≥ {LEAST_FORMED:.0%}", formed >= LEAST_FORMED) if shipped else ()),
        ),
        Figure(f"{grade} of the loop, last week", f"{weeks[-1].loop_grade or 0:.1%}"),
        Figure(f"{grade} of the one-off, last week", f"{weeks[-1].frozen_grade or 0:.1%}"),
        Figure("one edit followed", edit_followed(played.followed) if played.followed else "none"),
    ]


def wall_time(seconds: float, long: bool) -> Figure:
    most = 2700 if long else 480
    name = "wall time without installation"
    return Figure(name, f"{seconds:.0f} s", f"≤ {most} s", seconds <= most)


def held(state: Path) -> int:
    """Memory of a stack's processes now, bytes; shared pages are counted once."""
    config = stack.running(state)
    if config is None:
        return 0
    total = 0
    for process in stack.members(config):
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total
