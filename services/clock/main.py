"""clock: says what time it is, on a live or paced system. Wiring only."""

from __future__ import annotations

from driftgate import config, health
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.runtime import stop_on_signals
from driftgate.topology import CLOCK
from services.clock.keeper import Keeper


def main() -> None:
    settings = config.load()
    log, state = health.log_for(CLOCK), health.Health(CLOCK)
    health.serve(state, settings.http_port)
    bus, codec = KafkaBus(settings.kafka), Codec.load(settings.schemas, settings.registry)
    Keeper(
        bus=bus,
        codec=codec,
        replica=settings.replica,
        every_seconds=settings.tick_seconds,
        pace=settings.pace,
        log=log,
        health=state,
        stopping=stop_on_signals(),
    ).run()


if __name__ == "__main__":
    main()
