"""`python -m services.ingest_logger.main`: wiring only."""

from __future__ import annotations

import sys

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_confluent import bus_of
from driftgate.codec import Codec
from driftgate.errors import BadConfig, DriftgateError
from driftgate.health import Health
from driftgate.runtime import stop_on_signals
from driftgate.store import Store, migrate
from driftgate.topology import INGEST
from services.ingest_logger import memory
from services.ingest_logger.ingest import Ingest
from services.ingest_logger.retry import retry_of


def main() -> None:
    memory.keep_for_reuse()
    settings = config.load()
    if not settings.subject_key.get_secret_value():
        raise BadConfig(
            "DRIFTGATE_SUBJECT_KEY is empty: set it to a long secret, and keep it; with another "
            "one a person's older rows are not found again"
        )
    log, state = health.log_for(INGEST), Health(INGEST)
    health.serve(state, settings.http_port)
    stopping = stop_on_signals()
    store = retry_of(log)(lambda: Store.connect(settings.store, settings.database))
    migrate(store, settings.schemas / "store")
    try:
        with Ingest(
            settings=settings,
            bus=bus_of(settings),
            codec=Codec.load(settings.schemas, settings.registry),
            store=store,
            artifacts=Artifacts(settings.artifacts),
            log=log,
            health=state,
            stopping=stopping,
        ) as ingest:
            ingest.run()
    except DriftgateError as error:
        log.exception("stopped", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
