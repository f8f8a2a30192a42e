"""Collects concurrent requests into batches, computes one while the one before is logged, and
answers what is logged: an answer that an app has is an answer that is on `inferences`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from driftgate import metrics
from driftgate.bus import Bus, Producer
from driftgate.codec import Codec
from driftgate.errors import Retriable
from driftgate.events import Inference
from driftgate.health import Log
from driftgate.routing import NotServed
from services.router.answers import Answered, Ask, VersionFailed, answer
from services.router.requests import Request
from services.router.versions import Versions

MAX_BATCH = 32
# How long a request may wait for company, s: a hundredth of what a full batch takes to compute.
COLLECT_SECONDS = 0.002
# Five seconds' worth of answers of one core; who comes later is better told than kept waiting.
CAPACITY = 1024

Found = Answered | NotServed | VersionFailed

A = TypeVar("A")
B = TypeVar("B")


class QueueFull(Retriable):
    """More requests wait than can be answered soon."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request and who waits for its answer."""

    ask: Ask
    answer: asyncio.Future[Answered]


@dataclass
class Predictor:
    """Answers requests. `versions.compute` is the one thread on which torch works; Kafka is
    waited for on another."""

    versions: Versions
    bus: Bus
    codec: Codec
    log: Log
    _queue: asyncio.Queue[Waiting] = field(default_factory=lambda: asyncio.Queue(CAPACITY))
    _writer: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "writer"))
    _producer: Producer | None = None

    async def predict(self, request: Request) -> Answered:
        """The answer to a request, once it is logged. A cancelled call is not computed.

        Raises:
            QueueFull: come back later.
            NotServed: nobody answers such a request.
            VersionFailed: who should answer it could not.
            BusUnavailable: the answer could not be logged; ask again, with the same request id.
        """
        waiting = Waiting(Ask(request, time.perf_counter()), asyncio.Future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise QueueFull(f"{CAPACITY} requests wait: ask again later") from None
        return await waiting.answer

    async def run(self) -> None:
        """Until cancelled."""
        logged: asyncio.Task[None] | None = None
        while True:
            batch = await self.collect()
            asks = [waiting.ask for waiting in batch]
            try:
                found = await on(self.versions.compute, self.compute, asks)
            except Exception as error:  # noqa: BLE001 - whatever it was, its askers must hear it
                self.log.error("batch failed", error=repr(error), requests=len(batch))
                fail(batch, error)
                continue
            if logged is not None:  # so that at most two batches are under way
                await logged
            logged = asyncio.create_task(self.give(batch, found))

    async def collect(self) -> list[Waiting]:
        """The next batch: what waits already, or comes within the time to collect."""
        batch = [await self._queue.get()]
        if self._queue.qsize() < MAX_BATCH - 1:
            await asyncio.sleep(COLLECT_SECONDS)
        while len(batch) < MAX_BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return [waiting for waiting in batch if not waiting.answer.done()]

    def compute(self, asks: Sequence[Ask]) -> list[Found]:
        """On the compute thread, which alone loads and unloads: one snapshot for the batch."""
        return answer(self.versions.snapshot, asks, time.perf_counter)

    async def give(self, batch: Sequence[Waiting], found: Sequence[Found]) -> None:
        """Logs the answers of a batch, then gives them."""
        self.tell(found)
        events = [event for one in found if isinstance(one, Answered) for event in one.events]
        try:
            await on(self._writer, self.write, events)
        except Exception as error:  # noqa: BLE001 - whatever it was, its askers must hear it
            self.log.error("answers not logged", error=repr(error), requests=len(batch))
            fail(batch, error)
            return
        for waiting, one in zip(batch, found, strict=True):
            settle(waiting, one)

    def write(self, events: Sequence[Inference]) -> None:
        """Returns once every event is acknowledged."""
        if not events:
            return
        if self._producer is None:
            self._producer = self.bus.producer()
        for event in events:
            self._producer.send(*self.codec.record(event))
        self._producer.flush()
        for event in events:
            metrics.ANSWERS.labels(event.model, event.version, event.role).inc()

    def tell(self, found: Sequence[Found]) -> None:
        """Counts what could not be computed, and logs it once a batch for each version."""
        errors: dict[tuple[str, int, str], VersionFailed] = {}
        for one in found:
            for error in failures(one):
                at_fault = (error.model, error.version, error.role)
                metrics.FAILED.labels(*at_fault).inc()
                errors.setdefault(at_fault, error)
        for (model, version, role), error in errors.items():
            self.log.error(
                "answers failed", model=model, version=version, role=role, error=str(error)
            )


def failures(one: Found) -> Sequence[VersionFailed]:
    """The versions that could not compute an answer."""
    if isinstance(one, Answered):
        return one.failed
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


async def on(executor: Executor, work: Callable[[A], B], given: A) -> B:
    """Runs work on a thread."""
    return await asyncio.get_running_loop().run_in_executor(executor, work, given)
