"""The router: gRPC for apps, desired state from `routing`. Wiring only."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import clock_of
from driftgate.codec import Codec
from driftgate.topology import ROUTER
from services.router.engines import engine_of
from services.router.follower import Follower
from services.router.lifecycle import live
from services.router.predictor import Predictor
from services.router.server import Router
from services.router.versions import Versions


async def main() -> None:
    settings = config.load()
    log, probe = health.log_for(ROUTER), health.Health(ROUTER)
    health.serve(probe, settings.http_port)
    bus, codec = KafkaBus(settings.kafka), Codec.load(settings.schemas, settings.registry)
    clock = clock_of(settings.clock)
    name = f"{ROUTER}-{settings.replica}"
    home = settings.state_dir / name
    versions = Versions(
        Artifacts(settings.artifacts),
        home / "cache",
        home / "routing.json",
        partial(engine_of, threads=settings.threads),
        ThreadPoolExecutor(1, "compute"),
    )
    predictor = Predictor(versions, bus, codec, log)
    follower = Follower(name, bus, codec, clock, versions, log, probe)
    router = Router(versions, predictor, clock)
    await live(follower, predictor, router, settings.router, log)


if __name__ == "__main__":
    asyncio.run(main())
