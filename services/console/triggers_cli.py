"""`driftgate triggers`: what asks for a new version of a model, and what would be next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer

from driftgate.bus import Bus
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import events
from driftgate.codec import Codec, canonical
from driftgate.drift import supply, triggers
from driftgate.drift.explanation import Explanation, explain
from driftgate.drift.triggers import OpenIncident, RetrainHistory, RoutingContext
from driftgate.events import (
    DAY_MS,
    Candidate,
    DriftAlert,
    RetrainRequest,
    Routing,
    Verdict,
)
from driftgate.model_repo import ModelYaml
from driftgate.store import Store
from services.console import new_pairs, passed_incidents
from services.console.declarations import model_yaml
from services.console.new_pairs import live_version
from services.console.operators import when
from services.console.terminal import (
    HERE,
    KAFKA,
    STORE,
    State,
    now,
    reports_errors,
    say,
    settings,
)

app = typer.Typer(
    help="What asks for a new version of a model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# An app that serves by itself: the version that gave most answers of so long is watched.
RECENT_MS = 7 * DAY_MS


@app.command(name="explain")
@reports_errors
def explain_(
    model: str,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")] = False,
    state: State = HERE,
) -> None:
    """What each trigger waits for, how much is missing, and what would ask next."""
    found = settings(state, KAFKA, STORE)
    config, time = model_yaml(found, model), now(found)
    with closing(KafkaBus(found.kafka)) as bus:
        codec = Codec.load(found.schemas, found.registry)
        history, incidents = read(bus, codec, config, time)
    champion = history.under.champion
    with closing(Store.connect(found.store, found.database)) as store:
        version = champion.version if champion else live_version(store, model, time - RECENT_MS)
        learned = supply.learned(history.verdict_on(version))
        new = new_pairs.read(store, model, config, learned, history.last, time)
        passed = passed_incidents.read(store, model)
    retrain = history.state(config, version, incidents, new, passed, time)
    explained = explain(retrain, config.triggers, time)
    last = max(history.requests, key=lambda one: one.time, default=None)
    if as_json:
        asked = None if last is None else {"reason": last.reason, "time": last.time}
        about = {"model": model, "time": time, "version": version, "last": asked}
        say(canonical(about | asdict(explained)))
        return
    for line in lines(model, version, last, explained, time):
        say(line)


def read(
    bus: Bus, codec: Codec, config: ModelYaml, now: int
) -> tuple[RetrainHistory, tuple[OpenIncident, ...]]:
    """What the topics say of a model, and its critical incidents that are open.

    Raises:
        BusUnavailable
    """

    def of(kind: type[Any]) -> list[Any]:
        return [event for event in events(bus, codec, kind) if event.model == config.model]

    under = RoutingContext()
    for routing in of(Routing):
        under = triggers.routing_context(routing, under)
    verdicts = list({verdict.version: verdict for verdict in of(Verdict)}.values())
    history = RetrainHistory(
        triggers.in_earnest(of(RetrainRequest), config.model, now),
        {one.retrain_id: one.version if one.result == "pass" else None for one in verdicts},
        verdicts,
        of(Candidate),
        under,
    )
    return history, triggers.open_incidents(of(DriftAlert), config, now)


def lines(
    model: str,
    version: int | None,
    last: RetrainRequest | None,
    explained: Explanation,
    time: int,
) -> Iterator[str]:
    """For people."""
    watched = "no version answers yet" if version is None else f"version {version} is watched"
    asked = f"{last.reason}, {when(last.time)} UTC" if last else "none"
    yield f"{model} at {when(time)} UTC: {watched}; last request: {asked}"
    for one in explained.triggers:
        yield f"  {one.name:<12}{'on   ' + one.waits_for if one.on else 'off'}"
    if explained.budget:
        yield f"  {'budget':<17}{explained.budget} in this month"
    for season in explained.seasons:
        yield f"  {'season':<17}from {when(season.begin)}: {season.summary}"
    for hold in explained.holds:
        yield f"  {'waits':<17}{hold.summary}"
    following = explained.next
    yield f"  {'next':<17}" + (
        following.summary if following else "nothing that can be told: no trigger is on its way"
    )
