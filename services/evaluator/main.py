"""The evaluator: candidates in, verdicts out. Wiring only."""

from __future__ import annotations

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.engines import Engines
from driftgate.runtime import Runtime, stop_on_signals
from driftgate.topology import EVALUATOR
from services.evaluator.engine import WarmEngines
from services.evaluator.service import Evaluator


def main() -> None:
    settings = config.load()
    log, state = health.log_for(EVALUATOR), health.Health(EVALUATOR)
    health.serve(state, settings.http_port)
    artifacts = Artifacts(settings.artifacts)
    adapters = settings.state_dir / EVALUATOR / "adapters"
    evaluator = Evaluator(
        settings=settings,
        artifacts=artifacts,
        predictor=WarmEngines(
            artifacts,
            adapters,
            Engines(settings.threads, settings.upstream, settings.upstream_token),
        ),
        log=log,
        health=state,
    )
    Runtime(
        service=evaluator.service(),
        bus=KafkaBus(settings.kafka),
        codec=Codec.load(settings.schemas, settings.registry),
        replica=settings.replica,
        log=log,
        health=state,
        stopping=stop_on_signals(),
    ).run()


if __name__ == "__main__":
    main()
