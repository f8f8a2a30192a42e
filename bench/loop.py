"""The whole loop on a world: accuracy of the loop against the one-off and the gate line, and the
wall time and memory that it takes. Arguments are those of `driftgate demo`, such as --data PATH;
without any it plays the shipped world, where the loop must end 10 points above the one-off. With
--paced nothing waits for anything, so that a training takes days of the world's time."""

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
from services.simulator.lengths import Calendar
from services.simulator.paced import PACE
from services.simulator.profiles import SHIPPED

GIB = 2**30


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--paced", action="store_true")
    given = parser.parse_args(args)
    state = Path(".driftgate/bench").resolve()
    peak = Memory(lambda: held(state), every=2.0)
    begin = time.monotonic()
    with peak:
        played = demo.run(
            given.data,
            state,
            Path(".driftgate/bench-report.html"),
            Calendar(seed=given.seed),
            SHIPPED,
            Console(),
            pace=PACE if given.paced else None,
        )
    seconds = time.monotonic() - begin
    result = played.result
    shipped = given.data is None
    drift = sum(r["reason"] == "drift" for r in played.facts.requests)
    launch, last = result.weeks[0], result.weeks[-1]
    gain = result.advantage or 0.0
    least = 0.10 if shipped else 0.0
    return [
        wall_time(seconds, given.paced) if shipped else Figure("wall time", f"{seconds:.0f} s"),
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
            f"{gain:+.1%}",
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
        *(Figure("how it went", note) for note in played.notes),
    ]


def wall_time(seconds: float, paced: bool) -> Figure:
    most = 2700 if paced else 480
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
