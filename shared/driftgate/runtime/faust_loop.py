"""The loop over Kafka by faust-streaming: the same promises as `loop`, for a service of which one
replica works. See `faust_app` for what of faust is used."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import faust
from faust.types import TP

from driftgate import metrics
from driftgate.bus import Position
from driftgate.errors import BusUnavailable
from driftgate.events import Tick
from driftgate.runtime.faust_app import FaustMember, Member, OneOwner, app_of, as_tp, delivered_to
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

    beside: Callable[[FaustRuntime], Member] | None = None

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
        members: list[Member] = [FaustShift(self)]
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


class FaustShift(Shift):
    """One run of a faust app: it joins the group, and works while it holds the partitions."""

    def __init__(self, runtime: FaustRuntime) -> None:
        super().__init__(runtime)
        service = runtime.service
        self.app = app_of(runtime, service.name, service.topics(), OneOwner, self.consume)
        self.app.on_rebalance_complete.connect(self.joined)
        self.app.on_partitions_revoked.connect(self.left)
        self.member = FaustMember(self.app)
        self.failed = False
        self.reached: dict[Position, int] = {}

    @property
    def ended(self) -> bool:
        return self.failed or self.app.should_stop

    async def joined(self, app: faust.App, **_: Any) -> None:
        """The group has dealt the partitions out, and faust is about to start where the group
        committed: so the group is told where the service's own memory ends."""
        mine = {Position(*tp) for tp in app.consumer.assignment()}
        if not mine:
            return
        try:
            starts = self.assigned(mine)
            await self.start_at(mine, starts)
        except Exception:  # noqa: BLE001 - faust would go on where the group committed
            self.fail("cannot begin")

    async def start_at(self, mine: set[Position], starts: Mapping[Position, int]) -> None:
        consumer = self.app.consumer
        committed = self.runtime.bus.committed(self.runtime.service.name)
        earliest = {
            Position(*tp): offset
            for tp, offset in (await consumer.earliest_offsets(*map(as_tp, mine))).items()
        }
        anyway = {p: max(committed.get(p, 0), first) for p, first in earliest.items()}
        self.reached = {p: max(starts.get(p, anyway[p]), first) for p, first in earliest.items()}
        elsewhere = {p: at for p, at in self.reached.items() if at != anyway[p]}
        if elsewhere:
            self.commit(elsewhere)
        for position, offset in elsewhere.items():  # faust takes a committed 0 for none
            await consumer.seek(as_tp(position), offset)

    async def left(self, app: faust.App, revoked: Iterable[TP], **_: Any) -> None:
        self.reached = {}
        self.revoked(Position(*tp) for tp in revoked)

    async def consume(self, stream: Any) -> None:
        """Handles what faust delivers."""
        try:
            with suppress(StopAsyncIteration):  # faust ends the stream by it
                while True:
                    delivered = await delivered_to(self.app, stream.channel.queue)
                    # Of a replica that stood still, another may have handled what it had fetched.
                    found = [r for r in delivered if r.offset >= self.reached.get(r.position, 0)]
                    self.reached |= {record.position: record.offset + 1 for record in found}
                    self.work(found, lambda: self.reached)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - faust would start the agent again, after these records
            self.fail("ends by an error")

    def fail(self, what: str) -> None:
        self.runtime.log.exception(what)
        self.failed = True
