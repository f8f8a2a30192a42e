"""Which worlds are not played."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.labelled.rows import Row
from services.simulator.demo import EXAMPLE
from services.simulator.lengths import Calendar
from services.simulator.profiles import SHIPPED
from services.simulator.schedule import build
from services.simulator.session import play


def test_a_world_with_a_label_that_the_model_does_not_know_is_not_played(tmp_path: Path) -> None:
    found = [Row(f"text {n}", f"refund{n % 3}") for n in range(2000)]
    world = build("w", found, Calendar())
    says = "'refund0' is not among task.labels of .*model.yaml, nor are 2 others: .*'refund'"
    with pytest.raises(BadConfig, match=says):
        play(
            EXAMPLE,
            world,
            Settings(kafka="127.0.0.1:1", state_dir=tmp_path),
            tmp_path / "report.html",
            users=SHIPPED.users,
            seed=1,
            console=Console(quiet=True),
        )
