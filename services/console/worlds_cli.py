"""`driftgate simulate`, `demo`: worlds of labelled text, played. What plays them is imported by the
commands, so that their help does not wait for pandas and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgate.errors import NotRunning
from services.console import reading_cli as reading
from services.console.terminal import HERE, State, Status, console, told
from services.simulator.people import Habits

USUAL = Habits()
Share = Annotated[float, typer.Option(help="share of answers that get feedback")]
Delay = Annotated[float, typer.Option(help="mean delay of feedback, hours")]
Longest = Annotated[float, typer.Option(help="days after which nobody gives feedback")]
Wrong = Annotated[float, typer.Option(help="share of feedback that names a wrong label")]
Weeks = Annotated[int | None, typer.Option(help="weeks to play; 24, or what the rows fill")]
LaunchWeeks = Annotated[int | None, typer.Option(help="weeks before them, to launch with; 4")]
PerDay = Annotated[int | None, typer.Option(help="most requests a day, on average; 60")]
Praise = Annotated[float, typer.Option(help="share of feedback on right answers that is a rating")]


@told
def simulate(
    repo: Path,
    world: Path,
    state: State = HERE,
    report: Path = Path("report.html"),
    weeks: Weeks = None,
    launch_weeks: LaunchWeeks = None,
    per_day: PerDay = None,
    feedback: Share = USUAL.share,
    delay_hours: Delay = USUAL.delay_hours,
    longest_days: Longest = USUAL.longest_days,
    wrong: Wrong = USUAL.wrong,
    praise: Praise = USUAL.praise,
    seed: int = 7,
    text: reading.Text = None,
    label: reading.Label = None,
    time: reading.Time = None,
    subject: reading.Subject = None,
    slices: reading.Slices = None,
    dates: reading.Dates = None,
    encoding: reading.Encoding = None,
    left_out: reading.LeftOut = 0.2,
) -> None:
    """Plays a world of labelled text against the running stack (started with --clock world)."""
    from deploy.local import stack

    config = stack.running(state)
    if config is None or config.clock != "world":
        raise NotRunning(
            f"no stack with a world's clock runs in {state}: `driftgate up --clock world` starts it"
        )
    from driftgate.labelled.reading import read
    from services.simulator import demo as demo_world
    from services.simulator.schedule import Calendar, build
    from services.simulator.session import play

    asked = reading.asked(text, label, time, subject, slices, dates, encoding, left_out)
    labelled = read(world, asked)
    demo_world.say(labelled.findings.lines(), console)
    found = build(world.stem, labelled.rows(), Calendar(launch_weeks, weeks, per_day, seed=seed))
    demo_world.tell(found, console)
    played = play(
        repo,
        found,
        config.service_settings,
        report,
        habits=Habits(feedback, delay_hours, longest_days, wrong, praise),
        seed=seed,
        reading=labelled.findings.card(),
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
    weeks: Weeks = None,
    launch_weeks: LaunchWeeks = None,
    per_day: PerDay = None,
    feedback: Share = USUAL.share,
    delay_hours: Delay = USUAL.delay_hours,
    longest_days: Longest = USUAL.longest_days,
    wrong: Wrong = USUAL.wrong,
    praise: Praise = USUAL.praise,
    seed: int = 7,
    shuffle: Annotated[bool, typer.Option(help="deal the dates anew: nothing changes")] = False,
    text: reading.Text = None,
    label: reading.Label = None,
    time: reading.Time = None,
    subject: reading.Subject = None,
    slices: reading.Slices = None,
    dates: reading.Dates = None,
    encoding: reading.Encoding = None,
    left_out: reading.LeftOut = 0.2,
) -> None:
    """The whole loop on a world, unattended: from installation to a page."""
    from services.simulator import demo as demo_world
    from services.simulator.schedule import Calendar

    calendar = Calendar(launch_weeks, weeks, per_day, seed=seed)
    habits = Habits(feedback, delay_hours, longest_days, wrong, praise)
    asked = reading.asked(text, label, time, subject, slices, dates, encoding, left_out)
    played = demo_world.run(
        data, state.resolve(), report, calendar, habits, console, shuffle, asked
    )
    steps = [
        f"open {report}",
        "make up: an empty system, on this machine's clock",
        "README.md, 'Connect your own app'",
    ]
    console.print(demo_world.summary(played, report, steps))
    raise typer.Exit(Status.DONE if played.held else Status.NO)
