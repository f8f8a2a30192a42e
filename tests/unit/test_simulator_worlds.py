"""What feedback a world's answers get, and which worlds are not played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS
from driftgate.labelled.rows import Row
from services.simulator.demo import EXAMPLE
from services.simulator.feedback_model import (
    AnsweredRequest,
    FeedbackProfile,
    arrival_order,
    feedback_on,
)
from services.simulator.lengths import Calendar
from services.simulator.schedule import build
from services.simulator.session import play
from services.simulator.world import START


def answered(number: int, output: str) -> AnsweredRequest:
    return AnsweredRequest(f"r{number}", 0, START, "a", output, 1)


def test_feedback_comes_late_on_a_share_of_answers_and_is_partly_wrong() -> None:
    profile = FeedbackProfile(share=0.4, wrong=0.1)
    requests = [answered(n, "a" if n % 4 else "b") for n in range(4000)]
    given = [feedback_on(one, "m", ["a", "b", "c"], profile, 7) for one in requests]
    found = [feedback for feedback in given if feedback]
    assert 0.36 < len(found) / 4000 < 0.44
    wrong = sum(feedback.label not in (None, "a") for feedback in found)
    assert 0.07 < wrong / len(found) < 0.13
    assert all(START < feedback.time <= START + 11 * DAY_MS for feedback in found)
    ratings = [feedback for feedback in found if feedback.kind == "rating"]
    assert ratings
    assert all(feedback.label is None for feedback in ratings)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("share", 1.2, "0 to 1"), ("wrong", -0.1, "0 to 1"), ("delay_hours", 0, "above 0")],
)
def test_an_impossible_profile_is_refused(name: str, value: float, wanted: str) -> None:
    with pytest.raises(BadConfig, match=f"{name} is {value:g}, expected {wanted}"):
        FeedbackProfile(**{name: value})


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
            profile=FeedbackProfile(),
            seed=1,
            console=Console(quiet=True),
        )


def test_a_days_feedback_arrives_out_of_order() -> None:
    due = [
        replace(feedback, time=START + n * 60_000)
        for n in range(300)
        if (feedback := feedback_on(answered(n, "a"), "m", ["a", "b"], FeedbackProfile(1.0), 7))
    ]
    arrived = arrival_order(due, 7)
    assert arrived != due
    assert sorted(arrived, key=lambda feedback: feedback.time) == due
