"""What a training took of its machine."""

from __future__ import annotations

import resource
import time


def spent(since: float) -> dict[str, float]:
    """Metrics that all recipes tell: processor time since `time.process_time()` was `since`, and
    the most memory that the process has held so far."""
    return {
        "cpu_seconds": time.process_time() - since,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
