"""How this process keeps memory: it makes and drops the same amounts again and again."""

from __future__ import annotations

import ctypes
import gc
import sys

import pyarrow as pa

# Clients of Kafka make objects by the ten thousand, none of them in a cycle. To look for cycles
# after each 700, as is usual, would take a fifth of the time.
OBJECTS_BEFORE_GC = 20_000
# Options of glibc's mallopt(3). By itself it keeps a heap for each thread, and gives large blocks
# back to the system only to ask for them again: here that was a tenth of the processor time, and
# a fifth more memory.
HEAPS, KEPT, LARGE = -8, -1, -3
MALLOPT = {HEAPS: 2, KEPT: 256 * 2**20, LARGE: 32 * 2**20}  # it takes no LARGE beyond this
# How often what is kept and not in use goes back to the system.
GIVE_BACK_SECONDS = 30.0


def keep_for_reuse() -> None:
    """Once, before much is allocated."""
    gc.set_threshold(OBJECTS_BEFORE_GC)
    pa.set_memory_pool(pa.system_memory_pool())  # the decoder's memory comes from there too
    for option, value in MALLOPT.items():
        call("mallopt", option, value)


def give_back() -> None:
    """What is kept and not in use; the next poll takes what it needs anew."""
    call("malloc_trim", 0)


def call(name: str, *arguments: int) -> None:
    """Of the C library, if it has it."""
    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)):
        function(*arguments)
