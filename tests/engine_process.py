"""The local ClickHouse as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

HOST = "127.0.0.1"


@contextmanager
def served(directory: Path, port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Answers when the block begins; killed at its end at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local.clickhouse", str(directory), "--port", str(port)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                httpx.get(f"http://{HOST}:{port}/ping").raise_for_status()
                break
            except httpx.TransportError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()
