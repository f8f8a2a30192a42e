"""`driftgate simulate`, `demo`: worlds of labelled text, played. What plays them is imported by the
commands, so that their help does not wait for pandas and torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgate.errors import BadConfig, NotRunning
from driftgate.labelled.rows import Asked
from driftgate.model_repo import MODEL_YAML, declared
from driftgate.tasks import task_of
from services.console import reading_cli as reading
from services.console.kinds_cli import Kind
from services.console.profile_cli import Wanted, plays
from services.console.terminal import HERE, State, Status, console, reaching, reports_errors

if TYPE_CHECKING:
    from deploy.local.plan import StackConfig

Weeks = Annotated[int | None, typer.Option(help="weeks to play; 24, or what the rows fill")]
LaunchWeeks = Annotated[int | None, typer.Option(help="weeks before them, to launch with; 4")]
PerDay = Annotated[int | None, typer.Option(help="most requests a day, on average; 60")]
Paced = Annotated[
    bool,
    typer.Option("--paced", help="on a clock that nothing holds up; 24 weeks in half an hour"),
]
Times = Annotated[
    float | None,
    typer.Option(
        "--pace", min=1, help="as --paced, so many times as fast as the machine's clock; 8064"
    ),
]


@reports_errors
@reading.reads
@plays
def simulate(
    repo: Path,
    world: Path,
    state: State = HERE,
    report: Path = Path("report.html"),
    weeks: Weeks = None,
    launch_weeks: LaunchWeeks = None,
    per_day: PerDay = None,
    seed: int = 7,
    paced: Paced = False,
    pace: Times = None,
    *,
    asked: Asked,
    wanted: Wanted,
) -> None:
    """Plays a world of labelled text against the running stack (started with --clock world)."""
    from services.simulator import demo as demo_world
    from services.simulator.kinds import is_written
    from services.simulator.lengths import Calendar
    from services.simulator.profiles import mix_of

    rules = declared(repo).config
    written = is_written(task_of(rules.task))
    if wanted.profile:
        mix = mix_of(wanted.profile, wanted.numbers, written=written)
    else:
        where = f"{repo / MODEL_YAML}: feedback"
        mix = mix_of(",".join(rules.feedback.profile), wanted.numbers, where, written)
    config = world_stack(state)
    calendar = Calendar(launch_weeks, weeks, per_day, seed=seed)
    played = demo_world.play_file(
        config,
        repo,
        world,
        report,
        calendar,
        mix,
        console,
        asked,
        reaching(state),
        pace_of(paced, pace),
    )
    demo_world.show(played, report, (), console)
    raise typer.Exit(Status.DONE if played.held else Status.NO)


def pace_of(paced: bool, pace: float | None) -> float | None:
    """How many times as fast as the machine's clock; None: as fast as the system is."""
    from services.simulator.paced import PACE

    return PACE if paced and pace is None else pace


def world_stack(state: Path) -> StackConfig:
    """The stack that a world can be played on.

    Raises:
        NotRunning: none that has a world's clock is up in this folder.
    """
    from deploy.local import stack

    config = stack.running(state)
    if config is None or config.clock != "world":
        start = f"`driftgate up --clock world{reaching(state)}`"
        raise NotRunning(f"no stack with a world's clock runs in {state}: {start} starts it")
    return config


@reports_errors
@reading.reads
@plays
def demo(
    data: Annotated[
        Path | None, typer.Option(help="labelled text, or pairs; a shipped world if absent")
    ] = None,
    task: Annotated[
        Kind, typer.Option(help="what --data holds: a label for each text, or pairs")
    ] = Kind.CLASSIFICATION,
    example: Annotated[
        str | None, typer.Option(help="shipped world: support-triage or ticket-extract")
    ] = None,
    state: Annotated[Path, typer.Option(help="folder of the demo's own stack")] = HERE / "demo",
    report: Path = Path("report.html"),
    weeks: Weeks = None,
    launch_weeks: LaunchWeeks = None,
    per_day: PerDay = None,
    seed: int = 7,
    shuffle: Annotated[bool, typer.Option(help="deal the dates anew: nothing changes")] = False,
    paced: Paced = False,
    pace: Times = None,
    *,
    asked: Asked,
    wanted: Wanted,
) -> None:
    """The whole loop on a world, unattended: from installation to a page."""
    from services.simulator import demo as demo_world
    from services.simulator.lengths import Calendar
    from services.simulator.profiles import SHIPPED, WRITTEN, mix_of

    if data is None:
        reading.refuse_without("--data", asked)
        if task is Kind.GENERATION:
            raise BadConfig("--task generation: expected --data FILE with pairs, or --example")
        folder = demo_world.example(example or demo_world.EXAMPLE.name)
        written = demo_world.answers_texts(folder)
    else:
        if example is not None:
            raise BadConfig(f"--example {example}: expected without --data, which is played")
        folder, written = demo_world.EXAMPLE, task is Kind.GENERATION
    usual = WRITTEN if written else SHIPPED
    mix = mix_of(wanted.profile or usual.name, wanted.numbers, written=written)
    calendar = Calendar(launch_weeks, weeks, per_day, seed=seed)
    played = demo_world.run(
        data,
        state.resolve(),
        report,
        calendar,
        mix,
        console,
        shuffle,
        asked,
        pace_of(paced, pace),
        folder,
        written,
    )
    demo_world.show(played, report, demo_world.NEXT, console)
    raise typer.Exit(Status.DONE if played.held else Status.NO)
