"""`driftgate import`: what other systems hold of a model's answers, as launch data and events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgate.errors import BadConfig
from services.console.reading_cli import adds
from services.console.terminal import (
    HERE,
    KAFKA,
    State,
    console,
    reports_errors,
    say,
    settings,
)

if TYPE_CHECKING:
    from driftgate.bus import Bus
    from driftgate.config import Settings
    from driftgate.imports.history import History, Pair
    from driftgate.imports.records import Placed
    from driftgate.labelled.findings import Findings
    from driftgate.model_repo import ModelYaml

PAIRS = Path("pairs.jsonl")
# Of answers that no version of driftgate gave. Its own count from 1, so that what is measured by
# version is never a mixture of both.
VERSION = 1_000_000

app = typer.Typer(
    no_args_is_help=True,
    help="Imports what OpenAI's files, Langfuse or TensorZero hold: launch data and events.",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall become of the records."""

    pairs: Path
    model: str | None
    version: int
    events: Path | None
    dry_run: bool
    unjudged: bool
    ratings: tuple[str, ...]
    state: Path


def options(
    pairs: Annotated[
        Path, typer.Option(help="file that pairs to launch with are written to")
    ] = PAIRS,
    model: Annotated[
        str | None, typer.Option(help="model that answers and feedback are sent as events of")
    ] = None,
    version: Annotated[
        int, typer.Option(min=1, help="number under which these answers are stored")
    ] = VERSION,
    events: Annotated[
        Path | None, typer.Option(help="file that events are written to, instead of to Kafka")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="counts only, writes nothing")] = False,
    unjudged: Annotated[
        bool, typer.Option("--unjudged", help="answers that nobody judged are pairs too")
    ] = False,
    rating: Annotated[
        list[str] | None,
        typer.Option(
            help="score that says how good an answer was, NAME or NAME=WORST..BEST; none: none is"
        ),
    ] = None,
    state: State = HERE,
) -> Wanted:
    """What the options say. Each has the name of its parameter."""
    ratings = tuple(rating or ())
    return Wanted(pairs, model, version, events, dry_run, unjudged, ratings, state)


imports = adds(options, "wanted")
Encoding = Annotated[str | None, typer.Option(help="of text files, such as cp1252")]
Slices = Annotated[list[str] | None, typer.Option(help="key of metadata, or tag, that is a slice")]


@app.command("openai")
@reports_errors
@imports
def openai(path: Path, encoding: Encoding = None, *, wanted: Wanted) -> None:
    """A fine-tuning file: chats, also with weights, and preferences."""
    from driftgate.imports import openai, records
    from driftgate.labelled.findings import Findings

    findings = Findings(path.resolve().name)
    history = openai.read(counted(records.read(path, findings, encoding)), findings)
    bring(history, findings, wanted)


@app.command("langfuse")
@reports_errors
@imports
def langfuse(
    path: Annotated[Path, typer.Argument(help="JSON, JSON Lines, CSV or Parquet; file or folder")],
    slice: Slices = None,
    encoding: Encoding = None,
    *,
    wanted: Wanted,
) -> None:
    """An export of traces, observations and scores."""
    from driftgate.imports import langfuse, records
    from driftgate.labelled.findings import Findings

    findings = Findings(path.resolve().name)
    rows = counted(records.read(path, findings, encoding))
    history = langfuse.read(rows, wanted.ratings, slice or (), findings)
    bring(history, findings, wanted)


@app.command("tensorzero")
@reports_errors
@imports
def tensorzero(
    source: Annotated[
        str, typer.Argument(help="http://USER:PASSWORD@HOST:8123/DATABASE, or files of its tables")
    ],
    function: Annotated[
        str | None, typer.Option(help="whose inferences; needed where there are several")
    ] = None,
    where: Annotated[
        str, typer.Option(help="SQL that an inference meets, such as \"timestamp > '2026-01-01'\"")
    ] = "",
    subject: Annotated[str, typer.Option(help="tag that says who asked")] = "user_id",
    slice: Slices = None,
    encoding: Encoding = None,
    *,
    wanted: Wanted,
) -> None:
    """Its tables: inferences, demonstrations, boolean and float feedback."""
    from driftgate.imports import clickhouse, records, tensorzero
    from driftgate.labelled.findings import Findings

    if clickhouse.is_url(source):
        findings = Findings(clickhouse.without_password(source))
        rows = clickhouse.read(source, where, findings)
    else:
        if where:
            raise BadConfig(f"--where {where}: expected with the URL of a ClickHouse, not a file")
        findings = Findings(Path(source).resolve().name)
        rows = records.read(Path(source), findings, encoding)
    history = tensorzero.read(
        counted(rows), function, wanted.ratings, subject, slice or (), findings
    )
    bring(history, findings, wanted)


# ---------------------------------------------------------------- what all sources share


def counted(rows: Iterable[Placed]) -> Iterator[Placed]:
    """Shows how many are read."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("records"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield from progress.track(rows)


def bring(history: History, findings: Findings, wanted: Wanted) -> None:
    """Says what was found, writes pairs, and sends events.

    Raises:
        BadConfig: nothing can be taken, or a file to write is there already.
    """
    from driftgate.imports.history import pairs, summary
    from driftgate.labelled.findings import Findings

    if wanted.events is not None and wanted.model is None:
        raise BadConfig(f"--events {wanted.events}: add --model NAME, whose events they are")
    findings.notes.insert(0, summary(history))
    for line in findings.lines():
        say(line)
    if not history.answers and not history.examples:
        raise BadConfig(f"{findings.source}: nothing of it can be imported; see above")
    found = Findings(wanted.pairs.name)
    made = pairs(history, wanted.unjudged, found)
    write_pairs(made, wanted)
    for line in found.lines():
        say(line)
    if not history.answers:
        say("events: none, since no model gave an answer")
    elif wanted.model is not None:
        send(history, wanted)
    else:
        say("events: none; --model NAME sends answers and feedback as events of that model")


def write_pairs(made: Iterable[Pair], wanted: Wanted) -> None:
    """
    Raises:
        BadConfig: another file of this name is there.
    """
    text = "".join(f"{pair.line}\n" for pair in made)
    path = wanted.pairs
    if path.exists() and path.read_bytes() != text.encode():
        raise BadConfig(f"{path} exists and holds something else: name another file by --pairs")
    if text and not wanted.dry_run:
        path.write_text(text, encoding="utf-8", newline="")


def send(history: History, wanted: Wanted) -> None:
    """
    Raises:
        BadConfig: the model is not declared.
        BusUnavailable
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeRemainingColumn,
    )

    from driftgate.client import Client
    from driftgate.labelled.findings import Findings
    from driftgate.model_repo import Data
    from driftgate.tasks import task_of
    from services.console.import_events import Sender

    findings = Findings(f"events of {wanted.model}")
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = len(history.answers) + len(history.words)
    with destination(wanted) as (found, declared, bus):
        data = declared.data if declared else Data()
        client = Client(schemas=found.schemas, registry=found.registry, data=data, bus=bus)
        with (
            client,
            Progress(
                *columns, console=console, transient=True, disable=not console.is_terminal
            ) as progress,
        ):
            bar = progress.add_task("events", total=total)
            task = task_of(declared.task) if declared else None
            sender = Sender(client, str(wanted.model), wanted.version, task, findings)
            sender.send(history, lambda: progress.advance(bar))
    for line in findings.lines():
        say(line)
    say(told(wanted, findings.kept))


def told(wanted: Wanted, events: int) -> str:
    if wanted.dry_run:
        return f"dry run: nothing is written; {events:,} events would be sent"
    where = f"written to {wanted.events}" if wanted.events else f"sent as of {wanted.model}"
    return f"{events:,} events {where}, answers as version {wanted.version}"


@contextmanager
def destination(wanted: Wanted) -> Iterator[tuple[Settings, ModelYaml | None, Bus]]:
    """Where events go, and what is declared there. Without Kafka nothing is known to be.

    Raises:
        BadConfig: the model is not declared.
        BusUnavailable
    """
    from driftgate.bus_kafka import KafkaBus
    from driftgate.codec import Codec
    from services.console.declarations import model_yaml
    from services.console.import_events import diverted, event_file, without_kafka

    found = settings(wanted.state, *([] if wanted.events else [KAFKA]))
    codec = Codec.load(found.schemas, found.registry)
    if not wanted.events:
        declared = model_yaml(found, str(wanted.model))
        bus: Bus = KafkaBus(found.kafka)
        yield found, declared, diverted(bus, codec, drop) if wanted.dry_run else bus
    elif wanted.dry_run:
        yield found, None, diverted(without_kafka(codec), codec, drop)
    else:
        with event_file(wanted.events) as write:
            yield found, None, diverted(without_kafka(codec), codec, write)


def drop(*_: object) -> None:
    """Of a dry run, what is sent."""
