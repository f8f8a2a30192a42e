"""The promoter: verdicts and evidence in, rollouts and routing out. Wiring only."""

from __future__ import annotations

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.audit import Audit
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import clock_of
from driftgate.codec import Codec
from driftgate.runner import Runner, stop_on_signals
from driftgate.store import Store
from driftgate.topology import PROMOTER, READS
from services.promoter.handler import Promoter


def main() -> None:
    settings = config.load()
    log, probe = health.log_for(PROMOTER), health.Health(PROMOTER)
    health.serve(probe, settings.http_port)
    bus, codec, clock = (
        KafkaBus(settings.kafka),
        Codec.load(settings.schemas, settings.registry),
        clock_of(settings.clock),
    )
    promoter = Promoter(
        bus,
        codec,
        Store.connect(settings.store, settings.database),
        Artifacts(settings.artifacts),
        settings.state_dir / PROMOTER,
        clock,
        Audit.resume(PROMOTER, bus, codec),
        probe,
    )
    topics = [topic for topic in READS[PROMOTER] if topic != "clock"]
    runner = Runner(
        PROMOTER,
        settings,
        bus,
        codec,
        clock,
        promoter.handle,
        topics,
        log,
        probe,
        stop_on_signals(),
    )
    producer = bus.producer()
    runner.send(producer, promoter.resume())
    producer.close()
    runner.run()


if __name__ == "__main__":
    main()
