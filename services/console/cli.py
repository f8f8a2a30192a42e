"""`driftgate`, the operators' command. What plays worlds is imported by the commands that do: it
brings torch along, which takes seconds that the others do not have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import requests
import typer
from rich.table import Table

from deploy.local import stack
from driftgate import model_repo, scaffold, topology
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events import Emit
from driftgate.runner import newest, publish, readable
from services.console import dlq_cli, schemas_cli, subject_cli, traffic_cli
from services.console.operators import command_event, describe
from services.console.terminal import HERE, State, actor, console, now, settings, told
from services.simulator.people import Habits
from services.simulator.rows import read_rows, with_length_slice
from services.simulator.schedule import Calendar, build

app = typer.Typer(
    help="Keeps fine-tuned models alive.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(dlq_cli.app, name="dlq")
app.add_typer(schemas_cli.app, name="schema")

USUAL = Habits()
Share = Annotated[float, typer.Option(help="share of answers that get feedback")]
Delay = Annotated[float, typer.Option(help="mean delay of feedback, hours")]
Longest = Annotated[float, typer.Option(help="days after which nobody gives feedback")]
Wrong = Annotated[float, typer.Option(help="share of feedback that names a wrong label")]
Praise = Annotated[float, typer.Option(help="share of feedback on right answers that is a rating")]


@app.command()
@told
def up(
    state: State = HERE, clock: Annotated[str, typer.Option(help="live or world")] = "live"
) -> None:
    """Starts Kafka, ClickHouse's engine, Ray and the six services on this machine."""
    environment = {k: v for k, v in os.environ.items() if k != "DRIFTGATE_STATE_DIR"}
    config = stack.StackConfig.default(state, environment | {"DRIFTGATE_CLOCK": clock})
    stack.up(config, lambda step: console.print(step, highlight=False))
    console.print("`driftgate status` shows each part; README says how to connect an app")


@app.command()
@told
def down(state: State = HERE) -> None:
    """Stops everything; what was stored stays."""
    stack.down(state)


@app.command()
@told
def status(state: State = HERE) -> None:
    """Health of each part, and how far each service has read."""
    config = stack.running(state)
    if config is None:
        raise BadConfig(f"no stack runs in {state}: start one with `make up`")
    table = Table("part", "state", "port", "up", "health")
    parts = stack.status(config)
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
    console.print(table)
    found = settings(state)
    bus, codec = KafkaBus(found.kafka), Codec.load(found.schemas, found.registry)
    table = Table("group", "position", "lag")
    for group, behind in topology.lags(bus, codec.topics).items():
        position = sum(bus.committed(group).values())
        table.add_row(group, f"{position:,}", f"{sum(behind.values()):,}")
    console.print(table)
    held = held_partitions(config)
    for why in held.values():
        console.print(f"held: {why}", style="red", highlight=False, soft_wrap=True, markup=False)
    if held or not all(part.healthy for part in parts):
        raise typer.Exit(1)


@app.command()
@told
def init(
    folder: Path,
    data: Annotated[
        Path | None, typer.Option(help="labelled text, 500 rows or more, to declare a model for")
    ] = None,
) -> None:
    """Writes a model repo: model.yaml and evals."""
    from services.simulator import declare

    if data is None:
        declaration = scaffold.Declaration(
            declare.slug(folder.resolve().name), ["delivery", "refund"]
        )
        scaffold.write(folder, declaration, scaffold.STARTER)
    else:
        world = build(data.stem, with_length_slice(read_rows(data)), Calendar())
        declare.model_repo_for(world, folder, folder.resolve().name)
    console.print(f"{folder} written. Next: edit model.yaml, then `driftgate apply {folder}`")


@app.command()
@told
def check(folder: Path) -> None:
    """Reads a model repo and says what is wrong with it."""
    repo = model_repo.read(folder)
    console.print(f"{repo.config.model}: {len(repo.config.task.labels)} labels, all well")


@app.command()
@told
def apply(folder: Path, state: State = HERE) -> None:
    """Puts a model repo in force."""
    found = settings(state)
    repo, uri = model_repo.publish(folder, Artifacts(found.artifacts))
    event = {
        "model": repo.config.model,
        "repo_hash": repo.hash,
        "repo_uri": uri,
        "actor": actor(),
        "time": now(found),
    }
    send(found, Emit("models", event))
    console.print(f"{repo.config.model} is declared as {repo.hash[:12]}")


@app.command()
@told
def retrain(
    model: str,
    reason: str = "asked by an operator",
    seed: Annotated[
        Path | None, typer.Option(help="JSONL of labelled examples to learn from")
    ] = None,
    drill: Annotated[str, typer.Option(help="rehearse a fault: shuffle-labels:SLICE")] = "",
    state: State = HERE,
) -> None:
    """Asks for a new version now."""
    found = settings(state)
    args = {"drill": drill} if drill else {}
    if seed:
        args |= {"reason": "launch", "seed_uri": Artifacts(found.artifacts).put(seed.read_bytes())}
    order(found, model, "retrain", reason, args)


@app.command()
@told
def rollback(model: str, reason: str = "asked by an operator", state: State = HERE) -> None:
    """Takes the newest version back."""
    order(settings(state), model, "rollback", reason)


@app.command()
@told
def pause(model: str, reason: str = "asked by an operator", state: State = HERE) -> None:
    """Holds the rollout where it is."""
    order(settings(state), model, "pause", reason)


@app.command()
@told
def resume(model: str, reason: str = "asked by an operator", state: State = HERE) -> None:
    """Lets the rollout go on."""
    order(settings(state), model, "resume", reason)


@app.command()
@told
def promote(model: str, reason: str = "asked by an operator", state: State = HERE) -> None:
    """Sends the challenger to full traffic at once, without waiting for evidence."""
    order(settings(state), model, "promote", reason)


@app.command()
@told
def audit(
    model: str,
    state: State = HERE,
    last: Annotated[int, typer.Option(help="how many decisions")] = 50,
    numbers: Annotated[bool, typer.Option(help="also inputs and result of each")] = False,
) -> None:
    """Every decision about a model, in words."""
    found = settings(state)
    bus, codec = KafkaBus(found.kafka), Codec.load(found.schemas, found.registry)
    entries = [entry for _, entry in readable(bus, codec, ["audit"])]
    mine = [entry for entry in entries if entry["model"] == model]
    if not mine:
        known = sorted({entry["model"] for entry in entries})
        raise BadConfig(f"model {model!r} has no decisions; known are {known or 'none'}")
    for line in describe(mine[-last:], numbers):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@app.command(name="eval", context_settings={"ignore_unknown_options": True})
def eval_(args: Annotated[list[str], typer.Argument(help="MODEL_REPO ADAPTER_DIR …")]) -> None:
    """Runs a model repo's gate on an adapter, as CI would. Exit 0: it may ship."""
    command = [sys.executable, "-m", "services.evaluator.offline", *args]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
@told
def simulate(
    repo: Path,
    world: Path,
    state: State = HERE,
    report: Path = Path("report.html"),
    weeks: int = 24,
    launch_weeks: int = 4,
    per_day: int = 60,
    feedback: Share = USUAL.share,
    delay_hours: Delay = USUAL.delay_hours,
    longest_days: Longest = USUAL.longest_days,
    wrong: Wrong = USUAL.wrong,
    praise: Praise = USUAL.praise,
    seed: int = 7,
) -> None:
    """Plays a world of labelled text against the running stack (started with --clock world)."""
    config = stack.running(state)
    if config is None or config.clock != "world":
        raise BadConfig("no stack with a world's clock runs: `driftgate up --clock world` first")
    from services.simulator import demo as demo_world
    from services.simulator.session import play

    calendar = Calendar(launch_weeks, weeks, per_day, seed=seed)
    played = play(
        repo,
        build(world.stem, read_rows(world), calendar),
        config.service_settings,
        report,
        habits=Habits(feedback, delay_hours, longest_days, wrong, praise),
        seed=seed,
        health=demo_world.health_of(config),
        console=console,
    )
    console.print(demo_world.summary(played, report, [f"open {report}"]))
    raise typer.Exit(0 if played.held else 1)


@app.command()
@told
def demo(
    data: Annotated[
        Path | None, typer.Option(help="labelled text; the shipped world if absent")
    ] = None,
    state: Annotated[Path, typer.Option(help="folder of the demo's own stack")] = HERE / "demo",
    report: Path = Path("report.html"),
    weeks: int = 24,
    per_day: int = 60,
    feedback: Share = USUAL.share,
    delay_hours: Delay = USUAL.delay_hours,
    longest_days: Longest = USUAL.longest_days,
    wrong: Wrong = USUAL.wrong,
    praise: Praise = USUAL.praise,
    seed: int = 7,
    shuffle: Annotated[bool, typer.Option(help="deal the dates anew: nothing changes")] = False,
) -> None:
    """The whole loop on a world, unattended: from installation to a page."""
    from services.simulator import demo as demo_world

    calendar = Calendar(weeks=weeks, per_day=per_day, seed=seed)
    habits = Habits(feedback, delay_hours, longest_days, wrong, praise)
    played = demo_world.run(data, state.resolve(), report, calendar, habits, console, shuffle)
    steps = [
        f"open {report}",
        "make up: an empty system, on this machine's clock",
        "README.md, 'Connect your own app'",
    ]
    console.print(demo_world.summary(played, report, steps))
    raise typer.Exit(0 if played.held else 1)


app.command()(subject_cli.subject)
app.command()(traffic_cli.traffic)


def held_partitions(config: stack.StackConfig) -> dict[str, str]:
    """Partitions that ingestion does not read on, and why; none if it does not answer."""
    try:
        url = f"http://127.0.0.1:{config.ports['ingest_logger_http']}/healthz"
        return dict(requests.get(url, timeout=2).json().get("blocked", {}))
    except requests.RequestException:
        return {}


def order(
    found: Settings, model: str, kind: str, reason: str, args: dict[str, str] | None = None
) -> None:
    """Sends a command about a declared model."""
    bus, codec = KafkaBus(found.kafka), Codec.load(found.schemas, found.registry)
    declared = newest(bus, codec, "models")
    if model not in declared:
        raise BadConfig(
            f"model {model!r} is not declared; declared are {sorted(declared) or 'none'}"
        )
    event = command_event(model, kind, args or {}, actor(), reason, now(found))
    send(found, Emit("commands", event))
    console.print(f"{kind} of {model} is ordered; `driftgate audit {model}` shows what came of it")


def send(found: Settings, emit: Emit) -> None:
    bus, codec = KafkaBus(found.kafka), Codec.load(found.schemas, found.registry)
    producer = bus.producer()
    publish(producer, codec, [emit])
    producer.close()
    bus.close()
