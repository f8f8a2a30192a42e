"""The whole loop on a world: accuracy of the loop against the one-off and the gate line, and the
wall time and memory that it takes. Arguments are those of `driftgate demo`, such as --data PATH;
without any it plays the shipped world, where the loop must end 10 points above the one-off."""

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
from services.simulator.people import Habits

GIB = 2**30


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=7)
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
            Habits(),
            Console(),
        )
    seconds = time.monotonic() - begin
    result = played.result
    shipped = given.data is None
    drift = sum(r["reason"] == "drift" for r in played.facts.requests)
    launch, last = result.weeks[0], result.weeks[-1]
    gain = result.advantage or 0.0
    least = 0.10 if shipped else 0.0
    return [
        wall_time(seconds) if shipped else Figure("wall time", f"{seconds:.0f} s"),
        Figure("answers", f"{sum(w.answers for w in result.weeks):,}"),
        Figure("loop, first → last week", f"{launch.loop:.1%} → {last.loop:.1%}"),
        Figure("one-off, first → last week", f"{launch.one_off:.1%} → {last.one_off:.1%}"),
        Figure("gate line", f"{result.gate:.0%}"),
        Figure(
            "weeks below gate × share of known labels, after the first refresh",
            str(len(result.below)),
            "0",
            not result.below,
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
    ]


def wall_time(seconds: float) -> Figure:
    return Figure("wall time without installation", f"{seconds:.0f} s", "≤ 480 s", seconds <= 480)


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
