"""The command line on an installed tree: time from the call of `driftgate` to its end, Python's
start included. Bytecode is compiled, as it is after the first call."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

from bench.figure import Figure

REPEATS = 20
DRIFTGATE = Path(sys.executable).parent / "driftgate"
COMPILING = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
CASES = (
    (("--help",), 300),
    (("check", "examples/support-triage"), 800),
)


def run(_: list[str]) -> list[Figure]:
    return [figure(words, goal_ms) for words, goal_ms in CASES]


def figure(words: tuple[str, ...], goal_ms: int) -> Figure:
    """Medians, since a call that is disturbed by others says nothing; the processor's time tells
    how much of the rest was waiting for them."""
    once(words)  # compiles bytecode, warms the file cache
    before = processor_ms()
    times = [once(words) for _ in range(REPEATS)]
    busy = (processor_ms() - before) / REPEATS
    middle, high = median(times), quantiles(times, n=10)[-1]
    value = f"{middle:.0f} ms, p90 {high:.0f} ms, of {REPEATS}; processor {busy:.0f} ms"
    return Figure(" ".join(("driftgate", *words)), value, f"≤ {goal_ms} ms", middle <= goal_ms)


def once(words: tuple[str, ...]) -> float:
    """Milliseconds of one call."""
    begin = time.perf_counter()
    subprocess.run([DRIFTGATE, *words], stdout=subprocess.DEVNULL, env=COMPILING, check=True)
    return (time.perf_counter() - begin) * 1000


def processor_ms() -> float:
    """What all calls so far cost the processor."""
    spent = os.times()
    return (spent.children_user + spent.children_system) * 1000
