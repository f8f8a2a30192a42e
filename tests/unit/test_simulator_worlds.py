"""What people say of a world's answers, and which worlds are not played."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS
from driftgate.labelled.rows import Row
from services.simulator import people
from services.simulator.demo import EXAMPLE
from services.simulator.lengths import Calendar
from services.simulator.schedule import build
from services.simulator.session import play
from services.simulator.world import START


def test_people_give_late_and_partly_wrong_feedback_on_a_share() -> None:
    habits = people.Habits(share=0.4, wrong=0.1)
    asked = [people.Answered(f"r{n}", START, "a", "a" if n % 4 else "b") for n in range(4000)]
    given = [people.feedback(one, "m", ["a", "b", "c"], habits, 7) for one in asked]
    found = [event for event in given if event]
    assert 0.36 < len(found) / 4000 < 0.44
    wrong = sum(event["label"] not in (None, "a") for event in found)
    assert 0.07 < wrong / len(found) < 0.13
    assert all(START < event["time"] <= START + 11 * DAY_MS for event in found)
    ratings = [event for event in found if event["kind"] == "rating"]
    assert ratings
    assert all(event["label"] is None for event in ratings)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("share", 1.2, "0 to 1"), ("wrong", -0.1, "0 to 1"), ("delay_hours", 0, "above 0")],
)
def test_habits_that_nobody_has_are_refused(name: str, value: float, wanted: str) -> None:
    with pytest.raises(BadConfig, match=f"{name} is {value:g}, expected {wanted}"):
        people.Habits(**{name: value})


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
            habits=people.Habits(),
            seed=1,
            console=Console(quiet=True),
        )


def test_a_days_feedback_arrives_out_of_order() -> None:
    due = [{"time": START + n * 60_000} for n in range(300)]
    assert people.sending_order(due, 7) != due
    assert sorted(people.sending_order(due, 7), key=lambda e: e["time"]) == due
