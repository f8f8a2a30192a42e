"""`driftgate simulate`, `demo`: worlds of labelled text, played. What plays them is imported by the
commands, so that their help does not wait for pandas and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgate.errors import NotRunning
from services.console.terminal import HERE, State, Status, console, told
from services.simulator.people import Habits

USUAL = Habits()
Share = Annotated[float, typer.Option(help="share of answers that get feedback")]
Delay = Annotated[float, typer.Option(help="mean delay of feedback, hours")]
Longest = Annotated[float, typer.Option(help="days after which nobody gives feedback")]
Wrong = Annotated[float, typer.Option(help="share of feedback that names a wrong label")]
Praise = Annotated[float, typer.Option(help="share of feedback on right answers that is a rating")]


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
    from deploy.local import stack

    config = stack.running(state)
    if config is None or config.clock != "world":
        raise NotRunning(
            f"no stack with a world's clock runs in {state}: `driftgate up --clock world` starts it"
        )
    from services.simulator import demo as demo_world
    from services.simulator.rows import read_rows
    from services.simulator.schedule import Calendar, build
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
    raise typer.Exit(Status.DONE if played.held else Status.NO)


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
    from services.simulator.schedule import Calendar

    calendar = Calendar(weeks=weeks, per_day=per_day, seed=seed)
    habits = Habits(feedback, delay_hours, longest_days, wrong, praise)
    played = demo_world.run(data, state.resolve(), report, calendar, habits, console, shuffle)
    steps = [
        f"open {report}",
        "make up: an empty system, on this machine's clock",
        "README.md, 'Connect your own app'",
    ]
    console.print(demo_world.summary(played, report, steps))
    raise typer.Exit(Status.DONE if played.held else Status.NO)
