"""The loop over Kafka by faust-streaming: the same promises as `loop`, for a service of which one
replica works. See `faust_app` for what of faust is used."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import faust
from faust.types import TP

from driftgate import metrics
from driftgate.bus import Position, Record
from driftgate.errors import BusUnavailable
from driftgate.events import Tick
from driftgate.runtime.faust_app import GroupMember, OneOwner, advanced, as_tp
from driftgate.runtime.loop import POLL_SECONDS, Runtime, Shift

# A stop that takes longer, as it does without a broker, is cut short: nothing is lost by it.
STOP_SECONDS = 4.0


@dataclass
class FaustRuntime(Runtime):
    """Runs a service by faust.

    Attributes:
        beside: makes what else this replica does, as a member of another group, whether it is the
            one that works or not.
    """

    beside: Callable[[FaustRuntime], GroupMember] | None = None

    def run(self) -> NoReturn:
        """Until `stopping` is set. Ends the process: threads of Kafka's clients may wait for a
        broker that is away, and are not waited for. The status is 1 if faust gave up.

        Raises:
            ValueError: each replica of the service is to work, which is `loop.Runtime`'s.
        """
        if self.service.every_replica:
            raise ValueError(f"service {self.service.name}: every replica works; faust's are one")
        threading.Thread(target=self._cut_short, daemon=True).start()
        self._wait_for_bus()
        os._exit(0 if self.stopping.is_set() else asyncio.run(self._serve()))

    async def _serve(self) -> int:
        """Until the runtime stops, or faust does; the status to exit with."""
        members: list[GroupMember] = [FaustShift(self)]
        if self.beside is not None:
            members.append(self.beside(self))
        self.health.watch(lambda: sum(member.lag() for member in members))
        for member in members:
            await member.app.start()
        while not (self.stopping.is_set() or any(member.ended for member in members)):
            await asyncio.sleep(POLL_SECONDS)
        asked = self.stopping.is_set()
        with suppress(TimeoutError):
            stops = (member.app.stop() for member in members)
            await asyncio.wait_for(asyncio.gather(*stops), STOP_SECONDS)
        return 0 if asked else 1

    def _wait_for_bus(self) -> None:
        """faust gives up where no broker answers when it starts."""
        while not self.stopping.is_set():
            try:
                self.bus.ends([Tick.TOPIC])
            except BusUnavailable as error:
                metrics.RETRIES.labels(type(error).__name__).inc()
                self.health.heartbeat(waiting=str(error))
                self.stopping.wait(self._backoff.next(self.service.name))
            else:
                self.health.heartbeat(waiting=None)
                return

    def _cut_short(self) -> NoReturn:
        self.stopping.wait()
        time.sleep(STOP_SECONDS)
        os._exit(0)


class FaustShift(Shift, GroupMember):
    """Works while it holds the partitions."""

    def __init__(self, runtime: FaustRuntime) -> None:
        Shift.__init__(self, runtime)
        GroupMember.__init__(
            self, runtime, runtime.service.name, runtime.service.topics(), OneOwner
        )
        self.member = self.consumer

    async def begin(self, mine: set[Position]) -> None:
        """The group is told where the service's own memory ends."""
        if not mine:
            return
        starts, (first, committed) = self.assigned(mine), await self.places(mine)
        self.reached = {p: max(starts.get(p, committed[p]), at) for p, at in first.items()}
        elsewhere = {p: at for p, at in self.reached.items() if at != committed[p]}
        if elsewhere:
            self.commit(elsewhere)
        for position, offset in elsewhere.items():  # faust takes a committed 0 for none
            await self.app.consumer.seek(as_tp(position), offset)

    async def left(self, app: faust.App, revoked: Iterable[TP], **_: Any) -> None:
        self.reached = {}
        self.revoked(Position(*tp) for tp in revoked)

    async def take(self, delivered: Sequence[Record], passed: Mapping[Position, int]) -> None:
        """Of a replica that stood still, another may have handled what it had fetched."""
        found = [r for r in delivered if r.offset >= self.reached.get(r.position, 0)]
        self.reached |= {record.position: record.offset + 1 for record in found}
        self.reached = advanced(self.reached, passed)
        self.work(found, lambda: self.reached)
