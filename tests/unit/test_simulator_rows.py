"""The reader of labelled text that the simulator has of its own, and the bar that it declares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from driftgate.errors import BadConfig
from services.simulator import declare, schedule
from services.simulator.rows import Row, read_rows, with_length_slice

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


def test_rows_without_slices_get_one_to_protect() -> None:
    found = with_length_slice([Row("t" * (n % 9 + 1), "a") for n in range(100)])
    assert {row.slices["length"] for row in found} == {"short", "long"}


def test_the_gate_line_leaves_room_for_labels_that_nobody_can_know_yet() -> None:
    def asked(label: str) -> Row:
        return Row("text", label, None)

    known = tuple(asked("old") for _ in range(4))
    new = (*known[:3], asked("new"))
    world = schedule.World("w", known, (known,) * 7 + (new,) * 28, START)
    assert declare.unknowable(world) == 0.25
    assert declare.unknowable(replace(world, days=(known,) * 28)) == 0.0
