"""From a new routing record to the last answer by the one before: 200 flips between two resident
versions under load. A flip begins before the record is sent, so that Kafka's own time is part of
it; it ends when the last answer of the epoch before has arrived. Each answer must state the digest
of the version that it states. The engine answers at once (`bench/parts/stub_router.py`), so that
what is measured is the change and not a batch that was begun before it; `--engine minilm` is the
built-in base."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import grpc
import numpy as np

from bench.figure import Figure
from bench.parts.bed import infrastructure
from bench.parts.routers import REAL, STUB, RouterBed
from driftgate.router_pb import router_pb2, router_pb2_grpc

GOAL_MS = 20.0
TEXT = "Where is my parcel? It should have been here last Tuesday."


@dataclass
class Load:
    """Callers that ask on and on, each so often a second.

    Attributes:
        answers: when each arrived, s of a monotonic clock, with its epoch, version and digest.
    """

    bed: RouterBed
    callers: int
    rate: float
    answers: list[tuple[float, int, int, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._call) for _ in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        pause = self.callers / self.rate
        with grpc.insecure_channel(self.bed.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            begun = time.monotonic()
            for number in count():
                if self._over.wait(max(0.0, begun + number * pause - time.monotonic())):
                    return
                asked = router_pb2.PredictRequest(model=self.bed.model, text=TEXT)
                try:
                    reply = stub.Predict(asked, timeout=30)
                except grpc.RpcError as error:
                    self.failed.append(str(error))
                    continue
                arrived = time.monotonic()
                self.answers.append((arrived, reply.epoch, reply.version, reply.digest))


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
            with Load(bed, given.callers, given.rate) as load:
                begun = []
                for flip in range(given.flips):
                    time.sleep(0.3)
                    heard = 2 - flip % 2
                    begun.append((bed.route(heard, standby=(3 - heard,)), bed.epoch))
                time.sleep(1.0)
        bed.close()
    late = stale(begun, load.answers)
    p50, p99 = np.percentile(late, [50, 99])
    wrong = sum(digest != bed.digests[version] for _, _, version, digest in load.answers)
    seen = len({epoch for _, epoch, _, _ in load.answers})
    return [
        Figure("answers", f"{len(load.answers):,}, of {seen} epochs, engine {given.engine}"),
        Figure("last stale answer after a flip, p50, max", f"{p50:.1f}, {max(late):.1f} ms"),
        Figure("p99", f"{p99:.1f} ms", f"≤ {GOAL_MS:.0f} ms", p99 <= GOAL_MS),
        Figure("failed", str(len(load.failed)), "0", not load.failed),
        Figure("by another version than they state", str(wrong), "0", wrong == 0),
    ]


def stale(
    flips: Sequence[tuple[float, int]], answers: Sequence[tuple[float, int, int, str]]
) -> list[float]:
    """For each flip, how long after its begin an answer of an older epoch came last, ms; 0 where
    none came."""
    return [
        1000 * max([0.0, *(at - begun for at, of, _, _ in answers if of < epoch and at > begun)])
        for begun, epoch in flips
    ]
