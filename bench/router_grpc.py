"""What the router adds at one caller, logging on. `Route` beside a method of grpc.aio that does
nothing; then `Predict` beside the engine alone, on the same text: the built-in MiniLM, one thread.
The two take turns, some calls each, so that what the machine does besides falls on both alike."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import grpc
import numpy as np

from bench.figure import Figure
from bench.parts.bed import infrastructure
from bench.parts.empty_method import METHOD
from bench.parts.routers import RouterBed
from driftgate.bases import MINILM, resolve
from driftgate.classifier.serving import Classifier
from driftgate.router_pb import router_pb2, router_pb2_grpc

TEXT = "Where is my parcel? It should have been here last Tuesday, and nobody answers the phone."
TURN = 25


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=200, help="of 25 calls each")
    given = parser.parse_args(args)
    with infrastructure("router-grpc") as stack:
        bed = RouterBed(stack, stack.state_dir / "bed")
        with bed.running(), empty_server() as empty, grpc.insecure_channel(bed.address) as channel:
            bed.route(heard=1)
            bed.wait_until_served()
            stub = router_pb2_grpc.RouterStub(channel)
            engine = Classifier(resolve(MINILM), device="cpu")
            engine.load("v", bed.folders[1])
            asked = router_pb2.PredictRequest(model=bed.model, text=TEXT)
            routed = router_pb2.RouteRequest(model=bed.model, subject="c-17")
            routing = {"empty": lambda: empty(b""), "route": lambda: stub.Route(routed)}
            took = in_turns(routing, given.turns)
            answering = {
                "engine": lambda: engine.predict("v", [TEXT]),
                "predict": lambda: stub.Predict(asked),
            }
            took |= in_turns(answering, given.turns)
        bed.close()
    return figures(took)


def figures(took: dict[str, np.ndarray]) -> list[Figure]:
    p50 = {name: float(np.percentile(times, 50)) * 1000 for name, times in took.items()}
    p99 = {name: float(np.percentile(times, 99)) * 1000 for name, times in took.items()}
    ratio, added = p99["route"] / p99["empty"], p50["predict"] - p50["engine"]
    return [
        Figure("calls of each", f"{len(took['route']):,}"),
        Figure("empty grpc.aio method, p50, p99", f"{p50['empty']:.2f}, {p99['empty']:.2f} ms"),
        Figure("`Route`, p50, p99", f"{p50['route']:.2f}, {p99['route']:.2f} ms"),
        Figure("`Route` p99 / empty method p99", f"{ratio:.2f}", "≤ 1.3", ratio <= 1.3),
        Figure("engine alone, p50, p99", f"{p50['engine']:.2f}, {p99['engine']:.2f} ms"),
        Figure("`Predict`, p50, p99", f"{p50['predict']:.2f}, {p99['predict']:.2f} ms"),
        Figure("`Predict` p50 − engine p50", f"{added:.2f} ms", "≤ 2 ms", added <= 2),
    ]


def in_turns(callers: Mapping[str, Callable[[], object]], turns: int) -> dict[str, np.ndarray]:
    """Seconds of each call. The first call of each turn is not counted: it pays for the change."""
    took: dict[str, list[float]] = {name: [] for name in callers}
    for turn in range(-1, turns):
        for name, call in callers.items():
            call()
            for _ in range(TURN):
                begun = time.perf_counter()
                call()
                if turn >= 0:
                    took[name].append(time.perf_counter() - begun)
    return {name: np.array(times) for name, times in took.items()}


@contextmanager
def empty_server() -> Iterator[Callable[[bytes], object]]:
    """Its method, while the context lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.parts.empty_method"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.unary_unary(METHOD)
    finally:
        process.kill()
        process.wait()
