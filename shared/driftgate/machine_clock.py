"""The machine's clock. What decides does not read it: time comes as ticks (`system_clock`)."""

from __future__ import annotations

import time


def machine_ms() -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000
