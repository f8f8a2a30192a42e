"""Files that a crash cannot tear."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replaces the content of a file. When it returns, the new content survives a power cut.

    Until then, whatever fails and whoever is killed, `path` holds its old content or the new,
    never a part. Several processes may write the same path: one of them is the last. A killed
    writer leaves a file `.NAME.….part` beside it, which nothing reads.

    Args:
        mode: permissions of the file, less the umask.

    Raises:
        OSError: the folder is missing or closed to us, or the disk is full or broken.
    """
    beside = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(opened, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move_durably(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def move_durably(source: Path, target: Path) -> None:
    """Renames a synced file, or a folder of synced files, within one file system."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Waits until nobody else is in such a block on this folder, in this process or another."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
