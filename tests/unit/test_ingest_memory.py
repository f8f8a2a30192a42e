"""How ingestion keeps memory. In a process of its own, since it is for a whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, pyarrow
from services.ingest_logger import memory
memory.keep_for_reuse()
taken = [ctypes.CDLL(None).mallopt(*option) for option in memory.MALLOPT.items()]
print(pyarrow.default_memory_pool().backend_name, *taken)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_the_c_library_takes_what_it_is_told() -> None:
    assert printed(PROGRAM).split() == ["system", "1", "1", "1"]


GIVING_BACK = """
import psutil
from services.ingest_logger import memory
memory.keep_for_reuse()
held = psutil.Process().memory_info
blocks = [bytearray(100_000) for _ in range(1000)]
del blocks
kept = held().rss
memory.give_back()
print(kept - held().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_what_is_kept_and_not_used_can_be_given_back() -> None:
    assert int(printed(GIVING_BACK)) > 50_000_000


def printed(program: str) -> str:
    """What a program writes, in a process of its own."""
    return subprocess.check_output([sys.executable, "-c", program], text=True)
