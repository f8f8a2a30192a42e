"""The local stack on an installed tree: time until every part is ready, and memory at rest."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from bench.figure import Figure
from bench.loop import GIB, held
from deploy.local import stack


def run(_: list[str]) -> list[Figure]:
    state = Path(".driftgate/bench-stack").resolve()
    stack.down(state)
    shutil.rmtree(state, ignore_errors=True)
    config = stack.StackConfig.on_free_ports(state)
    try:
        begin = time.monotonic()
        stack.up(config)
        first = time.monotonic() - begin
        memory = held(state)
        stack.down(state)
        begin = time.monotonic()
        stack.up(config)
        again = time.monotonic() - begin
    finally:
        stack.down(state)
    return [
        Figure("ready, empty state", f"{first:.1f} s", "≤ 30 s", first <= 30),
        Figure("ready, after down and up", f"{again:.1f} s", "≤ 30 s", again <= 30),
        Figure("memory at rest", f"{memory / GIB:.1f} GiB", "≤ 6", memory <= 6 * GIB),
    ]
