"""`python -m services.trainer.main`: wiring only."""

from __future__ import annotations

from driftgate.artifacts import Artifacts
from driftgate.audit import Audit
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import clock_of
from driftgate.codec import Codec
from driftgate.config import load
from driftgate.health import Health, log_for, serve
from driftgate.runner import Runner, retrying, stop_on_signals
from driftgate.store import Store
from services.trainer.ray_workers import RayWorkers
from services.trainer.service import REQUESTS, SERVICE, Trainer

LONGEST_TRAINING_SECONDS = 3600.0
SLOWEST_WORKER_SECONDS = 180.0
"""A worker that Ray restarts, or a Ray that is lost and joined anew, is no sign of death."""


def main() -> None:
    settings = load()
    log, health = log_for(SERVICE), Health(SERVICE, patience=SLOWEST_WORKER_SECONDS)
    serve(health, settings.http_port)
    workers = RayWorkers(settings.ray, settings.threads)
    retrying(log)(workers.start)
    stopping = stop_on_signals()  # after Ray, which sets handlers of its own
    codec, bus = Codec.load(settings.schemas, settings.registry), KafkaBus(settings.kafka)
    bus.ensure(codec.topics.by_name.values())
    store = Store.connect(settings.store, settings.database)
    artifacts, audit = Artifacts(settings.artifacts), Audit.resume(SERVICE, bus, codec)
    trainer = Trainer(settings, bus, codec, store, artifacts, workers, audit, log, health)
    runner = Runner(
        service=SERVICE,
        settings=settings,
        bus=bus,
        codec=codec,
        clock=clock_of(settings.clock),
        handle=trainer.handle,
        topics=[REQUESTS],
        log=log,
        health=health,
        stopping=stopping,
        max_work_seconds=LONGEST_TRAINING_SECONDS,
    )
    try:
        runner.run()
    finally:
        workers.stop()


if __name__ == "__main__":
    main()
