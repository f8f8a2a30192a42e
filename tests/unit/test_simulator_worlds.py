"""Worlds: what is read, when it happens, what people say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS
from services.simulator import declare, people, schedule
from services.simulator.demo import EXAMPLE
from services.simulator.rows import Row, read_rows, with_length_slice
from services.simulator.session import play

WEEK = 7 * DAY_MS
START = schedule.START


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "world.csv"
    path.write_text(text)
    return path


def test_columns_are_text_label_time_subject_and_slices(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "text,label,time,language,subject\nhello,a,2026-01-05,en,c1\nhola,b,2026-01-05T10:00:00Z,es,c2\n",
    )
    first, second = read_rows(path)
    assert (first.time, first.subject, first.slices) == (START, "c1", {"language": "en"})
    assert second.time == START + 10 * 3_600_000


def test_banking_style_columns_are_taken(tmp_path: Path) -> None:
    (row,) = read_rows(csv(tmp_path, "text,category\nwhere is my card,card_arrival\n"))
    assert (row.label, row.time) == ("card_arrival", None)


def test_jsonl_and_parquet_say_the_same_as_csv(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"text": ["x", "y"], "label": ["a", "b"], "time": ["2026-01-05"] * 2})
    frame.to_csv(tmp_path / "w.csv", index=False)
    frame.to_json(tmp_path / "w.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "w.parquet")
    found = [read_rows(tmp_path / name) for name in ("w.csv", "w.jsonl", "w.parquet")]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("txt,label\nhello,a\n", "column `text` is missing"),
        ("text,time\nhello,2026-01-05\n", "column `label` is missing"),
        ("text,label\nhello,a\n,b\n", "world.csv:3: column `text` is empty"),
        ("text,label,time\nhello,a,yesterday\n", "world.csv:2: column `time` is 'yesterday'"),
    ],
)
def test_a_bad_file_is_refused_with_place_and_expectation(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        read_rows(csv(tmp_path, text))
    assert says in str(caught.value)


def rows(count: int, labels: int = 5, dated_weeks: int | None = None) -> list[Row]:
    return [
        Row(
            f"text {n}",
            f"label {n % labels}",
            START + n * dated_weeks * WEEK // count if dated_weeks else None,
        )
        for n in range(count)
    ]


def test_dated_rows_keep_their_dates() -> None:
    found = schedule.build("w", rows(5600, dated_weeks=28), schedule.Calendar(per_day=1000))
    assert found.start == START + 4 * WEEK
    assert len(found.days) == 168
    for number, day in enumerate(found.days):
        begin = found.start + number * DAY_MS
        assert all(begin <= (row.time or 0) < found.end_of(number) for row in day)


def test_years_are_mapped_onto_the_played_weeks() -> None:
    found = schedule.build("w", rows(5600, dated_weeks=300), schedule.Calendar(per_day=1000))
    assert sum(map(len, found.days)) + len(found.launch) == 5600
    assert all(found.days)


def test_labels_enter_over_the_weeks_where_there_are_no_dates() -> None:
    found = schedule.build("w", rows(9000, labels=20), schedule.Calendar())
    at_launch = {row.label for row in found.launch}
    assert len(at_launch) == 12
    last_weeks = {row.label for day in found.days[-42:] for row in day}
    assert len(last_weeks) == 20
    assert found == schedule.build("w", rows(9000, labels=20), schedule.Calendar())


def test_traffic_is_thinned_to_what_was_asked() -> None:
    found = schedule.build("w", rows(40_000, dated_weeks=28), schedule.Calendar(per_day=40))
    assert 38 <= sum(map(len, found.days)) / 168 <= 42


def test_too_few_rows_are_told() -> None:
    with pytest.raises(BadConfig, match="at least 500"):
        schedule.build("w", rows(30), schedule.Calendar())


def test_rows_without_slices_get_one_to_protect() -> None:
    found = with_length_slice(rows(100))
    assert {row.slices["length"] for row in found} == {"short", "long"}


def test_people_give_late_and_partly_wrong_feedback_on_a_share() -> None:
    habits = people.Habits(share=0.4, wrong=0.1)
    asked = [people.Asked(f"r{n}", START, "a", "a" if n % 4 else "b") for n in range(4000)]
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
    found = [replace(row, label=f"refund{n % 3}") for n, row in enumerate(rows(2000))]
    world = schedule.build("w", found, schedule.Calendar())
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


def test_the_gate_line_leaves_room_for_labels_that_nobody_can_know_yet() -> None:
    def asked(label: str) -> Row:
        return Row("text", label, None)

    known = tuple(asked("old") for _ in range(4))
    new = (*known[:3], asked("new"))
    world = schedule.World("w", known, (known,) * 7 + (new,) * 28, START)
    assert declare.unknowable(world) == 0.25
    assert declare.unknowable(replace(world, days=(known,) * 28)) == 0.0
