"""`python -m services.ingest_logger.main`: wiring only."""

from __future__ import annotations

import sys

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import clock_of
from driftgate.codec import Codec
from driftgate.errors import DriftgateError
from driftgate.health import Health
from driftgate.runner import retrying, stop_on_signals
from driftgate.store import Store, migrate
from services.ingest_logger.ingest import SERVICE, Ingest


def main() -> None:
    settings = config.load()
    log = health.log_for(SERVICE)
    state = Health(SERVICE)
    health.serve(state, settings.http_port)
    stopping = stop_on_signals()
    store = retrying(log)(lambda: Store.connect(settings.store, settings.database))
    migrate(store, settings.schemas / "store")
    service = Ingest(
        settings=settings,
        bus=KafkaBus(settings.kafka),
        codec=Codec.load(settings.schemas),
        store=store,
        artifacts=Artifacts(settings.artifacts),
        clock=clock_of(settings.clock),
        log=log,
        health=state,
        stopping=stopping,
    )
    try:
        service.run()
    except DriftgateError as error:
        log.exception("stopped", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
