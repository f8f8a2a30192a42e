"""drift-detector: notices when the world has moved away from a model, and asks for a new one."""

from __future__ import annotations

import asyncio
import os

from driftgate import config, health, model_repo
from driftgate.artifacts import Artifacts
from driftgate.audit import Audit
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import clock_of
from driftgate.codec import Codec
from driftgate.runner import retrying
from driftgate.topology import DRIFT, READS
from services.drift_detector import checkpoint
from services.drift_detector.detector import Detector
from services.drift_detector.worker import Worker, rewind, run


def main() -> None:
    settings = config.load()
    log = health.log_for(DRIFT)
    state = health.Health(DRIFT)
    health.serve(state, settings.http_port)

    bus = KafkaBus(settings.kafka)
    codec = Codec.load(settings.schemas, settings.registry)
    artifacts = Artifacts(settings.artifacts)
    folder = settings.state_dir / DRIFT
    folder.mkdir(parents=True, exist_ok=True)

    path = folder / "checkpoint.json"
    found = checkpoint.load(path, bus.ends(READS[DRIFT]))
    detector = Detector(
        found or checkpoint.Memory(),
        codec,
        Audit.resume(DRIFT, bus, codec),
        lambda uri: model_repo.fetch(uri, artifacts, folder / "repos").config,
        log,
    )
    if found is None:
        state.moved(activity="reading again what it remembered")
        retrying(log)(lambda: rewind(bus, settings.replica))
        detector.rebuild(bus)
        state.moved(activity=None)
    worker = Worker(detector, bus.producer(), path, clock_of(settings.clock), settings, state, log)
    # Threads of the Kafka clients may wait for a broker that is away: they are not waited for.
    os._exit(asyncio.run(run(settings, worker)))


if __name__ == "__main__":
    main()
