"""Ctrl-C on `make test` leaves nothing running, whatever the workers had started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import working_in

pytestmark = [pytest.mark.stack, pytest.mark.long]
STACK_TEST = Path(__file__).parents[1] / "integration" / "test_promoter.py"  # takes a minute
DEADLINE_S = 120
# What a shell starts in the background ignores interrupts, and so would all that it starts.
HEEDING = """
import signal, sys, pytest
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_an_interrupted_run_ends_the_stacks_of_its_workers(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HEEDING, "-n", "1", f"--basetemp={tmp_path}", str(STACK_TEST)]
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    with subprocess.Popen(command, env=alone, stdout=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + DEADLINE_S
        while "raylet" not in [process.info["name"] for process in working_in(tmp_path)]:
            assert run.poll() is None
            assert time.monotonic() < deadline, "no stack was started"
        run.send_signal(signal.SIGINT)
        assert run.wait(DEADLINE_S) == pytest.ExitCode.INTERRUPTED
    assert list(working_in(tmp_path)) == []
