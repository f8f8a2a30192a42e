"""Peers that run in an environment of their own, which is made where it is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.drift.streams import Numbers

HERE = Path.home() / ".cache" / "driftgate" / "bench"
PROGRAM = Path(__file__).with_name("beside.py")
QUIET = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
LONGEST_S = 1200


class Absent(Exception):
    """A peer could not be installed or run; says why."""


@dataclass(frozen=True, slots=True)
class Beside:
    """packages: what it is installed from, with what it forgets to ask for. runs, events: how many,
    by how fast it is. is_set: it comes without settings, so that they are the benchmark's."""

    name: str
    version: str
    packages: tuple[str, ...]
    runs: int
    events: int
    is_set: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


BESIDE = (
    Beside("evidently", "0.7.21", ("pandas<3",), 20, 100_000),
    Beside("nannyml", "0.13.1", ("statsmodels",), 100, 1_000_000),
    Beside("alibi-detect", "0.13.0", (), 30, 30_000, is_set=True),
)

Streams = Mapping[str, tuple[Numbers, int | None]]
"""By name: numbers [runs, answers], and after how many they change."""


def alarms(peer: Beside, reference: Numbers, streams: Streams) -> dict[str, list[list[int]]]:
    """By stream; see `measures.Alarms`.

    Raises:
        Absent
    """
    python = installed(peer)
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "reference.npy", reference)
        for stream, (numbers, _) in streams.items():
            np.save(folder / f"{stream}.npy", numbers)
        plan = {stream: change for stream, (_, change) in streams.items()}
        (folder / "plan.json").write_text(json.dumps(plan))
        called([str(python), str(PROGRAM), peer.name, name], f"{peer.title} failed")
        found: dict[str, list[list[int]]] = json.loads((folder / "alarms.json").read_text())
        return found


def installed(peer: Beside) -> Path:
    """The interpreter of the peer's environment.

    Raises:
        Absent
    """
    home = HERE / f"{peer.name}-{peer.version}"
    python, done = home / "bin" / "python", home / "installed"
    if not done.exists():
        why = f"{peer.title} could not be installed"
        pinned = [f"{peer.name}=={peer.version}", *peer.packages]
        called([*uv(), "venv", "-q", "--clear", "--python", sys.executable, str(home)], why)
        called([*uv(), "pip", "install", "-q", "--python", str(python), *pinned], why)
        done.touch()
    return python


def uv() -> list[str]:
    """The one that `make install` used."""
    own = Path(sys.prefix).resolve().parent / ".uv" / "bin" / "uv"
    return [shutil.which("uv") or str(own)]


def called(command: list[str], failed: str) -> None:
    """
    Raises:
        Absent: it failed; with the last line that it said.
    """
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **QUIET, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{failed}: {error}") from None
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        raise Absent(f"{failed}: {last}")
