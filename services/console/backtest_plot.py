"""A backtest over time: each incident as a bar from opening to closing, with the interval of its
beginning, what triggers ask for, and the incidents that people know of. Pure."""

from __future__ import annotations

from collections.abc import Callable

from driftgate.drift.backtest import Story
from services.console import svg
from services.console.backtest_words import Told, title
from services.console.operators import when
from services.console.svg import Picture

WIDTH, LEFT, TOP, ROW, DATES = 1000, 260, 50, 24, 6


def picture(told: Told) -> Picture:
    stories = told.stories
    height = TOP + ROW * (max(len(stories), 1) + 2)
    made, bottom = Picture(WIDTH, height), height - ROW

    def x(ms: int) -> float:
        inside = min(max(ms, told.since), told.until) - told.since
        return LEFT + (WIDTH - LEFT - 10) * inside / max(told.until - told.since, 1)

    made.text(10, 20, title(told))
    for one in told.known:
        width = x(one.until) - x(one.since)
        made.bar(x(one.since), TOP - 5, width, bottom - TOP, "#f3e3d8", f"known {when(one.since)}")
    for at in range(DATES):
        ms = told.since + (told.until - told.since) * at // (DATES - 1)
        made.line(x(ms), TOP - 5, x(ms), bottom)
        made.text(x(ms), bottom + 15, when(ms)[:10], "end" if at == DATES - 1 else "middle")
    for at, story in enumerate(stories):
        draw(made, told, story, TOP + at * ROW, x)
    for request in told.requests:
        says = f"{request.reason} {when(request.time)}: {request.words}"
        made.bar(x(request.time), TOP - 5, 2, bottom - TOP, svg.GOOD, says)
    return made


def draw(made: Picture, told: Told, story: Story, y: float, place: Callable[[int], float]) -> None:
    """One incident."""
    shown, end = story.incident, told.until if story.closed is None else story.closed
    colour = svg.BAD if shown.severity == "critical" else svg.WARN
    begin = place(story.opened[0].at)
    made.text(10, y + 12, shown.shown.stream)
    made.bar(begin, y, place(end) - begin, 14, colour, shown.shown.summary)
    early, late = place(shown.earliest), place(shown.latest)
    made.bar(early, y + 16, late - early, 3, svg.INK, f"since {when(shown.since)}")
