"""What people see of a played world where nothing can be redrawn."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from services.simulator import display
from services.simulator.display import Display
from services.simulator.play import Day


def test_off_a_terminal_each_week_is_one_line_with_what_was_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"trainer": "training desk@2: 97 %, 1 s left", "router": "ready"}
    monkeypatch.setattr(display, "activity", lambda url: said[url])
    out = io.StringIO()
    shown = Display("w", 14, 0.8, Console(file=out), {name: name for name in said}, {1: 0.75})
    for number in range(14):
        if number == 5:
            shown.ask()
        shown.day(Day(number, 60, 51, 2, 60 if number < 7 else 57))
    first, second = out.getvalue().splitlines()
    assert "week  1   420 answers  loop  85.0%  one-off  75.0%  gate 80%  v2" in first
    assert "gate 80% of 95.0% known" in second
    assert "left" in first
    assert first.endswith("  trainer: training desk@2")
    assert "trainer" not in second
