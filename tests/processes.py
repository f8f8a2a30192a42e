"""Processes of this machine, as tests look for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil


def working_in(folder: Path) -> Iterator[psutil.Process]:
    """Processes with a working folder inside; `info` has their names."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                yield process
