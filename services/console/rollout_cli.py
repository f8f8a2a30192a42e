"""`driftgate rollout`: how far a model's rollout is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from deploy.local import stack
from driftgate.bus import Bus, Position
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import decoded
from driftgate.codec import Codec, canonical
from driftgate.errors import BadConfig
from driftgate.system_clock import system_time
from driftgate.topology import PROMOTER
from services.console import health, rollout_status, rollout_words
from services.console.orders import declared
from services.console.rollout_status import IDLE, Known, Look
from services.console.terminal import (
    HERE,
    KAFKA,
    State,
    console,
    reaching,
    reports_errors,
    say,
    settings,
)

DRAWN_SECONDS = 1.0


@reports_errors
def rollout(
    model: str,
    json: Annotated[bool, typer.Option("--json", help="one object, for programs")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="stay, until the rollout is over")
    ] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="every look of the last rollout, from the audit")
    ] = False,
    state: State = HERE,
) -> None:
    """How far a rollout is, what speaks for and against the version, and what is missing."""
    if follow and (json or replay):
        raise BadConfig("--follow: expected alone, without --json and --replay")
    found = settings(state, KAFKA)
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus:
        declared(bus, codec, model)
        reading = Reading(bus, codec, Known(model), looks_url(state))
        reading.read_on()
        if replay:
            show_replay(reading.known, json)
        elif json:
            say(canonical(rollout_words.as_dict(reading.known, reading.look(), reading.now())))
        elif follow:
            redraw(reading, reaching(state))
        else:
            for line in reading.lines(reaching(state)):
                say(line)


def show_replay(known: Known, json: bool) -> None:
    if json:
        say(canonical([rollout_words.look_as_dict(look) for look in known.looks]))
        return
    for line in rollout_words.replay(known, width()):
        say(line)


def width() -> int | None:
    """Of the terminal; None where there is none, as what is piped is not broken into lines."""
    return console.width if console.is_terminal else None


def redraw(reading: Reading, options: str) -> None:
    """Until nothing is tried or watched."""

    def drawn() -> Text:
        return Text("\n".join(reading.lines(options)))

    with Live(drawn(), console=console, auto_refresh=False) as live:
        while reading.known.record is not None and reading.known.record.stage != IDLE:
            time.sleep(DRAWN_SECONDS)
            reading.read_on()
            live.update(drawn(), refresh=True)


@dataclass
class Reading:
    """What is known, and how far the topics were read for it.

    Attributes:
        looks: where the promoter shows its newest looks; empty where that is not known.
    """

    bus: Bus
    codec: Codec
    known: Known
    looks: str
    _next: dict[Position, int] = field(default_factory=dict)

    def read_on(self) -> None:
        """
        Raises:
            BusUnavailable
        """
        for record, event in decoded(
            self.codec, self.bus.read_all(rollout_status.TOPICS, self._next)
        ):
            self._next[record.position] = record.offset + 1
            self.known = self.known.after(event)

    def look(self) -> Look | None:
        """The newest: the promoter's own, or where it does not answer that of the audit."""
        shown = health.body(self.looks).get(self.known.model) if self.looks else None
        return self.known.look(Look.of(shown) if shown else None)

    def now(self) -> int:
        """The system's time, ms."""
        return system_time(self.bus, self.codec)

    def lines(self, options: str) -> Iterable[str]:
        return rollout_words.lines(self.known, self.look(), self.now(), options, width())


def looks_url(state: Path) -> str:
    config = stack.running(state)
    healthz = "" if config is None else config.healthz.get(PROMOTER, "")
    return healthz.replace("/healthz", "/looks")
