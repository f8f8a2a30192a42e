"""Stacks that start side by side, in one process or in several, never draw the same port."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploy.local import plan
from deploy.local.plan import free_ports

DRAWS_ALL = """
import sys
from deploy.local import plan
plan.FREE_PORTS = range(int(sys.argv[1]), int(sys.argv[2]))
print(*plan.free_ports(len(plan.FREE_PORTS)))
"""


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "FREE_PORTS", few := range(19_000, 19_020))
    first, rest = free_ports(5), free_ports(len(few))
    assert not set(first) & set(rest)


def test_a_port_of_a_process_that_runs_is_given_to_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "FREE_PORTS", few := range(19_100, 19_400))
    ours = free_ports(20)
    command = [sys.executable, "-c", DRAWS_ALL, str(few.start), str(few.stop)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = {int(port) for port in said.split()}
    assert ours
    assert theirs
    assert not set(ours) & theirs
