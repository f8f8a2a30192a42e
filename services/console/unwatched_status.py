"""What is declared of models and watched by nothing, as `driftgate status` tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from driftgate import model_repo, unwatched
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import events, newest
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.drift.incident_alerts import SILENCE
from driftgate.errors import ArtifactsUnavailable, BadConfig, Corrupt
from driftgate.events import DriftAlert, Model, Routing, Verdict
from driftgate.model_repo import ModelYaml
from driftgate.routing import pinned_champion


def read(found: Settings) -> list[str]:
    """A line for each thing that is not watched, with what to do about it.

    Raises:
        BusUnavailable
    """
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus:
        models = newest(bus, codec, Model)
        routings = newest(bus, codec, Routing)
        verdicts = {(one.model, one.version): one for one in events(bus, codec, Verdict)}
        lines = list(silent(events(bus, codec, DriftAlert)))
    artifacts = Artifacts(found.artifacts)
    for name, event in sorted(models.items()):
        champion = pinned_champion(routings[name]) if name in routings else None
        verdict = champion and verdicts.get((name, champion.version))
        if not verdict:
            continue
        try:
            folder = artifacts.get_folder(event.repo_uri, found.state_dir / "repos")
            lines += unmeasured(model_repo.declared(folder).config, verdict)
        except (BadConfig, Corrupt, ArtifactsUnavailable) as error:
            lines.append(f"{name}: nobody can say what is not watched: {error}")
    return lines


def silent(alerts: Iterable[DriftAlert]) -> Iterator[str]:
    """What apps send no more, or never did, of the steps that the drift-detector told."""
    steps = {one.incident_id: one for one in alerts if one.detector == SILENCE}
    for one in sorted(steps.values(), key=lambda one: (one.model, one.time)):
        if one.transition != "close":
            yield f"{one.model}: {one.summary}: {one.advice}"


def unmeasured(config: ModelYaml, verdict: Verdict) -> Iterator[str]:
    """Monitors that have no stream of the champion, since nothing measured a reference."""
    for lack in unwatched.unmeasured(config, verdict.reference):
        yield (
            f"{verdict.model}@{verdict.version}: not watched: {lack}: add held-out cases to evals/ "
            "that have it, or take it out of model.yaml"
        )
