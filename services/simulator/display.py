"""Live progress of a played world: on a terminal a table that is redrawn, else a line a week with
the last work of each service in it."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.simulator.play import Day
from services.simulator.quiescence import Lags

REFRESH_SECONDS = 0.5
HEALTH_SECONDS = 0.5
READY = "ready"


@dataclass
class Display:
    """Shows each day that is over and what the services say that they are doing.

    Attributes:
        health: address of each service's /healthz, by name.
    """

    title: str
    days: int
    gate: float
    console: Console
    health: Mapping[str, str] = field(default_factory=dict)
    frozen_baseline: Mapping[int, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)
    _doing: dict[str, str] = field(default_factory=dict)
    _done: dict[str, str] = field(default_factory=dict)
    _weeks: dict[int, list[int]] = field(default_factory=dict)
    _known: Counter[int] = field(default_factory=Counter)
    _day: Day | None = None
    _behind: tuple[str, ...] = ()
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Display:
        self._live = Live(
            get_renderable=self.draw, console=self.console, refresh_per_second=1 / REFRESH_SECONDS
        )
        if self.console.is_terminal:
            self._live.start()
        threading.Thread(target=self._watch, name="display", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self.console.is_terminal:
            self._live.stop()

    def day(self, day: Day) -> None:
        """A day is over."""
        self._day = day
        week = self._weeks.setdefault(day.number // 7 + 1, [0, 0])
        week[0] += day.right
        week[1] += day.answers
        self._known[day.number // 7 + 1] += day.known
        if day.number % 7 == 6 and not self.console.is_terminal:
            done, self._done = self._done, {}
            work = "".join(f"  {service}: {did}" for service, did in sorted(done.items()))
            line = self.line(day.number // 7 + 1) + work
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def waiting(self, lags: Lags) -> None:
        self._behind = tuple(lags)

    def line(self, week: int) -> str:
        right, answers = self._weeks[week]
        baseline = self.frozen_baseline.get(week)
        against = "" if baseline is None else f"  one-off {baseline:6.1%}"
        version = self._day.version if self._day else 0
        share = self._known.get(week, 0) / max(1, answers)
        known = "" if share == 1 else f" of {share:.1%} known"
        return (
            f"week {week:2d}  {answers:4d} answers  loop {right / max(1, answers):6.1%}{against}"
            f"  gate {self.gate:.0%}{known}  v{version}  {left(self.share, self._started)}"
        )

    @property
    def share(self) -> float:
        """Played share of the world, 0..1."""
        return (self._day.number + 1) / self.days if self._day else 0.0

    def draw(self) -> Group:
        """What stands on the terminal now."""
        table = Table.grid(padding=(0, 2))
        for service, doing in sorted(self._doing.items()):
            busy = service in self._behind
            table.add_row(Text(service, style="bold" if busy else "dim"), Text(doing))
        weeks = sorted(self._weeks)[-6:]
        lines = [Text(self.line(week)) for week in weeks]
        head = Text(f"{self.title}   {left(self.share, self._started)}", style="bold")
        return Group(head, ProgressBar(total=1.0, completed=self.share), *lines, table)

    def _watch(self) -> None:
        while not self._stop.wait(HEALTH_SECONDS):
            self.ask()

    def ask(self) -> None:
        """Asks each service what it is doing; the last work of a week stands in the week's line."""
        for service, url in self.health.items():
            doing = self._doing[service] = activity(url)
            if doing != READY:
                self._done[service] = doing.partition(":")[0]


def activity(url: str) -> str:
    """What a service says that it is doing."""
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:  # noqa: S310 - our own services
            body: dict[str, Any] = json.load(reply)
    except OSError:
        return "away"
    return str(body.get("activity") or (READY if body.get("ready") else "starting"))


def left(share: float, started: float) -> str:
    """Time gone and time left, at the pace so far."""
    gone = time.monotonic() - started
    if share <= 0:
        return f"{gone:.0f} s gone"
    return f"{gone:.0f} s gone, about {gone / share - gone:.0f} s left"
