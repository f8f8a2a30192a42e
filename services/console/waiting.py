"""`driftgate retrain --wait`: shows what becomes of an order until it is known."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from rich.console import Console
from rich.status import Status as Spinner
from rich.text import Text

from driftgate.bus import Bus, Record
from driftgate.bus_tools import decoded
from driftgate.codec import Codec
from driftgate.errors import BadInput, NotInTime
from driftgate.events import AnyEvent, AuditEntry, DeadLetter
from services.console import health, order_status
from services.console.operators import describe
from services.console.order_status import OrderStatus

POLL_SECONDS = 0.5
# Who works on a new version for longer than a moment, in this order.
BUSY = ("trainer", "evaluator", "router")
# After one router refused a version, another one that is loading it and its base is waited for.
OTHER_ROUTERS_SECONDS = 30.0


def wait(
    bus: Bus,
    codec: Codec,
    status: OrderStatus,
    deadline_s: float,
    activities: Callable[[], Mapping[str, str]],
    console: Console,
) -> OrderStatus:
    """Follows an order until it is done or refused; prints each decision about it.

    `activities` says what each service is doing. On a terminal that is a line which is redrawn,
    elsewhere a line each time that a service begins with something else.

    Raises:
        NotInTime: it is neither at the deadline; it still goes on.
        BusUnavailable
    """
    begin = time.monotonic()
    # A group of its own, which commits nothing, reads from the beginning and leaves no trace.
    consumer = bus.consumer(order_status.TOPICS, f"console-{status.command_id}", "console")
    progress = Progress(console, deadline_s)
    refused_at: float | None = None
    with closing(consumer), progress.spinner:
        while status.passed is None:
            gone = time.monotonic() - begin
            if gone > deadline_s:
                raise NotInTime(
                    f"{status.model}: no result after {gone:.0f} s; the order stands, "
                    f"{order_status.audit_command(status)} shows how it goes on"
                )
            status = read_on(codec, status, consumer.poll(POLL_SECONDS), progress)
            progress.show(activities(), gone)
            why = order_status.refusal(status)
            refused_at = refused_at or gone if why else None
            if refused_at is not None and gone - refused_at >= OTHER_ROUTERS_SECONDS:
                status = order_status.ended(status, False, why)
    return status


def read_on(
    codec: Codec, status: OrderStatus, records: Iterable[Record], progress: Progress
) -> OrderStatus:
    """What is known after more records; prints the decisions among them that are about it."""
    for _, event in decoded(codec, records):
        after = one_more(codec, status, event)
        # What ends it badly is left to the caller, who says it last.
        if after != status and isinstance(event, AuditEntry) and after.passed is not False:
            progress.print(*describe([event], numbers=False))
        status = after
    return status


def one_more(codec: Codec, status: OrderStatus, event: AnyEvent) -> OrderStatus:
    """What is known after an event; a dead letter counts as the event that it holds."""
    if not isinstance(event, DeadLetter):
        return order_status.step(status, event)
    try:
        given_up = codec.event(event.topic, event.value)
    except BadInput:
        return status
    why = f"{event.service} gave it up: {event.message}"
    return order_status.given_up(status, given_up, why)


class Progress:
    """Lines that stay, and below them, on a terminal, what goes on now."""

    def __init__(self, console: Console, deadline_s: float) -> None:
        self.spinner = Spinner("ordered", console=console)
        self._console = console
        self._deadline_s = deadline_s
        self._shown: set[str] = set()

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
            if begun not in self._shown:
                self._shown.add(begun)
                self.print(begun)


def activities(urls: Mapping[str, str], model: str) -> dict[str, str]:
    """What the services that work on a model's versions say that they are doing about it."""
    said = {name: str(health.body(urls[name]).get("activity")) for name in BUSY if name in urls}
    return {name: what for name, what in said.items() if names(what, model)}


def names(what: str, model: str) -> bool:
    """Whether words such as `training triage@4: 42 %` are about a model."""
    return model in re.split("[ ,:@]", what)
