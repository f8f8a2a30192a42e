"""`driftgate apply`, `retrain`, `pause`, `resume`, `promote`, `rollback`, `audit`: commands about a
model, and the decisions about it."""

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
from driftgate.events import AuditEntry, CommandKind, Model, Rollout, Routing
from driftgate.labelled.rows import Asked
from driftgate.scaffold import launch
from driftgate.scaffold.launch import LAUNCH
from services.console import reading_cli as reading
from services.console import waiting
from services.console.check_cli import launch_problems
from services.console.operators import describe, on_trial, unnamed
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
    fail,
    now,
    reaching,
    reports_errors,
    say,
    settings,
)

Reason = Annotated[str, typer.Option(help="why, for the audit")]
# The promoter answers in a second; one that starts takes a few.
ANSWER_SECONDS = 30.0
ASKED = "asked by an operator"


@reports_errors
def apply(folder: Path, state: State = HERE) -> None:
    """Puts a model repo in force."""
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
    command_id = order(found, model, "retrain", reason, args)
    if not wait:
        say_ordered(model, state)
        return
    say(f"retrain of {model} is ordered")
    status = OrderStatus(model, command_id, options=reaching(state))
    follow(found, status, deadline * 60, healthz(state))


@reports_errors
def rollback(
    model: str,
    version: Annotated[
        int | None, typer.Option(min=1, help="the one that is tried or watched; a champion by name")
    ] = None,
    reason: Reason = ASKED,
    state: State = HERE,
) -> None:
    """Takes a version back.

    Exit 1: it was not.
    """
    order_about(model, "rollback", version, reason, state)


@reports_errors
def pause(model: str, reason: Reason = ASKED, state: State = HERE) -> None:
    """Holds the rollout where it is."""
    order_now(model, "pause", reason, state)


@reports_errors
def resume(model: str, reason: Reason = ASKED, state: State = HERE) -> None:
    """Lets the rollout go on."""
    order_now(model, "resume", reason, state)


@reports_errors
def promote(
    model: str,
    version: Annotated[int | None, typer.Option(min=1, help="which one; has to be said")] = None,
    reason: Reason = ASKED,
    state: State = HERE,
) -> None:
    """Sends the challenger to full traffic at once, without waiting for evidence.

    Exit 1: it was not.
    """
    order_about(model, "promote", version, reason, state)


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


def order_about(
    model: str, kind: CommandKind, version: int | None, reason: str, state: Path
) -> None:
    """Orders something about one version: the one that is named, or for a rollback the one on
    trial.

    Raises:
        typer.Exit: with status 1, there is none, or the promoter ignored it.
        BadConfig, NotInTime, BusUnavailable
    """
    if version is None:
        record = rollout_of(settings(state, KAFKA), model)
        version = on_trial(record) if kind == "rollback" else None
        if version is None:
            command = f"driftgate {kind} {model}{reaching(state)} --version"
            raise fail(unnamed(kind, record, command), Status.NO)
    order_now(model, kind, reason, state, version)


def rollout_of(found: Settings, model: str) -> Rollout | None:
    """How far a declared model's rollout is; None before its first release.

    Raises:
        BadConfig: no such model is declared.
        BusUnavailable
    """
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus:
        declared(bus, codec, model)
        return newest(bus, codec, Rollout).get(model)


def order_now(
    model: str, kind: CommandKind, reason: str, state: Path, version: int | None = None
) -> None:
    """Orders something of the promoter, and tells what it made of it.

    Raises:
        typer.Exit: with status 1, it ignored it.
        BadConfig, NotInTime, BusUnavailable
    """
    found = settings(state, KAFKA)
    command_id = order(found, model, kind, reason, version=version)
    about = model if version is None else f"{model}@{version}"
    say(f"{kind} of {about} is ordered")
    status = OrderStatus(model, command_id, options=reaching(state))
    status = awaited(found, status, ANSWER_SECONDS, {})
    if not status.passed:
        raise fail(f"nothing was changed: {status.summary}", Status.NO)


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
