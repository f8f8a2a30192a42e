"""`driftgate dlq`: dead letters are looked at, sent again, or given up."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec, finite
from driftgate.config import Settings
from driftgate.dead_letters import claimed_schema_id
from driftgate.errors import BadConfig, Corrupt
from driftgate.store import Store
from services.console.dead_letter_queue import DeadLetterQueue, Opened, Run
from services.console.dead_letter_selection import (
    DROP,
    DROPPED,
    OPEN,
    REPLAY,
    REPLAYED,
    STATES,
    DeadRecord,
    Filter,
    Place,
    dump,
    kept_from_drop,
    kept_from_replay,
)
from services.console.operators import describe, when
from services.console.terminal import (
    HERE,
    KAFKA,
    STORE,
    State,
    actor,
    console,
    now,
    reports_errors,
    say,
    settings,
)

app = typer.Typer(
    help="Dead letters: records that could not be handled.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Places = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", help="records, as `list` shows them")
]
Topic = Annotated[str, typer.Option(help="topic that the record came from")]
Reason = Annotated[str, typer.Option(help="why it was given up, such as unknown_label")]
Model = Annotated[str, typer.Option(help="model that the event names, if it can be decoded")]
Since = Annotated[str, typer.Option(help="first seen after: 30m, 2h, 3d, or an ISO time")]
Until = Annotated[str, typer.Option(help="first seen before: 30m, 2h, 3d, or an ISO time")]
Contains = Annotated[str, typer.Option(help="a part of the message")]
Everything = Annotated[bool, typer.Option("--everything", help="without a filter, mean all")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]


@app.command(name="list")
@reports_errors
def list_(
    topic: Topic = "",
    reason: Reason = "",
    model: Model = "",
    since: Since = "",
    until: Until = "",
    contains: Contains = "",
    limit: Annotated[int, typer.Option(min=1, help="newest dead letters to show")] = 50,
    all_: Annotated[bool, typer.Option("--all", help="dropped ones too")] = False,
    state: State = HERE,
) -> None:
    """The newest dead letters, and how many there are by topic and reason."""
    with opened(settings(state, KAFKA, STORE)) as (found, queue):
        meant = Filter.parse(
            queue.codec.topics, now(found), (), topic, reason, model, since, until, contains
        )
        counts: Counter[tuple[str, str, str]] = Counter()
        newest = heapq.nlargest(
            limit,
            (one for one in counted(queue.matching(meant), counts) if all_ or one.state != DROPPED),
            key=lambda record: (record.first_seen, record.place),
        )
    if not counts:
        console.print("no dead letters" if meant.matches_all else "no dead letter is like that")
        return
    # Only the message gives way where the terminal is narrow: ids are there to be copied.
    table = Table("id", "reason", "when", "state")
    for column in table.columns:
        column.no_wrap = True
    table.add_column("message")
    for record in newest:
        table.add_row(
            str(record.place),
            record.reason,
            when(record.first_seen),
            record.state,
            Text(record.message, no_wrap=True, overflow="ellipsis"),
        )
    console.print(table)
    summary = Table("topic", "reason", OPEN, REPLAYED, DROPPED)
    for of_topic, why in sorted({key[:2] for key in counts}):
        numbers = (counts[of_topic, why, one] for one in (OPEN, REPLAYED, DROPPED))
        summary.add_row(of_topic, why, *(f"{number:,}" for number in numbers))
    console.print(summary)


@app.command()
@reports_errors
def show(
    place: Annotated[str, typer.Argument(metavar="ID", help="a record, as `list` shows it")],
    state: State = HERE,
) -> None:
    """Everything about a dead letter: reason, record, what was done about it."""
    with opened(settings(state, KAFKA, STORE)) as (_, queue):
        at = Place.parse(place, queue.codec.topics)
        pages = queue.opened(queue.matching(Filter(places=(at,))))
        one = next((opened for page in pages for opened in page), None)
        if one is None:
            raise BadConfig(
                f"there is no dead letter {at}: `driftgate dlq list` shows those stored"
            )
        lines = [*described(queue, one), *describe(queue.history(at), numbers=False)]
    say("\n".join(lines))


@app.command()
@reports_errors
def replay(
    places: Places = None,
    topic: Topic = "",
    reason: Reason = "",
    model: Model = "",
    since: Since = "",
    until: Until = "",
    contains: Contains = "",
    everything: Everything = False,
    again: Annotated[
        bool, typer.Option("--again", help="also what was replayed or dropped before")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be sent")] = False,
    yes: Yes = False,
    state: State = HERE,
) -> None:
    """Sends records again to the topic that they came from: after the cause was repaired."""
    with opened(settings(state, KAFKA, STORE)) as (found, queue):
        meant = Filter.parse(
            queue.codec.topics,
            now(found),
            places or (),
            topic,
            reason,
            model,
            since,
            until,
            contains,
        )
        decide(
            found,
            queue,
            meant,
            REPLAY,
            "send",
            lambda record: kept_from_replay(record, queue.codec.topics, again),
            everything=everything,
            dry_run=dry_run,
            yes=yes,
        )


@app.command()
@reports_errors
def drop(
    places: Places = None,
    topic: Topic = "",
    reason: Reason = "",
    model: Model = "",
    since: Since = "",
    until: Until = "",
    contains: Contains = "",
    everything: Everything = False,
    yes: Yes = False,
    state: State = HERE,
) -> None:
    """Marks dead letters as given up: `list` hides them. Nothing is deleted."""
    with opened(settings(state, KAFKA, STORE)) as (found, queue):
        meant = Filter.parse(
            queue.codec.topics,
            now(found),
            places or (),
            topic,
            reason,
            model,
            since,
            until,
            contains,
        )
        decide(found, queue, meant, DROP, "drop", kept_from_drop, everything=everything, yes=yes)


# ---------------------------------------------------------------- what the commands share


@contextmanager
def opened(found: Settings) -> Iterator[tuple[Settings, DeadLetterQueue]]:
    with (
        closing(Store.connect(found.store, found.database)) as store,
        closing(KafkaBus(found.kafka)) as bus,
    ):
        codec = Codec.load(found.schemas, found.registry)
        yield found, DeadLetterQueue(store, bus, codec, Artifacts(found.artifacts))


def decide(
    found: Settings,
    queue: DeadLetterQueue,
    meant: Filter,
    decision: str,
    verb: str,
    kept: Callable[[DeadRecord], str],
    *,
    everything: bool,
    yes: bool,
    dry_run: bool = False,
) -> None:
    """Says what is going to happen to the records meant, asks, and does it.

    Raises:
        BadConfig: no records are named, by id, filter or --everything; or an id names none.
        Corrupt: some records, too large for their dead letter, are lost; the others were sent.
    """
    if meant.matches_all and not everything:
        raise BadConfig(f"which records to {verb}? Name ids or filters, or say --everything")
    due = planned(queue.matching(meant), meant, verb, kept)
    if not due or dry_run:
        console.print(f"would {verb} {due:,}" if due else f"nothing to {verb}")
        return
    if not yes:
        typer.confirm(f"{verb} {due:,}?", abort=True)
    chosen = (record for record in queue.matching(meant) if not kept(record))
    lost: list[str] = []
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(verb, total=due)
        for page in queue.decide(decision, chosen, Run(meant, actor(), now(found))):
            progress.advance(bar, len(page))
            if decision == REPLAY:
                lost += [f"{one.record.place}: {one.lost}" for one in page if one.lost]
    console.print(f"{due - len(lost):,} {STATES[decision]}", highlight=False)
    if lost:
        raise Corrupt("\n".join(["these could not be sent:", *lost]))


def planned(
    records: Iterable[DeadRecord], meant: Filter, verb: str, kept: Callable[[DeadRecord], str]
) -> int:
    """Shows what would become of the records; returns how many are not kept from it.

    Raises:
        BadConfig: an id names none.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    missing = set(meant.places)
    for record in records:
        counts[record.place.topic, record.reason, kept(record)] += 1
        missing.discard(record.place)
    if missing:
        names = ", ".join(map(str, sorted(missing)[:5]))
        raise BadConfig(f"no dead letter is like that: {names}; `driftgate dlq list` shows them")
    table = Table("topic", "reason", "records", f"{verb}?")
    for (topic, reason, why), number in sorted(counts.items()):
        table.add_row(topic, reason, f"{number:,}", why or "yes")
    console.print(table) if counts else None
    return sum(number for (_, _, why), number in counts.items() if not why)


def counted(
    records: Iterable[DeadRecord], counts: Counter[tuple[str, str, str]]
) -> Iterator[DeadRecord]:
    """The records as they pass, counted by topic, reason and state."""
    for record in records:
        counts[record.place.topic, record.reason, record.state] += 1
        yield record


# ---------------------------------------------------------------- how a record is shown


def described(queue: DeadLetterQueue, one: Opened) -> Iterator[str]:
    """All that is known about a record, as lines."""
    place = one.record.place
    yield f"{place}  {one.record.state}"
    for row in queue.written(place):
        where = f"{row['topic']}/{row['partition']}/{row['offset']}"
        yield f"dead letter {where} by {row['service']}, first seen {when(row['first'])}"
        yield f"    {row['reason']}: {row['message']}"
    yield f"schema id: {schema_note(queue.codec, place.topic, claimed_schema_id(one.value))}"
    yield f"key: {'none' if one.key is None else repr(one.key)[1:]}"
    if one.lost:
        yield f"lost: {one.lost}"
    if one.value is None:
        yield "value: none"
    elif one.fields is None:
        yield f"value: {len(one.value):,} bytes that cannot be decoded\n{dump(one.value)}"
    else:
        fields = json.dumps(finite(dict(one.fields)), indent=2, ensure_ascii=False)
        yield f"value: {len(one.value):,} bytes\n{fields}"


def schema_note(codec: Codec, topic: str, schema_id: int | None) -> str:
    """What the registry knows of a schema id that is claimed on a topic."""
    schemas, subject = codec.schemas, codec.topics[topic].subject
    if schema_id is None:
        return "none: the value does not begin with a zero byte and four of schema id"
    if found := schemas.by_id.get(schema_id):
        stray = "" if found.subject == subject else f", while topic {topic} carries {subject}"
        return f"{schema_id}, {found.subject} version {found.number}{stray}"
    if why := schemas.refused.get(schema_id):
        return f"{schema_id}, which is refused: {why}"
    known = [version.id for version in schemas.versions(subject)]
    return f"{schema_id}, which is not registered; {subject} has {known}"
