"""Keeps what versions said, counts it, and tells what they could not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from driftgate import metrics
from driftgate.health import Log
from driftgate.routing import Arm
from services.router.answer_log import AnswerLog
from services.router.answers import Logged, Routed, VersionFailed
from services.router.serving_counts import Counter
from services.router.spool import Encoded

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Record:
    """Used on the loop; the log is written on a thread of its own."""

    answer_log: AnswerLog
    counter: Counter
    log: Log
    _thread: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "log"))

    async def keep(self, logs: Sequence[Logged]) -> int:
        """Returns once the answers are logged, and counts them: see `AnswerLog.keep`.

        Raises:
            SpoolFull
        """
        events = [event for log in logs for event in log.events]
        place = await on(self._thread, self.answer_log.keep, events)
        now = time.monotonic()
        for log in logs:
            routing, key = log.routed.served.routing, log.routed.key
            for event in log.events:
                self.counter.count(routing, event.version, event.role, key, now)
        return place

    async def keep_feedback(self, record: Encoded) -> None:
        """Returns once it cannot be lost: see `AnswerLog.keep_feedback`.

        Raises:
            SpoolFull
        """
        await on(self._thread, self.answer_log.keep_feedback, record)

    def tell(self, failed: Iterable[VersionFailed]) -> None:
        """Counts what could not be computed, and logs it once for each version."""
        told: dict[tuple[str, int, str], VersionFailed] = {}
        now = time.monotonic()
        for error in failed:
            at_fault = (error.routing.model, error.version, error.role)
            metrics.FAILED.labels(*at_fault).inc()
            self.counter.count(
                error.routing, error.version, error.role, error.key, now, failed=True
            )
            told.setdefault(at_fault, error)
        for (model, version, role), error in told.items():
            self.log.error(
                "answers failed", model=model, version=version, role=role, error=str(error)
            )


def shed(routed: Routed, arms: Iterable[Arm]) -> None:
    """Counts shadows of a request that are given up."""
    for arm in arms:
        metrics.SHADOWS_SHED.labels(routed.served.routing.model, arm.version).inc()


async def on(executor: Executor, work: Callable[[A], B], given: A) -> B:
    """Runs work on a thread."""
    return await asyncio.get_running_loop().run_in_executor(executor, work, given)
