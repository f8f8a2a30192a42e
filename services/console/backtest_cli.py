"""`driftgate backtest`: what these monitors would have told, and when, of what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from driftgate import model_repo
from driftgate.drift.backtest import Known
from driftgate.drift.observations import Observation
from driftgate.drift.replay import Event, Replay, Said
from driftgate.errors import BadConfig, BusUnavailable
from driftgate.labelled.rows import Asked
from driftgate.machine_clock import machine_ms
from driftgate.model_repo import ModelYaml
from driftgate.unwatched import absent, unmeasured
from services.console import backtest_file, backtest_plot, svg
from services.console.backtest_words import Told, as_json, lines, table, title
from services.console.dead_letter_selection import moment
from services.console.operators import when
from services.console.terminal import (
    HERE,
    KAFKA,
    STORE,
    State,
    complaints,
    console,
    reports_errors,
    say,
    settings,
)

REFERENCE_ROWS = 1000
MS = 1  # the end of what is stored lies behind its last answer


@reports_errors
def backtest(
    model: str,
    monitors: Annotated[
        Path | None,
        typer.Option(
            help="a model.yaml, or a file with only monitors, false_alarms or triggers, which "
            "take the place of the declared ones; what is declared if absent"
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(help="5w, 40d back from the end, or an ISO time; the first answer if absent"),
    ] = "",
    until: Annotated[str, typer.Option(help="an ISO time; the last answer if absent")] = "",
    incident: Annotated[
        list[str] | None,
        typer.Option(help="one that you know of: DATE, or DATE..DATE; several times"),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="replay this file of dated answers (docs/drift.md)")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="of --file: ROLE=NAME, such as output=predicted; several times"),
    ] = None,
    reference: Annotated[
        int, typer.Option(help="of --file: so many rows, the first, measure the reference")
    ] = REFERENCE_ROWS,
    dates: Annotated[
        str | None, typer.Option(help="of --file: dmy, mdy, ymd, or a format such as '%d.%m.%Y'")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="of --file, where it is a text file, such as cp1252")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="also draw it into this SVG file")] = None,
    json_: Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")] = False,
    state: State = HERE,
) -> None:
    """What these monitors would have told, and when: replays stored answers and feedback."""
    svg.check("--plot", plot)
    if file is None:
        told, notes = of_store(model, monitors, since, until, incident or [], state)
    else:
        asked = Asked(dates=dates, encoding=encoding)
        columns = dict(map(pair, column or []))
        config = without_system(model, monitors, state)
        told, notes = of_file(
            backtest_file.read(file, columns, config, asked, machine_ms()),
            reference,
            config,
            since,
            until,
            incident or [],
        )
    if plot:
        svg.write(plot, backtest_plot.picture(told))
    if json_:
        say(json.dumps(as_json(told) | {"notes": notes}, ensure_ascii=False))
        return
    say(title(told))
    for note in notes:
        say(f"note: {note}")
    if told.stories:
        console.print(table(told))
    for line in lines(told):
        say(line)
    if plot:
        say(f"{plot} written")


def of_store(
    model: str, monitors: Path | None, since: str, until: str, incident: list[str], state: Path
) -> tuple[Told, list[str]]:
    """
    Raises:
        BadConfig, StoreRefused, StoreUnavailable, BusUnavailable, ArtifactsUnavailable
    """
    from driftgate.store import Store
    from services.console.stored_events import events, stored

    found = settings(state, STORE)
    config = as_file_says(model, monitors, state)
    with closing(Store.connect(found.store, found.database)) as store:
        known = stored(store, model)
        begin, end = span(since, until, known.first, known.last + MS)
        return replayed(config, events(store, model, begin, end), begin, end, incident)


def of_file(
    found: backtest_file.Answers,
    rows: int,
    config: ModelYaml,
    since: str,
    until: str,
    incident: list[str],
) -> tuple[Told, list[str]]:
    """
    Raises:
        BadConfig
    """
    config = backtest_file.as_told(config)
    reference = backtest_file.measured(found, rows, config)
    events = backtest_file.events(found, rows, config.model, reference)
    begin, end = span(since, until, found.times[rows], max(found.times[-1], *found.told) + MS)
    measured = (
        f"the first {rows:,} rows, {when(found.times[0])} to {when(found.times[rows - 1])}, "
        "measure the reference"
    )
    idle = [
        f"not watched: {lack}: none of the rows that measure the reference tells it"
        for lack in unmeasured(config, reference)
    ]
    told, notes = replayed(config, events, begin, end, incident)
    told = replace(told, said=[heard_until(found.times[-1], one) for one in told.said])
    return told, [*found.notes, measured, *idle, *notes]


def heard_until(last: int, said: Said) -> Said:
    """Without silences that were told later than the last answer, ms: there the file ends, and only
    feedback comes."""
    return replace(said, silences=tuple(one for one in said.silences if one.at <= last))


def span(since: str, until: str, first: int, last: int) -> tuple[int, int]:
    """What is replayed, ms.

    Raises:
        BadConfig: it is empty, or holds nothing.
    """
    end = min(moment("--until", until, last), last) if until else last
    begin = max(moment("--since", since, end), first) if since else first
    if begin >= end:
        raise BadConfig(
            f"--since {since or when(first)}, --until {until or when(last)}: nothing lies between; "
            f"answers are from {when(first)} to {when(last)} UTC"
        )
    return begin, end


def replayed(
    config: ModelYaml, events: Iterable[Event], since: int, until: int, incident: list[str]
) -> tuple[Told, list[str]]:
    """What is told from `since` to `until`, ms, and what is to be noted about it."""
    known = [known_of(text, since, until) for text in incident]
    replay, seen = Replay(config, since), Seen(since, until)
    said = list(replay.run(seen.all(events), until))
    traffic = replay.state.evidence.traffic
    met = {f"{name}={value}" for name, values in traffic.counts.items() for value in values}
    notes = list(absent(config, met))
    return Told(config.model, since, until, seen.answers, said, known), notes


class Seen:
    """Counts answers, and shows how far a replay is."""

    def __init__(self, since: int, until: int) -> None:
        self.since, self.until, self.answers = since, until, 0

    def all(self, events: Iterable[Event]) -> Iterator[Event]:
        from rich.progress import Progress

        off = not complaints.is_terminal
        with Progress(console=complaints, transient=True, disable=off) as progress:
            bar = progress.add_task("replaying", total=self.until - self.since)
            for event in events:
                if isinstance(event, Observation) and event.kind == "answer":
                    self.answers += 1
                    if self.answers % 1000 == 0:
                        progress.update(bar, completed=event.time - self.since)
                yield event


def known_of(text: str, since: int, until: int) -> Known:
    """An incident that the user names, which lasts to the end unless they say so.

    Raises:
        BadConfig: it does not begin while something is replayed, from `since` to `until`, ms.
    """
    begin, dots, end = text.partition("..")
    known = Known(
        moment("--incident", begin, until), moment("--incident", end, until) if dots else until
    )
    if not since <= known.since < min(until, known.until):
        raise BadConfig(
            f"--incident {text}: expected one that begins before it ends, and in what is replayed, "
            f"from {when(since)} to {when(until)} UTC"
        )
    return known


def pair(text: str) -> tuple[str, str]:
    """
    Raises:
        BadConfig
    """
    role, equals, name = text.partition("=")
    if not equals:
        raise BadConfig(f"--column {text}: expected ROLE=NAME, such as output=predicted")
    return role, name


def as_file_says(model: str, monitors: Path | None, state: Path) -> ModelYaml:
    """What is declared of a model, with what a file says of its monitors.

    Raises:
        BadConfig: the file cannot be used, or is about another model.
        BusUnavailable, ArtifactsUnavailable
    """
    text = "" if monitors is None else read(monitors)
    if monitors is not None and model_repo.is_whole(text, str(monitors)):
        config = model_repo.parse(text, str(monitors), monitors.parent)
        if config.model != model:
            raise BadConfig(f"{monitors}: `model` is {config.model!r}, expected {model!r}")
        return config
    from services.console.declarations import model_folder

    folder = model_folder(settings(state, KAFKA), model)
    if monitors is None:
        return model_repo.declared(folder).config
    return model_repo.laid_over(text, str(monitors), folder)


def without_system(model: str, monitors: Path | None, state: Path) -> ModelYaml:
    """The same for a file of answers.

    Raises:
        BadConfig, BusUnavailable, ArtifactsUnavailable: see `as_file_says`.
    """
    try:
        return as_file_says(model, monitors, state)
    except BusUnavailable as error:
        raise BusUnavailable(
            f"{error}; with --file, a whole model.yaml as --monitors needs no system"
        ) from error


def read(path: Path) -> str:
    """
    Raises:
        BadConfig: it is no text.
        OSError
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadConfig(f"{path}: expected a YAML file in UTF-8 ({error.reason})") from None
