"""Kafka is killed and stays away while apps ask: every request is answered, and when Kafka is back
every answer is on its topic once. The engine answers at once (`bench/parts/stub_router.py`): what
is measured is the log. A caller does not try again."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Thread

import grpc
import numpy as np

from bench.figure import Figure
from bench.parts.bed import infrastructure
from bench.parts.routers import STUB, RouterBed, wait
from deploy.local import stack as local
from deploy.local.stack import supervisor_of
from driftgate.router_pb import router_pb2, router_pb2_grpc

BEFORE_SECONDS = AFTER_SECONDS = 10.0
CALLERS = 8


@dataclass
class Load:
    """Callers that ask at a rate, all of them together.

    Attributes:
        took: s of each answer, by request id.
    """

    bed: RouterBed
    rate: float
    took: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    late: int = 0
    _over: Event = field(default_factory=Event)

    def __enter__(self) -> Load:
        self._threads = [Thread(target=self._call, args=(n,)) for n in range(CALLERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, caller: int) -> None:
        with grpc.insecure_channel(self.bed.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            start = time.monotonic()
            for number in count():
                due = start + (number * CALLERS + caller) / self.rate
                if self._over.wait(max(0.0, due - time.monotonic())):
                    return
                request_id = f"{self.bed.model}-{caller}-{number}"
                asked = router_pb2.PredictRequest(
                    model=self.bed.model, text=f"Where is parcel {number}?", request_id=request_id
                )
                begun = time.monotonic()
                self.late += begun - due > 1
                try:
                    stub.Predict(asked, timeout=10)
                except grpc.RpcError as error:
                    self.failed.append(str(error))
                else:
                    self.took[request_id] = time.monotonic() - begun


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
            with Load(bed, given.rate) as load:
                time.sleep(BEFORE_SECONDS)
                local.kill(stack.state_dir, "kafka")
                local.stop(supervisor, ["kafka"])
                time.sleep(given.seconds)
                local.start(stack, supervisor, lambda _: None)
                back = time.monotonic()
                time.sleep(AFTER_SECONDS)
            wait("not all is on the topic", lambda: load.took.keys() <= bed.logged().keys(), 300)
            caught_up = time.monotonic() - back
            found = bed.logged()
        bed.close()
    doubled = sum(count > 1 for count in found.values())
    lost = len(load.took.keys() - found.keys())
    p50, p99 = np.percentile(list(load.took.values()), [50, 99]) * 1000
    return [
        Figure("answers", f"{len(load.took):,}, {given.rate:g}/s, Kafka away {given.seconds:g} s"),
        Figure("failed", str(len(load.failed)), "0", not load.failed),
        Figure("sent more than a second late", str(load.late), "0", load.late == 0),
        Figure("events lost", str(lost), "0", lost == 0),
        Figure("events doubled", str(doubled), "0", doubled == 0),
        Figure("`Predict`, p50, p99", f"{p50:.1f}, {p99:.1f} ms"),
        Figure("all is on the topic, after Kafka is back", f"≤ {caught_up:.0f} s"),
    ]
