"""How this process keeps memory: it allocates and frees the same amounts again and again."""

from __future__ import annotations

import ctypes
import gc
import sys
import time

import pyarrow as pa

# Clients of Kafka make objects by the ten thousand, none of them in a cycle. To look for cycles
# after each 700, Python's default, would take a fifth of the time.
OBJECTS_BEFORE_GC = 20_000
# Options of glibc's mallopt(3). By default it keeps a heap for each thread, and gives large blocks
# back to the system only to ask for them again: here that was a tenth of the processor time, and
# a fifth more memory.
HEAPS, KEPT, LARGE = -8, -1, -3
MALLOPT = {HEAPS: 2, KEPT: 256 * 2**20, LARGE: 32 * 2**20}  # the largest LARGE that it takes
# Pause between two calls that give unused memory back to the system.
GIVE_BACK_SECONDS = 30.0


def keep_for_reuse() -> None:
    """Once, before much is allocated."""
    gc.set_threshold(OBJECTS_BEFORE_GC)
    pa.set_memory_pool(pa.system_memory_pool())  # the decoder's memory comes from there too
    for option, value in MALLOPT.items():
        call("mallopt", option, value)


def give_back() -> None:
    """Returns kept memory that is not in use to the system; the next poll takes what it needs."""
    call("malloc_trim", 0)


class GiveBack:
    """Without it the process would hold for good what its largest poll needed."""

    def __init__(self) -> None:
        self._at = 0.0

    def now_and_then(self) -> None:
        if time.monotonic() >= self._at:
            self._at = time.monotonic() + GIVE_BACK_SECONDS
            give_back()


def call(name: str, *arguments: int) -> None:
    """Calls a function of the C library, if there is one of this name."""
    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)):
        function(*arguments)
