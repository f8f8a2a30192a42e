"""Keeps a folder small into which `Artifacts.get_folder` fetches artifacts, as `<digest>` each."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

FETCHED = re.compile(r"[0-9a-f]{64}")
# What `Artifacts.get_folder` and `files.write_atomically` leave when they are killed.
LEFTOVER = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{32}|\..+\.[0-9a-f]{32}\.part")
# Another process may be at work on it; one that has added no file for so long is not, s.
LEFTOVER_SECONDS = 3600


def set_aside(cache: Path, keep: Collection[str]) -> list[Path]:
    """Takes the artifacts away whose digest is not in `keep`, each in one step, so that none is
    ever found in part. Returns where they lie now, for `remove`; an artifact that cannot be moved
    stays."""
    aside = []
    for path in entries(cache):
        if FETCHED.fullmatch(path.name) and path.name not in keep:
            with suppress(OSError):
                aside.append(path.rename(path.with_name(f"{path.name}.{uuid4().hex}")))
    return aside


def remove(paths: Iterable[Path]) -> None:
    """Frees their room, as far as that can be done."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def sweep(folder: Path) -> None:
    """Removes what killed processes left in a folder."""
    remove(path for path in entries(folder) if LEFTOVER.fullmatch(path.name) and is_old(path))


def entries(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from list(folder.iterdir())


def is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > LEFTOVER_SECONDS
    except FileNotFoundError:
        return False
