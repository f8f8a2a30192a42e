"""Kafka is killed and stays away while apps ask: every request is answered, and when Kafka is back
every answer is on its topic once. The engine answers at once (`bench/parts/stub_router.py`): what
is measured is the log. A caller does not try again."""

from __future__ import annotations

import argparse
import time

import numpy as np

from bench.figure import Figure
from bench.parts.bed import infrastructure
from bench.parts.load import Load
from bench.parts.routers import STUB, RouterBed, wait
from deploy.local import stack as local
from deploy.local.stack import supervisor_of

BEFORE_SECONDS = AFTER_SECONDS = 10.0
CALLERS = 8


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120, help="that Kafka is away")
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    given = parser.parse_args(args)
    with infrastructure("router-outage") as stack:
        bed = RouterBed(stack, stack.state_dir / "bed", STUB)
        with bed.running():
            bed.route(heard=1)
            bed.wait_until_served()
            supervisor = supervisor_of(stack)
            with Load(bed.address, bed.model, given.rate, CALLERS) as load:
                time.sleep(BEFORE_SECONDS)
                local.kill(stack.state_dir, "kafka")
                local.stop(supervisor, ["kafka"])
                time.sleep(given.seconds)
                local.start(stack, supervisor, lambda _: None)
                back = time.monotonic()
                time.sleep(AFTER_SECONDS)
            took = {call.request_id: call.over - call.begun for call in load.answered}
            wait("not all is on the topic", lambda: took.keys() <= bed.logged().keys(), 300)
            caught_up = time.monotonic() - back
            found = bed.logged()
        bed.close()
    doubled = sum(count > 1 for count in found.values())
    late = sum(call.begun - call.due > 1 for call in load.calls)
    lost = len(took.keys() - found.keys())
    p50, p99 = np.percentile(list(took.values()), [50, 99]) * 1000
    return [
        Figure("answers", f"{len(took):,}, {given.rate:g}/s, Kafka away {given.seconds:g} s"),
        Figure("failed", str(len(load.failed)), "0", not load.failed),
        Figure("sent more than a second late", str(late), "0", late == 0),
        Figure("events lost", str(lost), "0", lost == 0),
        Figure("events doubled", str(doubled), "0", doubled == 0),
        Figure("`Predict`, p50, p99", f"{p50:.1f}, {p99:.1f} ms"),
        Figure("all is on the topic, after Kafka is back", f"≤ {caught_up:.0f} s"),
    ]
