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
from services.console import health, unwatched_status
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
    """Health of each part, how far each service has read, the system's time, and what is declared
    of models and not watched."""
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
        for lack in lacks(acknowledgements(found)):
            warn(lack)
        for line in unwatched_status.read(found):
            warn(line, "yellow")
    held = held_partitions(config)
    for why in held.values():
        warn(f"held: {why}")
    for key, why in unsendable(config).items():
        warn(f"router keeps an answer that Kafka does not take: {key}: {why}")
    if held or not all(part.healthy for part in parts):
        raise typer.Exit(Status.NO)


def warn(line: str, style: str = "red") -> None:
    console.print(line, style=style, highlight=False, soft_wrap=True, markup=False)


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


def lacks(acks: Iterable[RoutingAck]) -> list[str]:
    """What routers do not have that they should, each with its reason."""
    told = map(lack, sorted(acks, key=lambda ack: (ack.router, ack.model)))
    return [line for line in told if line]


def lack(ack: RoutingAck) -> str:
    """Of a router that refuses an epoch, and goes on with the one that it had, or that serves it
    with somebody missing to go back to; else empty."""
    at = f"epoch {ack.epoch} of {ack.model} ({when(ack.time)} UTC)"
    if ack.status == "refused":
        return f"{ack.router} refuses {at}: {ack.reason}"
    return f"{ack.router} serves {at}, without {ack.reason}" if ack.reason else ""


def held_partitions(config: stack.StackConfig) -> dict[str, str]:
    """Partitions that ingestion does not read on, and why; none if it does not answer."""
    body = health.body(config.healthz.get("ingest-logger", ""))
    return dict(body.get("blocked", {}))


def unsendable(config: stack.StackConfig) -> dict[str, str]:
    """The last answers that the router could not send to Kafka and keeps in its spool, by request
    id, and why; none if it does not answer."""
    body = health.body(config.healthz.get("router", ""))
    return dict(body.get("set_aside", {}))
