"""Answers requests. Those that come at once are computed as a batch, logged while the next one is
computed, and answered once the log cannot be lost. Their shadows are computed afterwards."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from driftgate.errors import QueueFull
from driftgate.routing import NotServed
from services.router.answers import (
    Answered,
    Ask,
    Logged,
    Unheard,
    VersionFailed,
    answer,
    answer_unheard,
)
from services.router.background import Background
from services.router.record import Record, on, shed
from services.router.requests import Request
from services.router.shadows import ShadowQueue
from services.router.versions import Versions

MAX_BATCH = 32
# Five seconds' worth of answers of one core; who comes later is better told than kept waiting.
CAPACITY = 1024

# Why shadows are lost when nobody is at fault.
ENDS = "the router ends"

Found = Answered | NotServed | VersionFailed


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A request and who waits for its answer."""

    ask: Ask
    answer: asyncio.Future[Answered]


@dataclass
class Predictor:
    """Answers requests to versions that choose, on the thread `versions.compute`."""

    versions: Versions
    record: Record
    _queue: deque[Waiting] = field(default_factory=deque)
    _settling: set[Waiting] = field(default_factory=set)
    _shadows: ShadowQueue = field(default_factory=ShadowQueue)
    _wakes: asyncio.Event = field(default_factory=asyncio.Event)
    _giving: asyncio.Task[None] | None = None
    _under_way: Background = field(default_factory=Background)
    _ending: bool = False

    async def predict(self, request: Request, waits_for_log: bool = False) -> Answered:
        """The answer to a request, once its log cannot be lost, or is on Kafka together with that
        of its shadows. A cancelled call is not computed.

        Raises:
            QueueFull: come back later, or do not wait for the log.
            NotServed: nobody answers such a request.
            VersionFailed: who should answer it could not.
            SpoolFull: the answer could not be logged; ask again, with the same request id.
        """
        ask = Ask(request, time.perf_counter(), waits_for_log)
        ahead = len(self._queue) + (len(self._settling) if waits_for_log else 0)
        if ahead >= CAPACITY:
            raise QueueFull(f"{CAPACITY} requests wait: ask again later")
        waiting = Waiting(ask, asyncio.Future())
        self._queue.append(waiting)
        self._wakes.set()
        return await waiting.answer

    async def run(self) -> None:
        """Until `end`, or cancelled."""
        while not self._ending:
            if not self._queue and not self._shadows:
                self._wakes.clear()
                await self._wakes.wait()
                continue
            if self._shadows.may_go(live_waits=bool(self._queue)):
                await self.all_given()  # what is heard comes first
                if self._shadows.may_go(live_waits=bool(self._queue)):
                    await self.compute_shadows()
            if self._queue:
                await self.compute_batch()

    async def compute_batch(self) -> None:
        """Computes all that waits, up to the most of a batch. Meanwhile the next one gathers."""
        await asyncio.sleep(0)  # what came with the first is on its way
        taken = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
        batch = [waiting for waiting in taken if not waiting.answer.done()]
        asks, begun = [waiting.ask for waiting in batch], time.perf_counter()
        try:
            found = await on(self.versions.compute, self.compute, asks)
        except Exception as error:  # noqa: BLE001 - whatever it was, its askers must hear it
            self.record.log.error("batch failed", error=repr(error), requests=len(batch))
            fail(batch, error)
            return
        self._shadows.earn(time.perf_counter() - begun)
        await self.all_given()  # so that at most two batches are under way
        self._giving = self._under_way.spawn(self.give(batch, found))

    async def all_given(self) -> None:
        """Returns once what was computed is logged and given."""
        if self._giving is not None:
            await self._giving

    def compute(self, asks: Sequence[Ask]) -> list[Found]:
        """On the compute thread, which alone loads and unloads: one snapshot for the batch."""
        return answer(self.versions.snapshot, asks, time.perf_counter)

    async def give(self, batch: Sequence[Waiting], found: Sequence[Found]) -> None:
        """Logs the answers of a batch, then gives them, and puts their shadows in the queue."""
        self.record.tell(failure for one in found for failure in failures(one))
        try:
            place = await self.record.keep(
                [one.logged for one in found if isinstance(one, Answered)]
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, its askers must hear it
            self.record.log.error("answers not logged", error=repr(error), requests=len(batch))
            for waiting, one in zip(batch, found, strict=True):
                settle(waiting, error if isinstance(one, Answered) else one)
            return
        for waiting, one in zip(batch, found, strict=True):
            if isinstance(one, Answered | VersionFailed) and one.later is not None:
                self.queue(one.later)
            if waiting.ask.waits_for_log:
                self.settle_on_kafka(waiting, one, place)
            else:
                settle(waiting, one)

    def settle_on_kafka(self, waiting: Waiting, one: Found, place: int) -> None:
        """Gives an answer once all up to a place of the spool is on Kafka. Nothing is kept of a
        call that is cancelled before."""
        logged = asyncio.wrap_future(self.record.answer_log.delivery.acknowledged(place))
        self._settling.add(waiting)
        logged.add_done_callback(lambda _: settle(waiting, one))
        waiting.answer.add_done_callback(lambda _: logged.cancel())
        waiting.answer.add_done_callback(lambda _: self._settling.discard(waiting))

    def queue(self, unheard: Unheard) -> None:
        """Shadows that nobody can be made to wait for."""
        if self._shadows.add(unheard):
            self._wakes.set()
        else:
            shed(unheard.routed, unheard.routed.later)

    async def compute_shadows(self) -> None:
        """The next shadows. What goes wrong with them concerns no request."""
        waiting, begun = self._shadows.take(), time.perf_counter()
        try:
            logs = await on(self.versions.compute, self.compute_unheard, waiting)
        except asyncio.CancelledError:
            self.lose(waiting, ENDS)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, it must stay where it arose
            self.lose(waiting, repr(error))
            return
        self._shadows.spend(time.perf_counter() - begun, len(waiting))
        self._giving = self._under_way.spawn(self.log_shadows(waiting, logs))

    async def log_shadows(self, waiting: Sequence[Unheard], logs: Sequence[Logged]) -> None:
        self.record.tell(failure for log in logs for failure in log.failed)
        kept = False
        try:
            await self.record.keep(logs)
            kept = True
        except Exception as error:  # noqa: BLE001 - whatever it was, it must stay where it arose
            self.record.log.error("shadows not logged", error=repr(error), requests=len(waiting))
        finally:  # also where the router ends meanwhile
            for unheard, log in zip(waiting, logs, strict=True):
                logged = [event.version for event in log.events] if kept else []
                known = {*logged, *(error.version for error in log.failed)}
                routed = unheard.routed
                shed(routed, [arm for arm in routed.later if arm.version not in known])

    async def end(self, running: asyncio.Task[None], seconds: float) -> None:
        """Ends `run`, which `running` does, once no more requests come. What it has begun is
        finished, but for no longer than that; all other shadows are given up."""
        self._ending = True
        self._wakes.set()
        end_by = time.monotonic() + seconds
        await asyncio.wait({running}, timeout=seconds)
        running.cancel()
        await self._under_way.wait(max(0.0, end_by - time.monotonic()))
        while waiting := self._shadows.take():
            self.lose(waiting, ENDS)
        await self._under_way.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def lose(self, waiting: Sequence[Unheard], why: str) -> None:
        """Gives shadows up."""
        self.record.log.error("shadows lost", error=why, requests=len(waiting))
        for unheard in waiting:
            shed(unheard.routed, unheard.routed.later)

    def compute_unheard(self, waiting: Sequence[Unheard]) -> list[Logged]:
        """On the compute thread."""
        return answer_unheard(waiting, time.perf_counter)


def failures(one: Found) -> Sequence[VersionFailed]:
    """The versions that could not compute an answer."""
    if isinstance(one, Answered):
        return one.logged.failed
    return [one] if isinstance(one, VersionFailed) else []


def settle(waiting: Waiting, one: Answered | Exception) -> None:
    """Gives an answer to who still waits for it."""
    if waiting.answer.done():
        return
    if isinstance(one, Answered):
        waiting.answer.set_result(one)
    else:
        waiting.answer.set_exception(one)


def fail(batch: Sequence[Waiting], error: Exception) -> None:
    for waiting in batch:
        settle(waiting, error)
