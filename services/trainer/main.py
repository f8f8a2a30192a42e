"""The trainer: retrain requests in, candidates out. Wiring only."""

from __future__ import annotations

from contextlib import suppress

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.errors import Retriable
from driftgate.runtime import Runtime, stop_on_signals
from driftgate.store import Store
from driftgate.topology import TRAINER
from services.trainer.ray_workers import RayWorkers
from services.trainer.service import Trainer

# A worker that Ray restarts, or a Ray that is lost and joined anew, is no sign of death.
SLOWEST_WORKER_SECONDS = 180.0


def main() -> None:
    settings = config.load()
    log, state = health.log_for(TRAINER), health.Health(TRAINER, patience=SLOWEST_WORKER_SECONDS)
    health.serve(state, settings.http_port)
    workers = RayWorkers(settings.ray, settings.threads)
    with suppress(Retriable):  # a Ray that is away is joined when a training needs it
        workers.start()
    trainer = Trainer(
        settings=settings,
        store=Store.connect(settings.store, settings.database),
        artifacts=Artifacts(settings.artifacts),
        workers=workers,
        log=log,
        health=state,
    )
    try:
        Runtime(
            service=trainer.service(),
            bus=KafkaBus(settings.kafka),
            codec=Codec.load(settings.schemas, settings.registry),
            replica=settings.replica,
            log=log,
            health=state,
            stopping=stop_on_signals(),  # after Ray, which sets handlers of its own
        ).run()
    finally:
        workers.stop()


if __name__ == "__main__":
    main()
