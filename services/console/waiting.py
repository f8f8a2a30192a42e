"""`driftgate retrain --wait`: shows what becomes of an order until it is known."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from rich.console import Console
from rich.status import Status as Spinner
from rich.text import Text

from driftgate.audit import TOPIC as AUDIT
from driftgate.bus import Bus, Record
from driftgate.codec import Codec
from driftgate.errors import BadInput, NotInTime
from driftgate.events import DLQ, Event
from services.console import following, health
from services.console.following import Course
from services.console.operators import describe

POLL_SECONDS = 0.5
# Who works on a new version for longer than a moment, in this order.
BUSY = ("trainer", "evaluator", "router")
# After one router refused a version, another one that is loading it and its base is waited for.
OTHER_ROUTERS_SECONDS = 30.0


def wait(
    bus: Bus,
    codec: Codec,
    course: Course,
    deadline_s: float,
    activities: Callable[[], Mapping[str, str]],
    console: Console,
) -> Course:
    """Follows an order until it is done or refused; prints each decision about it.

    `activities` says what each service is doing. On a terminal that is a line which is redrawn,
    elsewhere a line each time that a service begins with something else.

    Raises:
        NotInTime: it is neither at the deadline; it still goes on.
        BusUnavailable
    """
    topics = [topic for topic in following.TOPICS if topic in codec.topics.by_name]
    begin = time.monotonic()
    # A group of its own, which commits nothing, reads from the beginning and leaves no trace.
    consumer = bus.consumer(topics, f"console-{course.command_id}", "console")
    progress = Progress(console, deadline_s)
    refused_at: float | None = None
    with closing(consumer), progress.spinner:
        while course.passed is None:
            gone = time.monotonic() - begin
            if gone > deadline_s:
                raise NotInTime(
                    f"{course.model}: no result after {gone:.0f} s; the order stands, "
                    f"{following.audit_command(course)} shows how it goes on"
                )
            course = read_on(codec, course, consumer.poll(POLL_SECONDS), progress)
            progress.show(activities(), gone)
            why = following.refusal(course)
            refused_at = refused_at or gone if why else None
            if refused_at is not None and gone - refused_at >= OTHER_ROUTERS_SECONDS:
                course = following.ended(course, False, why)
    return course


def read_on(codec: Codec, course: Course, records: Iterable[Record], progress: Progress) -> Course:
    """What is known after more records; prints the decisions among them that are about it."""
    for topic, event in events(codec, records):
        after = one_more(codec, course, topic, event)
        # What ends it badly is left to the caller, who says it last.
        if after != course and topic == AUDIT and after.passed is not False:
            progress.print(*describe([event], numbers=False))
        course = after
    return course


def one_more(codec: Codec, course: Course, topic: str, event: Event) -> Course:
    """What is known after an event; a dead letter counts as the event that it holds."""
    if not topic.endswith(DLQ):
        return following.step(course, topic, event)
    try:
        given_up = codec.read(event["topic"], event["value"])
    except BadInput:
        return course
    why = f"{event['service']} gave it up: {event['message']}"
    return following.given_up(course, given_up, why)


def events(codec: Codec, records: Iterable[Record]) -> Iterable[tuple[str, Event]]:
    """What can be decoded."""
    for record in records:
        try:
            yield record.topic, codec.read(record.topic, record.value)
        except BadInput:
            continue


class Progress:
    """Lines that stay, and below them, on a terminal, what goes on now."""

    def __init__(self, console: Console, deadline_s: float) -> None:
        self.spinner = Spinner("ordered", console=console)
        self._console = console
        self._deadline_s = deadline_s
        self._told: set[str] = set()

    def print(self, *lines: str) -> None:
        for line in lines:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def show(self, activities: Mapping[str, str], gone: float) -> None:
        """What each service is doing, after so many seconds."""
        doing = "; ".join(f"{service}: {what}" for service, what in activities.items())
        if self._console.is_terminal:
            waited = f"{gone:.0f} s, at most {self._deadline_s:.0f} s"
            self.spinner.update(Text(f"{doing or 'waiting'} ({waited})"))
            return
        for service, what in activities.items():
            begun = f"{service}: {what.partition(':')[0]}"
            if begun not in self._told:
                self._told.add(begun)
                self.print(begun)


def activities(urls: Mapping[str, str], model: str) -> dict[str, str]:
    """What the services that work on a model's versions say that they are doing about it."""
    said = {name: str(health.body(urls[name]).get("activity")) for name in BUSY if name in urls}
    return {name: what for name, what in said.items() if names(what, model)}


def names(what: str, model: str) -> bool:
    """Whether words such as `training triage@4: 42 %` are about a model."""
    return model in re.split("[ ,:@]", what)
