"""The promoter: verdicts and evidence in, rollouts and routing out. Wiring only."""

from __future__ import annotations

from functools import cache

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.runtime import Runtime, stop_on_signals
from driftgate.store import Store
from driftgate.topology import PROMOTER
from services.promoter.evidence import Reader
from services.promoter.repos import RepoCache
from services.promoter.service import Promoter

# A store that hangs holds up commands no longer.
STORE_TIMEOUT_SECONDS = 30


def main() -> None:
    settings = config.load()
    log, state = health.log_for(PROMOTER), health.Health(PROMOTER)
    health.serve(state, settings.http_port)
    repos = RepoCache(Artifacts(settings.artifacts), settings.state_dir / PROMOTER)
    repos.sweep()
    promoter = Promoter(
        evidence=Reader(
            cache(lambda: Store.connect(settings.store, settings.database, STORE_TIMEOUT_SECONDS))
        ),
        repos=repos,
        health=state,
    )
    Runtime(
        service=promoter.service(),
        bus=KafkaBus(settings.kafka),
        codec=Codec.load(settings.schemas, settings.registry),
        replica=settings.replica,
        log=log,
        health=state,
        stopping=stop_on_signals(),
    ).run()


if __name__ == "__main__":
    main()
