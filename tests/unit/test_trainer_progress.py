"""What people see of a training."""

from __future__ import annotations

import pytest

from driftgate.health import Health, log_for
from services.trainer import progress
from services.trainer.progress import Progress
from services.trainer.worker import Step


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The machine's clock, moved by hand."""
    at = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: at[0])
    return at


def test_share_and_time_left_are_told_and_count_down_between_steps(wall: list[float]) -> None:
    health = Health("trainer")
    told = Progress("triage@3", wall[0], log_for("trainer"), health)
    told(Step(0.0, "starting", 77))
    assert health.detail["activity"] == "training triage@3: 0 %"
    wall[0] += 8
    told(Step(0.4, "epoch 2 of 3", 77))
    assert health.detail["activity"] == "training triage@3: 40 %, 12 s left"
    wall[0] += 5
    told(Step(0.4, "epoch 2 of 3", 77))
    assert health.detail["activity"] == "training triage@3: 40 %, 7 s left"
    assert health.body()["worker"] == 77


def test_a_worker_that_starts_anew_does_not_take_progress_back(wall: list[float]) -> None:
    health = Health("trainer")
    told = Progress("triage@3", wall[0], log_for("trainer"), health)
    for share, pid in [(0.7, 77), (0.0, 78), (0.8, 78)]:
        wall[0] += 1
        told(Step(share, "", pid))
        assert health.detail["progress"] >= 0.7
    assert health.detail["worker"] == 78
