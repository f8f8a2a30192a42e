"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator


def attempts(seconds: float) -> Iterator[None]:
    """One after the other, until the time is over. What is waited for needs the processor too:
    asking takes a fourth of one at most.

    >>> next(attempts(1))
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        begun = time.process_time()
        yield
        time.sleep(min(max(0.01, 3 * (time.process_time() - begun)), 0.5))
