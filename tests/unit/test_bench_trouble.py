"""The drill makes the trouble that it says it made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.parts.trouble import Trouble
from deploy.local.plan import StackConfig


class Process:
    """One that sleeps, as a replica; `start` brings it up again."""

    name, number = "sleeper", 1

    def __init__(self) -> None:
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def pid(self) -> int | None:
        return self.running.pid if self.running and self.running.poll() is None else None


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    if process.running:
        process.running.kill()
        process.running.wait()


@pytest.fixture
def trouble(tmp_path: Path) -> Trouble:
    config = StackConfig.on_free_ports(tmp_path, "world")
    return Trouble(config, [], 0.0, 1, (), 0.0, tell=print)


def test_a_kill_counts_once_it_hit(trouble: Trouble, process: Process) -> None:
    process.start()
    assert trouble.kill(process.pid)
    assert process.running is not None and process.running.wait() == -9


def test_a_kill_that_finds_nobody_does_not_count(
    trouble: Trouble, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.parts.trouble.HIT_SECONDS", 0.5)
    assert not trouble.kill(process.pid)


def test_what_failed_is_told_and_the_rest_is_done_all_the_same(
    trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> bool:
        raise ConnectionError("no supervisor")

    plan = [(0.0, "one", fails), (0.0, "two", lambda: True), (0.0, "three", lambda: False)]
    monkeypatch.setattr(trouble, "plan", lambda: plan)
    trouble.run()
    assert trouble.made == {"two": 1}
    assert trouble.missing == ["one (ConnectionError: no supervisor)", "three"]
