"""Plays a world on a paced clock: the machine's, so many times as fast.

Nothing waits for anything: requests are sent at their time, feedback when it is due, a drill at its
time, and the services work on it as they can, so that a training takes days of the world's time.
What cannot be sent in time is sent late and counted, and no outage ends the world.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import ClassVar

from driftgate.errors import BusUnavailable, RouterUnavailable
from driftgate.events import DAY_MS
from driftgate.machine_clock import machine_ms
from driftgate.runtime.ticker import Pace
from services.simulator.play import Drill, Player
from services.simulator.quiescence import NotQuiescentError
from services.simulator.router_calls import RequestRefusedError, RouterCalls

# 24 weeks in half an hour.
PACE = 24 * 7 * DAY_MS / 1_800_000
# Seconds of the machine's clock: between two ticks; after which a request counts as late; and how
# long after the world's end what is late is still sent.
TICK_SECONDS = 0.5
LATE_SECONDS = 1.0
OVERTIME_SECONDS = 180.0
SENDERS = 16


@dataclass
class PacedPlayer(Player):
    """As `Player`, with another way through the days.

    Attributes:
        pace: how many times as fast as the machine's clock time runs.
        outages: ticks that could not be written, since the bus was away.
        behind: who was behind, and where, when the world had ended and time was up; else empty.
    """

    WAITS_FOR_LOG: ClassVar[bool] = False

    pace: float = PACE
    outages: int = 0
    behind: str = ""
    _clock: Pace = field(init=False)
    _requests: Iterator[tuple[int, int]] = field(init=False)
    _next_request: Lock = field(default_factory=Lock)
    _drills: list[Drill] = field(init=False)
    _days_over: int = 0

    def days(self) -> None:
        """Every day, at its time. In the end, what the system has still to do is waited for."""
        days = self.world.days
        self._requests = (
            (day, place) for day, rows in enumerate(days) for place in range(len(rows))
        )
        self._drills = sorted(self.drills, key=lambda drill: drill.day)
        self._clock = Pace(self.world.start, machine_ms(), self.pace)
        self._ticker.pace = self.pace
        with self.connected(None, SENDERS) as (router, threads):
            senders = [threads.submit(self.send_requests, router) for _ in range(SENDERS)]
            try:
                over = False
                while not over:
                    begun, over = time.monotonic(), self.over(senders)
                    self.pass_time(self._clock.now())
                    time.sleep(max(0.0, begun + TICK_SECONDS - time.monotonic()))
            finally:
                self.stop_time()
        try:
            self.quiescence.of_all()
        except NotQuiescentError as error:
            self.behind = str(error)

    def send_requests(self, router: RouterCalls) -> None:
        """Sends requests, each at its time, until there are none; several threads do so at once."""
        while (found := self.next_request()) is not None:
            day, place = found
            due = self.world.days[day][place].time or 0
            if router.closing.wait(max(0.0, -self.seconds_past(due))):
                return
            if self.seconds_past(due) > LATE_SECONDS:
                self.ledger.sent_late(self.seconds_past(due))
            try:
                reply = self.reply(day, place, router)
            except RouterUnavailable:  # time is up
                return
            if isinstance(reply, RequestRefusedError):
                self.ledger.refuse(str(reply))
            else:
                self.note(reply)

    def next_request(self) -> tuple[int, int] | None:
        """Day and place of the request that is next by time."""
        with self._next_request:
            return next(self._requests, None)

    def seconds_past(self, moment: int) -> float:
        """How long ago a moment of the world was, s of the machine's clock; negative: it comes."""
        return (self._clock.now() - moment) / 1000 / self.pace

    def over(self, senders: Sequence[Future[None]]) -> bool:
        """Whether the world has ended, and every request was sent or time is up."""
        for sender in senders:
            if sender.done():
                sender.result()  # raises what ended it
        past = self.seconds_past(self.world.end_of(len(self.world.days) - 1))
        sent = all(sender.done() for sender in senders)
        return past > OVERTIME_SECONDS or (sent and past > 0)

    def pass_time(self, now: int) -> None:
        """What is due now: drills, feedback, then the tick after them. While the bus is away, it
        waits for the next time."""
        try:
            while self._drills and self.world.end_of(self._drills[0].day - 1) <= now:
                self.rehearse(self._drills[0])
                self._drills.pop(0)
            due = self.ledger.due(now)
            self.send(*due)
            self.ledger.sent(due)
            self._ticker.write(now)
        except BusUnavailable as error:
            self.outages += 1
            self.quiescence.log.warning("no tick", error=str(error))
        while self._days_over < len(self.world.days) and self.world.end_of(self._days_over) <= now:
            self.watch(self.summary(self._days_over))
            self._days_over += 1

    def stop_time(self) -> None:
        """Time stands still from now on: nobody writes further ticks."""
        self._ticker.pace = 0
        with suppress(BusUnavailable):
            self._ticker.write(self._clock.now())
