"""`driftgate drift`: how the streams of a model stand now."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from driftgate import unwatched
from driftgate.drift import traffic
from driftgate.drift.replay import Replay
from driftgate.drift.standing import Standing, standings
from driftgate.model_repo import ModelYaml
from driftgate.store import Store
from services.console import backtest_cli, svg
from services.console.backtest_cli import MS, Seen
from services.console.operators import when
from services.console.stored_events import events, stored
from services.console.svg import Picture
from services.console.terminal import (
    HERE,
    STORE,
    State,
    console,
    reports_errors,
    say,
    settings,
)

# Evidence is drawn from here to 1, the alarm level, by its logarithm.
LEAST = 1e-6
BLOCKS = 12


@reports_errors
def drift(
    model: str,
    picture: Annotated[Path | None, typer.Option(help="also draw it into this SVG file")] = None,
    json_: Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")] = False,
    state: State = HERE,
) -> None:
    """How each monitored stream stands: reference, bar, newest mean, and evidence."""
    svg.check("--picture", picture)
    found = settings(state, STORE)
    config = backtest_cli.as_file_says(model, None, state)
    with closing(Store.connect(found.store, found.database)) as store:
        known = stored(store, model)
        begin, end = known.first, known.last + MS
        replay = Replay(config, begin)
        for _ in replay.run(Seen(begin, end).all(events(store, model, begin, end)), end):
            pass
    now = {
        version: standings(replay.state.evidence, config, replay.heard.references, version)
        for version in sorted(replay.state.heeded)
    }
    notes = list(noted(replay, config, now.values()))
    if picture:
        svg.write(picture, drawn(model, now))
    if json_:
        say(json.dumps(as_json(replay, now, notes), ensure_ascii=False))
        return
    for version, streams in now.items():
        say(f"{model}@{version}, as of {when(end)} UTC")
        console.print(table(streams))
    for incident in replay.state.incidents.open:
        say(f"open since {when(incident.opened)}: {incident.shown.summary}")
    for note in notes:
        say(f"note: {note}")
    if picture:
        say(f"{picture} written")


def noted(replay: Replay, config: ModelYaml, now: Iterable[list[Standing]]) -> Iterator[str]:
    """What is declared and not watched, or by now no more."""
    met = replay.state.evidence.traffic.counts
    yield from unwatched.protected(config)
    yield from unwatched.absent(config, {f"{k}={v}" for k, values in met.items() for v in values})
    for one in (one for streams in now for one in streams if not one.improves):
        if not one.n:
            yield f"{one.name}: no answer has told a number yet, so it is not watched"
    yield from map(traffic.in_words, replay.state.evidence.traffic.crowded)
    for silence in replay.state.evidence.silences.told:
        yield silence.summary


def table(streams: Sequence[Standing]) -> Table:
    made = Table(padding=0)
    made.add_column("stream", overflow="fold")
    for name in ("numbers", "reference", "bar", "newest"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("evidence", no_wrap=True)
    for one in sorted(streams, key=lambda one: -one.level):
        blocks = round(BLOCKS * grown(one.level))
        made.add_row(
            Text(one.name),
            f"{one.n:,}",
            *(share(x) for x in (one.reference, one.bar, one.newest)),
            Text(f"{'█' * blocks}{'·' * (BLOCKS - blocks)} {one.summary}"),
        )
    return made


def share(x: float | None) -> str:
    return "" if x is None else f"{x * 100:.1f} %"


def grown(level: float) -> float:
    """How far evidence is on its way to its alarm level, by its logarithm: 0 to 1."""
    return min(max(1 - math.log(max(level, LEAST)) / math.log(LEAST), 0.0), 1.0)


def as_json(replay: Replay, now: dict[int, list[Standing]], notes: list[str]) -> dict[str, Any]:
    """Times in ms."""
    return {
        "model": replay.config.model,
        "time": replay.state.time,
        "versions": {v: [asdict(one) for one in streams] for v, streams in now.items()},
        "incidents": [
            {"id": one.incident_id, "opened": one.opened, "words": one.shown.summary}
            for one in replay.state.incidents.open
        ],
        "notes": notes,
    }


def drawn(model: str, now: dict[int, list[Standing]]) -> Picture:
    """A bar a stream, on its way to the alarm level at the right."""
    left, width, row = 260, 900, 20
    rows = [(version, one) for version, streams in now.items() for one in streams]
    made = Picture(width, 50 + row * (len(rows) + 1))
    made.text(10, 20, f"{model}: evidence of each stream, of its alarm level at the right (log)")
    for at, (version, one) in enumerate(rows):
        y, level = 40 + at * row, grown(one.level)
        colour = svg.GOOD if one.improves else svg.BAD if level > 0.8 else svg.WARN
        made.text(10, y + 11, f"{one.name} @{version}")
        says = f"{one.summary}; newest {share(one.newest)}, bar {share(one.bar)}"
        made.bar(left, y, (width - left - 20) * level, 14, colour, says)
    made.line(width - 20, 35, width - 20, 40 + row * len(rows), svg.INK)
    return made
