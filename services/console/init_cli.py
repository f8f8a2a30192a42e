"""`driftgate init`: from a file of labelled text to a model repo and its launch file."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgate.errors import BadConfig
from driftgate.labelled.rows import Asked
from services.console import reading_cli as reading
from services.console.kinds_cli import Kind
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
        Path | None,
        typer.Option(help="what to declare a model for: labelled text, or pairs as JSON Lines"),
    ] = None,
    task: Annotated[
        Kind, typer.Option(help="a label for each text; or a text, learned from pairs")
    ] = Kind.CLASSIFICATION,
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
    if task is Kind.GENERATION:
        generation(folder, data, protect, yes, asked)
        return
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
    asks = asks_first(yes)
    rows = launchable(labelled, newest(labelled, places), now)
    proposal = proposed(rows, wanted(folder, data, labelled, protect), asks)
    confirm(folder, proposal.notes, asks)
    with writing.beside(folder) as partial:
        writing.write(partial, proposal.declaration, proposal.suite)
        launch.write(partial, proposal.launch, labelled.findings.card())
    model, text = proposal.declaration.model, example(proposal.suite)
    say_next(folder, f"{len(proposal.launch):,} rows", model, text)


def generation(
    folder: Path, data: Path | None, protect: str | None, yes: bool, asked: Asked
) -> None:
    """A model that writes, from pairs of inputs and outputs."""
    from driftgate.labelled import pairs
    from driftgate.machine_clock import machine_ms
    from driftgate.model_repo import Mask
    from driftgate.scaffold import generation, launch, writing
    from driftgate.scaffold.proposal import slug

    if data is None:
        raise BadConfig("--task generation: expected --data FILE with pairs, such as pairs.jsonl")
    found = pairs.read(data, asked)
    for line in found.findings.lines():
        say(line)
    stored = replace(found, rows=generation.masked(found.rows, Mask()))
    wanted = generation.Wanted(slug(folder.resolve().name), protect=protect)
    made = generation.propose(stored, wanted, machine_ms(), SEED)
    confirm(folder, made.notes, asks_first(yes))
    with writing.beside(folder) as partial:
        generation.write(partial, made)
        launch.write(partial, made.launch, found.findings.card(), target="output")
    say_next(folder, f"{len(made.launch):,} pairs", made.model, made.example)


def asks_first(yes: bool) -> bool:
    """Whether somebody is there to ask."""
    return sys.stdin.isatty() and not yes


def confirm(folder: Path, notes: Sequence[str], asks: bool) -> None:
    """Says what would be written, and why.

    Raises:
        typer.Exit: it shall not be.
    """
    for note in notes:
        say(f"  {note}")
    if asks and not typer.confirm(f"Write {folder}?", default=True):
        say("nothing is written")
        raise typer.Exit(Status.NO)


def say_next(folder: Path, launched: str, model: str, text: str) -> None:
    """What was written, and what to type next."""
    from driftgate.scaffold.launch import LAUNCH

    say(f"{folder} is written: model.yaml, evals and {LAUNCH} with {launched}. Next:")
    for command in next_commands(folder, model, text):
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
    return found.text


def next_commands(folder: Path, model: str, text: str) -> list[str]:
    """What to type next, as it works from here."""
    from deploy.local import stack
    from driftgate.scaffold.launch import LAUNCH

    where = shlex.quote(str(folder))
    begin = program()
    state = Path(os.environ.get("DRIFTGATE_STATE_DIR", HERE))
    up = [] if stack.running(state) else [f"{begin} up"]
    text = " ".join(text.split())[:MOST_CHARACTERS]
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
