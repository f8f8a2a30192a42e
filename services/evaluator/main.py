"""`python -m services.evaluator.main`: wiring only."""

from __future__ import annotations

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.audit import Audit
from driftgate.bus_kafka import KafkaBus
from driftgate.classifier.base import EMBEDDED
from driftgate.clock import clock_of
from driftgate.codec import Codec
from driftgate.runner import CLOCK, Runner, stop_on_signals
from driftgate.topology import EVALUATOR, READS
from services.evaluator.engine import WarmEngine
from services.evaluator.service import Evaluator

LONGEST_EXAMINATION_SECONDS = 1800.0


def main() -> None:
    settings = config.load()
    log, probe = health.log_for(EVALUATOR), health.Health(EVALUATOR)
    health.serve(probe, settings.http_port)
    bus, codec = KafkaBus(settings.kafka), Codec.load(settings.schemas, settings.registry)
    bus.ensure(codec.topics.by_name.values())
    artifacts, audit = Artifacts(settings.artifacts), Audit.resume(EVALUATOR, bus, codec)
    engine = WarmEngine(artifacts, settings.state_dir / EVALUATOR / "adapters", settings.threads)
    engine.warm(EMBEDDED)
    evaluator = Evaluator(settings, bus, codec, artifacts, engine, audit, log, probe)
    Runner(
        service=EVALUATOR,
        settings=settings,
        bus=bus,
        codec=codec,
        clock=clock_of(settings.clock),
        handle=evaluator.handle,
        topics=[topic for topic in READS[EVALUATOR] if topic != CLOCK],
        log=log,
        health=probe,
        stopping=stop_on_signals(),
        max_work_seconds=LONGEST_EXAMINATION_SECONDS,
    ).run()


if __name__ == "__main__":
    main()
