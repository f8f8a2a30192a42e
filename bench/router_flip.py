"""From a new routing record to the last answer by the one before: 200 flips between two resident
versions under load. A flip begins before the record is sent, so that Kafka's own time is part of
it; it ends when the last answer of the epoch before has arrived. Each answer must state the digest
of the version that it states. The engine answers at once (`bench/parts/stub_router.py`), so that
what is measured is the change and not a batch that was begun before it; `--engine minilm` is the
built-in base."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from bench.figure import Figure
from bench.parts.bed import infrastructure
from bench.parts.load import Call, Load
from bench.parts.routers import REAL, STUB, RouterBed

GOAL_MS = 20.0
TEXT = "Where is my parcel? It should have been here last Tuesday."


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=200, help="answers a second, all callers")
    parser.add_argument("--engine", choices=("minilm", "stub"), default="stub")
    given = parser.parse_args(args)
    with infrastructure("router-flip") as stack:
        program = STUB if given.engine == "stub" else REAL
        bed = RouterBed(stack, stack.state_dir / "bed", program)
        with bed.running():
            bed.route(heard=1, standby=(2,))
            bed.wait_until_served()
            with Load(bed.address, bed.model, given.rate, given.callers, TEXT) as load:
                begun = []
                for flip in range(given.flips):
                    time.sleep(0.3)
                    heard = 2 - flip % 2
                    begun.append((bed.route(heard, standby=(3 - heard,)), bed.epoch))
                time.sleep(1.0)
        bed.close()
    late = stale(begun, load.answered)
    p50, p99 = np.percentile(late, [50, 99])
    wrong = sum(call.digest != bed.digests[call.version] for call in load.answered)
    seen = len({call.epoch for call in load.answered})
    return [
        Figure("answers", f"{len(load.answered):,}, of {seen} epochs, engine {given.engine}"),
        Figure("last stale answer after a flip, p50, max", f"{p50:.1f}, {max(late):.1f} ms"),
        Figure("p99", f"{p99:.1f} ms", f"≤ {GOAL_MS:.0f} ms", p99 <= GOAL_MS),
        Figure("failed", str(len(load.failed)), "0", not load.failed),
        Figure("by another version than they state", str(wrong), "0", wrong == 0),
    ]


def stale(flips: Sequence[tuple[float, int]], answers: Sequence[Call]) -> list[float]:
    """For each flip, how long after its begin an answer of an older epoch came last, ms; 0 where
    none came."""
    return [
        1000 * max([0.0, *(c.over - begun for c in answers if c.epoch < epoch and c.over > begun)])
        for begun, epoch in flips
    ]
