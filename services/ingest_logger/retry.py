"""Work that is tried again while that may help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from driftgate.health import Log
from driftgate.runner import retrying

T = TypeVar("T")


class Retry(Protocol):
    """Runs work again, with back-off, after a Retriable error. Safe to share between threads.

    Raises:
        Retriable: what is away stayed away for longer than is waited for.
    """

    def __call__(self, work: Callable[[], T], /) -> T: ...


def retry_of(log: Log) -> Retry:
    """Logs each failed attempt."""
    return retrying(log)
