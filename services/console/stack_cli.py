"""`driftgate up`, `down`, `status`: the system on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from typing import Annotated, Literal

import typer
from rich.table import Table

from deploy.local import stack
from driftgate import topology
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import newest
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import NotRunning
from driftgate.events import RoutingAck
from services.console import health
from services.console.operators import when
from services.console.terminal import (
    HERE,
    KAFKA,
    State,
    Status,
    console,
    now,
    reaching,
    reports_errors,
    say,
    settings,
)

# Where time runs faster, ticks must come more often: s of the machine's clock.
PACED_TICK = "1"


@reports_errors
def up(
    state: State = HERE,
    clock: Annotated[
        Literal["live", "world"], typer.Option(help="the machine's, or that of a played world")
    ] = "live",
    pace: Annotated[
        float,
        typer.Option(min=0.001, help="how many times as fast as the machine's clock time runs"),
    ] = 1.0,
) -> None:
    """Starts Kafka, ClickHouse's engine, Ray and the services on this machine."""
    environment = {k: v for k, v in os.environ.items() if k != "DRIFTGATE_STATE_DIR"}
    environment |= {"DRIFTGATE_CLOCK": clock}
    if pace != 1:
        environment |= {"DRIFTGATE_PACE": f"{pace:g}", "DRIFTGATE_TICK_SECONDS": PACED_TICK}
    config = stack.StackConfig.default(state, environment)
    stack.up(config, say)
    say(f"`driftgate status{reaching(state)}` shows each part; README says how to connect an app")


@reports_errors
def down(state: State = HERE) -> None:
    """Stops everything; what was stored stays."""
    if stack.recorded(state.resolve()) is None:
        say(f"nothing runs in {state}")
    stack.down(state, say)


@reports_errors
def status(state: State = HERE) -> None:
    """Health of each part, how far each service has read, and the system's time."""
    config = stack.running(state)
    if config is None:
        raise NotRunning(
            f"no stack runs in {state}: start it with `driftgate up{reaching(state)}`, or name its "
            "folder by --state"
        )
    parts = stack.status(config)
    console.print(health_table(parts))
    if all(part.healthy for part in parts if part.name == "kafka"):
        # Else Kafka is in the table above, and would not answer.
        found = settings(state, KAFKA)
        console.print(lag_table(found))
        say(f"its time is {when(now(found))} UTC")
        for refusal in refusals(acknowledgements(found)):
            console.print(refusal, style="red", highlight=False, soft_wrap=True, markup=False)
    held = held_partitions(config)
    for why in held.values():
        console.print(f"held: {why}", style="red", highlight=False, soft_wrap=True, markup=False)
    if held or not all(part.healthy for part in parts):
        raise typer.Exit(Status.NO)


def health_table(parts: list[stack.PartStatus]) -> Table:
    table = Table("part", "state", "port", "up", "health")
    for part in parts:
        colour = "green" if part.healthy else "red"
        uptime = "" if part.uptime_s is None else f"{part.uptime_s:.0f} s"
        table.add_row(
            part.name,
            part.state,
            str(part.port or ""),
            uptime,
            f"[{colour}]{part.detail or part.healthy}",
        )
    return table


def lag_table(found: Settings) -> Table:
    """
    Raises:
        BusUnavailable
    """
    codec = Codec.load(found.schemas, found.registry)
    table = Table("group", "position", "lag")
    with closing(KafkaBus(found.kafka)) as bus:
        for group, behind in topology.lags(bus, codec.topics).items():
            position = sum(bus.committed(group).values())
            table.add_row(group, f"{position:,}", f"{sum(behind.values()):,}")
    return table


def acknowledgements(found: Settings) -> list[RoutingAck]:
    """What each router said last of each model.

    Raises:
        BusUnavailable
    """
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus:
        return list(newest(bus, codec, RoutingAck).values())


def refusals(acks: Iterable[RoutingAck]) -> list[str]:
    """The routers that cannot serve what they should, each with its reason. They go on with the
    epoch that they had."""
    refused = sorted(
        (ack for ack in acks if ack.status == "refused"), key=lambda ack: (ack.router, ack.model)
    )
    return [
        f"{ack.router} refuses epoch {ack.epoch} of {ack.model} "
        f"({when(ack.time)} UTC): {ack.reason}"
        for ack in refused
    ]


def held_partitions(config: stack.StackConfig) -> dict[str, str]:
    """Partitions that ingestion does not read on, and why; none if it does not answer."""
    body = health.body(config.healthz.get("ingest-logger", ""))
    return dict(body.get("blocked", {}))
