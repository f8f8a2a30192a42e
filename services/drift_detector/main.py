"""drift-detector: notices when the world has moved away from a model, and asks for a new one.
Wiring only."""

from __future__ import annotations

from driftgate import config, health, model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.runtime import stop_on_signals
from driftgate.runtime.faust_loop import FaustRuntime
from driftgate.runtime.faust_reader import Reader, Reads
from driftgate.topology import DRIFT, READER
from services.drift_detector.checkpoint import Checkpoint
from services.drift_detector.handlers import DriftDetector
from services.drift_detector.reading import batches, nothing


def main() -> None:
    settings = config.load()
    log, state = health.log_for(DRIFT), health.Health(DRIFT)
    health.serve(state, settings.http_port)
    bus, artifacts = KafkaBus(settings.kafka), Artifacts(settings.artifacts)
    folder = settings.state_dir / DRIFT
    detector = DriftDetector(
        Checkpoint(folder / "checkpoint.sqlite", bus),
        lambda uri: model_repo.fetch(uri, artifacts, folder / "repos").config,
    )
    reads = Reads(READER, detector.relayed, batches, nothing)
    FaustRuntime(
        service=detector.service(),
        bus=bus,
        codec=Codec.load(settings.schemas, settings.registry),
        replica=settings.replica,
        log=log,
        health=state,
        stopping=stop_on_signals(),
        beside=lambda runtime: Reader(runtime, reads),
    ).run()


if __name__ == "__main__":
    main()
