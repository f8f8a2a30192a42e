"""The drift-detector as processes on Apache Kafka: events a second of one hot model, and the
processor time that an event costs, with one worker and with two.

All events lie on Kafka before a worker starts, with a tick a second of their own time between them.
Measured is from the moment when something of it was handled to the moment when all is: so neither
the start of a process nor the sending counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

from bench.figure import Figure
from bench.parts.empty_loop import SCHEMAS
from bench.runtime import kafka
from driftgate.artifacts import Artifacts
from driftgate.bus_confluent import ConfluentSender
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import publish
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable
from driftgate.events import AnyEvent, Model, Verdict
from driftgate.model_repo import publish as publish_repo
from driftgate.runtime.ticker import Ticker
from driftgate.signals import Reference
from driftgate.topology import lags

LONGEST_SECONDS = 900
LOOK_SECONDS = 0.05


class Hot(NamedTuple):
    """One model and its traffic: its declaration as model.yaml, what its version 1 measured, and
    the events between two ticks each."""

    declaration: str
    reference: Reference
    seconds: Sequence[Sequence[AnyEvent]]


class Measured(NamedTuple):
    """events: a second. micros: of processor time an event, all workers together, µs."""

    events: float
    micros: float


def figures(hot: Hot) -> list[Figure]:
    one, two = measured(hot, 1), measured(hot, 2)
    ratio = two.micros / one.micros
    return [
        Figure(
            "through Kafka and faust, one worker",
            f"{one.events:,.0f} events/s, {one.micros:.0f} µs an event",
            "≥ 8,000",
            one.events >= 8_000,
        ),
        Figure(
            "two workers on one hot model",
            f"{two.events:,.0f} events/s, {two.micros:.0f} µs an event",
            "≥ 8,000",
            two.events >= 8_000,
        ),
        Figure("processor time an event, two to one", f"{ratio:.2f}×", "≤ 1.1×", ratio <= 1.1),
    ]


def measured(hot: Hot, workers: int) -> Measured:
    with TemporaryDirectory() as folder, kafka() as servers, ExitStack() as running:
        bus, codec = KafkaBus(servers), Codec.load(SCHEMAS)
        artifacts = Artifacts(f"file://{folder}/artifacts")
        send(bus, codec, artifacts, Path(folder), hot)
        wait(lambda: behind(bus, codec) < sys.maxsize)
        whole = behind(bus, codec)
        processes = [
            running.enter_context(worker(servers, Path(folder), replica))
            for replica in range(workers)
        ]

        def is_behind(records: float) -> bool:
            if not all(process.is_running() for process in processes):
                raise RuntimeError("a worker has ended")
            return behind(bus, codec) > records

        wait(lambda: not is_behind(0.95 * whole))
        left, spent, began = behind(bus, codec), processor(processes), time.monotonic()
        wait(lambda: not is_behind(0))
        took = time.monotonic() - began
        done = left / whole * sum(map(len, hot.seconds))
        found = Measured(done / took, (processor(processes) - spent) / done * 1e6)
        bus.close()
        return found


def send(bus: KafkaBus, codec: Codec, artifacts: Artifacts, folder: Path, hot: Hot) -> None:
    producer = ConfluentSender(",".join(bus.servers), LONGEST_SECONDS)
    ticker = Ticker(bus, codec, "bench", 0.0)
    declared, first = declaration(artifacts, folder / "repo", hot), hot.seconds[0][0].time
    publish(producer, codec, [declared, evaluated(declared, hot.reference, first)])
    for second in hot.seconds:
        publish(producer, codec, second)
        ticker.write(second[-1].time)
    ticker.close()
    producer.close()


def declaration(artifacts: Artifacts, folder: Path, hot: Hot) -> Model:
    (folder / "evals").mkdir(parents=True)
    (folder / "model.yaml").write_text(hot.declaration)
    for name in ("regression.jsonl", "probes.yaml"):
        (folder / "evals" / name).touch()
    repo, uri = publish_repo(folder, artifacts)
    time = hot.seconds[0][0].time
    return Model(
        model=repo.config.model, repo_hash=repo.hash, repo_uri=uri, actor="bench", time=time
    )


def evaluated(declared: Model, reference: Reference, time: int) -> Verdict:
    return Verdict(
        verdict_id="bench@1",
        model=declared.model,
        version=1,
        retrain_id="bench:launch",
        adapter_digest="0" * 64,
        adapter_uri="sha256:" + "0" * 64,
        result="pass",
        axes=(),
        reference=reference,
        repo_hash=declared.repo_hash,
        report_uri="sha256:" + "0" * 64,
        words="passes",
        time=time,
    )


@contextmanager
def worker(servers: str, folder: Path, replica: int) -> Iterator[psutil.Process]:
    own = {
        "DRIFTGATE_KAFKA": servers,
        "DRIFTGATE_ARTIFACTS": f"file://{folder}/artifacts",
        "DRIFTGATE_STATE_DIR": str(folder / f"state-{replica}"),
        "DRIFTGATE_REPLICA": str(replica),
        "OMP_NUM_THREADS": "1",
    }
    line = [sys.executable, "-m", "services.drift_detector.main"]
    with (folder / f"log-{replica}").open("wb") as log:
        child = subprocess.Popen(line, env={**os.environ, **own}, stdout=log, stderr=log)
    try:
        yield psutil.Process(child.pid)
    finally:
        child.kill()
        child.wait()


def behind(bus: KafkaBus, codec: Codec) -> int:
    """Records that the detector has not handled."""
    try:
        of_group = lags(bus, codec.topics)
    except BusUnavailable:
        return sys.maxsize
    return sum(sum(of.values()) for group, of in of_group.items() if group.startswith("drift"))


def processor(processes: Sequence[psutil.Process]) -> float:
    """Seconds that they have used."""
    times = [process.cpu_times() for process in processes]
    return sum(of.user + of.system for of in times)


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LONGEST_SECONDS} s")
        time.sleep(LOOK_SECONDS)
