"""Work that is tried again while that may help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from driftgate import metrics
from driftgate.errors import Retriable
from driftgate.health import Log

# What is away for longer crashes the process, which is then started anew and waits again.
RETRY_SECONDS = 120.0

T = TypeVar("T")


class Retry(Protocol):
    """Runs work again, with back-off and jitter, after a Retriable error. Safe to share between
    threads.

    Raises:
        Retriable: what is away stayed away for longer than is waited for.
    """

    def __call__(self, work: Callable[[], T], /) -> T: ...


def retry_of(log: Log) -> Retry:
    """Counts and logs each failed attempt."""

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        metrics.RETRIES.labels(type(error).__name__).inc()
        log.warning("retrying", attempt=state.attempt_number, error=str(error))

    return Retrying(
        retry=retry_if_exception_type(Retriable),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(RETRY_SECONDS),
        before_sleep=tell,
        reraise=True,
    )
