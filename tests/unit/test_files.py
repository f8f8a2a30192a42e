"""A file is replaced whole and durably, or not at all."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from driftgate.files import write_atomically

OLD, NEW = b"old", b"new" * 10_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    write_atomically(path, OLD)
    return path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def failing_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)


def only(path: Path) -> bool:
    return list(path.parent.iterdir()) == [path]


def test_the_new_content_takes_the_place_of_the_old(path: Path) -> None:
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW
    assert only(path)


def test_a_full_disk_leaves_the_old_content(path: Path, full_disk: None) -> None:
    with pytest.raises(OSError):
        write_atomically(path, NEW)
    assert path.read_bytes() == OLD
    assert only(path)


def test_a_disk_that_does_not_sync_leaves_the_old_content(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_fsync(monkeypatch)
    with pytest.raises(OSError, match="broken"):
        write_atomically(path, NEW)
    assert path.read_bytes() == OLD
    assert only(path)


def test_content_is_synced_before_its_name_and_the_folder_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fsync = os.fsync

    def noted(opened: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(opened).st_mode)
        seen.append("folder" if is_folder else "file")
        assert path.read_bytes() == (NEW if is_folder else OLD)
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noted)
    write_atomically(path, NEW)
    assert seen == ["file", "folder"]


KILLED_WHILE_SYNCING = """
import os, signal, sys
from pathlib import Path
from driftgate.files import write_atomically
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), b"new" * 10_000)
"""


def test_who_is_killed_leaves_the_old_content(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_SYNCING, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW


def test_writers_side_by_side_never_mix(path: Path) -> None:
    contents = [bytes([n]) * 100_000 for n in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: write_atomically(path, content), contents))
    assert path.read_bytes() in contents
    assert only(path)


def test_others_may_read_what_mode_and_umask_let_them(path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(path, NEW)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        write_atomically(path, NEW, mode=0o600)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
