"""The router: gRPC for apps, desired state from `routing`. Wiring only."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.engines import Engines
from driftgate.runtime import Runtime
from driftgate.topology import ROUTER
from services.router.follower import Follower
from services.router.last_good import LastGood
from services.router.lifecycle import live
from services.router.predictor import Predictor
from services.router.server import Router
from services.router.versions import Versions


def main() -> None:
    settings = config.load()
    log, state = health.log_for(ROUTER), health.Health(ROUTER)
    health.serve(state, settings.http_port)
    name = f"{ROUTER}-{settings.replica}"
    home = settings.state_dir / name
    bus = KafkaBus(settings.kafka)
    codec = Codec.load(settings.schemas, settings.registry, home / "schemas.json")
    versions = Versions(
        artifacts=Artifacts(settings.artifacts),
        cache=home / "cache",
        last_good=LastGood(home / "routing.json", log),
        engine_of=Engines(settings.threads).of,
        compute=ThreadPoolExecutor(1, "compute"),
    )
    follower = Follower(name, versions, log, state)
    runtime = Runtime(
        service=follower.service(),
        bus=bus,
        codec=codec,
        replica=settings.replica,
        log=log,
        health=state,
    )
    predictor = Predictor(versions, bus, codec, log)
    router = Router(versions, predictor, runtime.clock)
    asyncio.run(live(follower, runtime, predictor, router, settings.router, log))


if __name__ == "__main__":
    main()
