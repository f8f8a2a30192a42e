"""`driftgate init`: from a file of labelled text to a model repo and its launch file."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgate.errors import BadConfig
from driftgate.labelled.rows import Asked
from services.console import reading_cli as reading
from services.console.terminal import HERE, Status, console, reports_errors, say

if TYPE_CHECKING:
    from driftgate.labelled.rows import Row
    from driftgate.labelled.table_rows import Labelled
    from driftgate.scaffold.proposal import Proposal, Wanted
    from driftgate.scaffold.writing import Case

SEED = 7
MOST_SHOWN = 8
MOST_CHARACTERS = 60


@reports_errors
@reading.reads
def init(
    folder: Path,
    data: Annotated[
        Path | None, typer.Option(help="labelled text to declare a model for: a file or a folder")
    ] = None,
    protect: Annotated[
        str | None,
        typer.Option(help="slice with a bar of its own, such as language=es; none: no slice"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="ask nothing")] = False,
    *,
    asked: Asked,
) -> None:
    """Writes a model repo: model.yaml, evals, and the launch file that goes with them."""
    from driftgate.labelled.reading import read
    from driftgate.machine_clock import machine_ms
    from driftgate.scaffold import launch, writing

    writing.check_free(folder)
    if data is None:
        reading.refuse_without("--data", asked)
        starter(folder)
        return
    labelled = read(data, asked)
    now = machine_ms()
    places = launch.until(labelled, now)
    for line in labelled.findings.lines():
        say(line)
    show(labelled)
    asks = sys.stdin.isatty() and not yes
    rows = launchable(labelled, newest(labelled, places), now)
    proposal = proposed(rows, wanted(folder, data, labelled, protect), asks)
    for note in proposal.notes:
        say(f"  {note}")
    if asks and not typer.confirm(f"Write {folder}?", default=True):
        say("nothing is written")
        raise typer.Exit(Status.NO)
    with writing.beside(folder) as partial:
        writing.write(partial, proposal.declaration, proposal.suite)
        launch.write(partial, proposal.launch, labelled.findings.card())
    count = len(proposal.launch)
    say(f"{folder} is written: model.yaml, evals and {launch.LAUNCH} with {count:,} rows. Next:")
    for command in next_commands(folder, proposal.declaration.model, example(proposal.suite)):
        say(f"  {command}")


def starter(folder: Path) -> None:
    """A small model repo to edit."""
    from driftgate.scaffold import proposal, writing

    name = proposal.slug(folder.resolve().name)
    writing.write(folder, writing.Declaration(name, ["delivery", "refund"]), writing.STARTER)
    say(f"{folder} is written, with two labels as an example: edit model.yaml and evals, then")
    say(f"  {program()} check {shlex.quote(str(folder))}")


def show(labelled: Labelled) -> None:
    """Labels, dates and slices with their counts."""
    from driftgate.labelled.reading import summary
    from driftgate.scaffold.launch import stamp

    counts = labelled.label_counts
    say(f"{len(counts)} labels: {summary(counts)}")
    moments = [moment for moment in labelled.times if moment is not None]
    say(f"dates: {stamp(min(moments))} to {stamp(max(moments))}" if moments else "dates: none")
    for name, values in labelled.slices.items():
        say(f"slice {name}: {summary(Counter(filter(None, values)))}")


def newest(labelled: Labelled, places: Sequence[int]) -> Sequence[int]:
    """As many rows as a launch can use with its suite: the newest of a very large file, or any
    where there are no dates."""
    from driftgate.scaffold import proposal

    most = proposal.MOST_LAUNCH + proposal.MOST_SUITE
    if len(places) <= most:
        return places
    return proposal.newest(places, lambda place: labelled.times[place], most, SEED)


def launchable(labelled: Labelled, places: Sequence[int], now: int) -> list[Row]:
    """Rows under their ids, their texts masked as model.yaml will say by default."""
    from driftgate.model_repo import Mask
    from driftgate.scaffold.proposal import identified, masked

    rows = labelled.rows(places)
    stored = masked(rows, Mask())
    changed = sum(a.text != b.text for a, b in zip(rows, stored, strict=True))
    if changed:
        say(f"personal data is masked in {changed:,} texts (docs/personal-data.md)")
    return identified(stored, now)


def wanted(folder: Path, data: Path, labelled: Labelled, protect: str | None) -> Wanted:
    from driftgate.scaffold.proposal import Wanted, slug

    return Wanted(
        model=slug(folder.resolve().name),
        labels=tuple(sorted(labelled.label_counts)),
        rows=labelled.findings.kept,
        purpose=f"Sorts the texts of {data.name}.",
        protect=protect,
    )


def proposed(rows: Sequence[Row], wish: Wanted, asks: bool) -> Proposal:
    """What to write. Where somebody is there to ask, which slice to protect is asked."""
    from dataclasses import replace

    from rich.progress import Progress

    from driftgate.scaffold import baseline, proposal
    from driftgate.scaffold.launch import slice_counts

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("what the base makes of the texts", total=1.0)
        found = baseline.guesses(rows, SEED, lambda done: progress.update(task, completed=done))
    made = proposal.propose(rows, found, wish, SEED)
    counts = slice_counts(rows)
    if not asks or not counts or wish.protect is not None:
        return made
    shown = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(MOST_SHOWN))
    while True:
        answer = typer.prompt(
            f"Slices are {shown}. Which one has a bar of its own?",
            default=made.declaration.protected or proposal.NONE,
        )
        try:
            return proposal.propose(rows, found, replace(wish, protect=answer), SEED)
        except BadConfig as error:
            say(str(error))


def example(suite: Sequence[Case]) -> str:
    """The text of a clear case that is easily typed."""
    found = min(suite, key=lambda case: ("'" in case.text or "\n" in case.text, len(case.text)))
    return " ".join(found.text.split())[:MOST_CHARACTERS]


def next_commands(folder: Path, model: str, text: str) -> list[str]:
    """What to type next, as it works from here."""
    from deploy.local import stack
    from driftgate.scaffold.launch import LAUNCH

    where = shlex.quote(str(folder))
    begin = program()
    state = Path(os.environ.get("DRIFTGATE_STATE_DIR", HERE))
    up = [] if stack.running(state) else [f"{begin} up"]
    asked = shlex.quote(text)
    return [
        *up,
        f"{begin} apply {where}",
        f"{begin} retrain {model} --seed {shlex.quote(str(folder / LAUNCH))} --wait",
        f"{begin} ask {model} {'-- ' if text.startswith('-') else ''}{asked}",
    ]


def program() -> str:
    """This command, as it was called."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "driftgate" else "driftgate"
