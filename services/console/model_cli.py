"""`driftgate apply`, `retrain`, `audit`: a model is put in force and trained, and what was decided
about it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deploy.local import stack
from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import events, newest
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, nearest
from driftgate.events import AuditEntry, Model, Routing
from driftgate.labelled.rows import Asked
from driftgate.model_repo import ModelRepo
from driftgate.scaffold import launch
from driftgate.scaffold.launch import LAUNCH
from services.console import reading_cli as reading
from services.console import waiting
from services.console.check_cli import launch_problems
from services.console.operators import describe
from services.console.order_status import OrderStatus, audit_command
from services.console.orders import declared, order, send
from services.console.terminal import (
    HERE,
    KAFKA,
    State,
    Status,
    actor,
    complain,
    console,
    now,
    reaching,
    reports_errors,
    say,
    settings,
)

Reason = Annotated[str, typer.Option(help="why, for the audit")]
ASKED = "asked by an operator"
CommandId = Annotated[
    str | None, typer.Option(help="sent again under the same id, it is done once", metavar="ID")
]


@reports_errors
def apply(folder: Path, state: State = HERE) -> None:
    """Puts a model repo in force."""
    put_in_force(folder, state)


@reports_errors
@reading.reads
def retrain(
    model: str,
    reason: Reason = ASKED,
    seed: Annotated[
        Path | None, typer.Option(help="labelled rows to launch with: a file or a folder")
    ] = None,
    drill: Annotated[str, typer.Option(help="rehearse a fault: shuffle-labels:SLICE")] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="show progress until there is a verdict; exit 1: refused")
    ] = False,
    deadline: Annotated[
        float, typer.Option(min=0, help="minutes after which --wait gives up waiting")
    ] = 30,
    command_id: CommandId = None,
    state: State = HERE,
    *,
    asked: Asked,
) -> None:
    """Asks for a new version now."""
    if seed is None:
        reading.refuse_without("--seed", asked)
    found = settings(state, KAFKA)
    args = {"drill": drill} if drill else {}
    if seed:
        args |= {"reason": "launch", "seed_uri": stored_seed(found, model, seed, asked)}
    command_id = order(found, model, "retrain", reason, args, command_id=command_id)
    if not wait:
        say_ordered(model, state)
        return
    say(f"retrain of {model} is ordered")
    status = OrderStatus(model, command_id, options=reaching(state))
    follow(found, status, deadline * 60, healthz(state))


@reports_errors
def audit(
    model: str,
    state: State = HERE,
    last: Annotated[int, typer.Option(min=1, help="how many decisions")] = 50,
    numbers: Annotated[bool, typer.Option(help="also inputs and result of each")] = False,
) -> None:
    """Every decision about a model, in words."""
    found = settings(state, KAFKA)
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus:
        entries = list(events(bus, codec, AuditEntry))
    mine = [entry for entry in entries if entry.model == model]
    if not mine:
        known = sorted({entry.model for entry in entries})
        hint = nearest(model, known) if known else "no model has any yet"
        raise BadConfig(f"model {model!r} has no decisions: {hint}")
    for line in describe(mine[-last:], numbers):
        say(line)


# ---------------------------------------------------------------- what the commands share


def put_in_force(folder: Path, state: Path) -> tuple[Settings, ModelRepo]:
    """Declares a model as its repo says.

    Raises:
        BadConfig: the repo cannot be used.
        BusUnavailable, ArtifactsUnavailable
    """
    model_repo.read(folder)  # what is wrong with it is said whether the system answers or not
    found = settings(state, KAFKA)
    repo, uri = model_repo.publish(folder, Artifacts(found.artifacts))
    for problem in launch_problems(repo):
        complain(f"{folder / LAUNCH}: {problem}")
    declaration = Model(
        model=repo.config.model,
        repo_hash=repo.hash,
        repo_uri=uri,
        actor=actor(),
        time=now(found),
    )
    send(found, declaration)
    say(f"{repo.config.model} is declared as {repo.hash[:12]}")
    return found, repo


def say_ordered(model: str, state: Path) -> None:
    command = f"`driftgate audit {model}{reaching(state)}`"
    say(f"retrain of {model} is ordered; {command} shows what came of it")


def stored_seed(found: Settings, model: str, seed: Path, asked: Asked) -> str:
    """Puts labelled rows where the trainer finds them; returns their URI.

    Raises:
        BadConfig: see `seed_of`; or no such model is declared.
    """
    from services.console.seed import seed_of

    artifacts = Artifacts(found.artifacts)
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus:
        uri = declared(bus, codec, model).repo_uri
        first = model not in newest(bus, codec, Routing)
    repo = model_repo.fetch(uri, artifacts, found.state_dir / "repos")
    rows = seed_of(seed, asked, repo, now(found), first)
    for line in rows.findings:
        say(line)
    return launch.put(artifacts, rows.rows, rows.reading)


def healthz(state: Path) -> Mapping[str, str]:
    """Where the services of the local stack say what they do; none where it runs elsewhere."""
    config = stack.running(state)
    return {} if config is None else config.healthz


def follow(
    found: Settings, status: OrderStatus, deadline_s: float, urls: Mapping[str, str]
) -> None:
    """Waits for a version that was ordered.

    Raises:
        typer.Exit: with status 1, it was refused.
        NotInTime, BusUnavailable
    """
    status = awaited(found, status, deadline_s, urls)
    if status.passed:
        say(status.summary)
        return
    complain(f"no new version: {status.summary}")
    raise typer.Exit(Status.NO)


def awaited(
    found: Settings, status: OrderStatus, deadline_s: float, urls: Mapping[str, str]
) -> OrderStatus:
    """What came of an order; prints the decisions about it as they are taken.

    Raises:
        NotInTime, BusUnavailable
    """
    codec = Codec.load(found.schemas, found.registry)
    doing = partial(waiting.activities, urls, status.model)
    try:
        with closing(KafkaBus(found.kafka)) as bus:
            return waiting.wait(bus, codec, status, deadline_s, doing, console)
    except KeyboardInterrupt:
        complain(f"the order stands: {audit_command(status)} shows how it goes on")
        raise
