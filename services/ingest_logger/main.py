"""`python -m services.ingest_logger.main`: wiring only."""

from __future__ import annotations

import sys

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_confluent import bus_of
from driftgate.clock import clock_of
from driftgate.codec import Codec
from driftgate.errors import BadConfig, DriftgateError
from driftgate.health import Health
from driftgate.runner import retrying, stop_on_signals
from driftgate.store import Store, migrate
from services.ingest_logger import memory
from services.ingest_logger.ingest import SERVICE, Ingest


def main() -> None:
    memory.keep_for_reuse()
    settings = config.load()
    if not settings.subject_key.get_secret_value():
        raise BadConfig(
            "DRIFTGATE_SUBJECT_KEY is empty: set it to a long secret, and keep it; with another "
            "one a person's older rows are not found again"
        )
    log = health.log_for(SERVICE)
    state = Health(SERVICE)
    health.serve(state, settings.http_port)
    stopping = stop_on_signals()
    store = retrying(log)(lambda: Store.connect(settings.store, settings.database))
    migrate(store, settings.schemas / "store")
    service = Ingest(
        settings=settings,
        bus=bus_of(settings),
        codec=Codec.load(settings.schemas, settings.registry),
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
