"""What the runtime costs: inferences a second through a handler that does nothing, over
kafka-python and over faust. Beside each, in the same run, the same client polling, decoding and
committing without the runtime. The medians of several rounds, in which the four take turns."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

from bench.figure import Figure
from bench.parts.empty_loop import SCHEMAS
from deploy.local.plan import free_ports
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable
from driftgate.events import Inference
from driftgate.machine_clock import machine_ms

SHARE = 0.7
CLIENTS = ("kafka-python", "faust")
LONGEST_SECONDS = 600
TRIES = 10  # of ten seconds each


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(args)
    rates: dict[str, list[float]] = {}
    with kafka() as servers:
        send(servers, given.events)
        for _ in range(given.rounds):
            for client in CLIENTS:
                for kind in (client, f"runtime, {client}"):
                    rates.setdefault(kind, []).append(rate(kind, servers, given.events))
    found = {kind: median(measured) for kind, measured in rates.items()}
    figures = [Figure("events", f"{given.events:,}, {given.rounds} rounds")]
    for client in CLIENTS:
        plain, ours = found[client], found[f"runtime, {client}"]
        figures += [
            Figure(f"{client} without the runtime", f"{plain:,.0f} events/s"),
            Figure(
                f"the runtime over {client}",
                f"{ours:,.0f} events/s, {ours / plain:.0%}",
                f"≥ {SHARE:.0%}",
                ours >= SHARE * plain,
            ),
        ]
    return figures


@contextmanager
def kafka() -> Iterator[str]:
    """Kafka alone, empty."""
    port, controller = free_ports(2)
    ports = ("--port", str(port), "--controller-port", str(controller))
    with TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "deploy.local.kafka", folder, *ports]
        child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(f"127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait()


def wait_for(servers: str) -> None:
    """Until Kafka answers, and has all topics."""
    bus = KafkaBus(servers)
    for _ in range(TRIES):
        with suppress(BusUnavailable):
            bus.ensure(Codec.load(SCHEMAS).topics.by_name.values())
            break
    else:
        raise BusUnavailable(f"no Kafka on {servers}")
    bus.close()


def send(servers: str, count: int) -> None:
    bus, codec = KafkaBus(servers), Codec.load(SCHEMAS)
    producer, now = bus.producer(), machine_ms()
    for number in range(count):
        event = Inference(
            request_id=f"r-{number}",
            model="bench",
            version=1,
            input="Where is my parcel? It was to come on Monday.",
            input_hash="0" * 64,
            features={"words": 9.0, "similarity": 0.8},
            slices={"language": "en"},
            output="delivery",
            confidence=0.9,
            latency_ms=12.5,
            tokens=12,
            subject=f"person-{number % 1000}",
            time=now + number,
        )
        producer.send(*codec.record(event))
        if number % 10_000 == 0:
            producer.flush()
    producer.flush()
    producer.close()
    bus.close()


def rate(kind: str, servers: str, count: int) -> float:
    """Events a second of one process with a group of its own."""
    line = [sys.executable, "-m", "bench.parts.empty_loop", kind, servers]
    done = subprocess.run(
        [*line, f"bench-{uuid4().hex[:8]}", str(count)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=LONGEST_SECONDS,
    )
    return float(done.stdout.splitlines()[-1])
