"""`driftgate backtest --file`: what is not read, or read otherwise than meant, is told."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from labelled_files import xlsx
from typer.testing import CliRunner, Result

from driftgate.config import Settings
from driftgate.errors import BusUnavailable
from services.console import backtest_cli

YAML = """model: m
task: {kind: text-classification, labels: [a, b]}
base: {name: all-MiniLM-L6-v2}
monitors:
  - {name: errors, signal: quality, value: error, slices: [all, lang=es]}
  - {name: near, signal: input, value: low_similarity}
false_alarms: {per_million: 150}
gate: {min_accuracy: 0.75}
rollout:
  stages: [{name: full, percent: 100}]
"""
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROWS, REFERENCE = 300, 100

Row = dict[str, Any]
Change = Callable[[int, Row], Row]


def rows() -> list[Row]:
    rng = random.Random(1)
    return [
        {
            "time": f"{BEGIN + timedelta(minutes=20 * at):%Y-%m-%dT%H:%M}",
            "output": "ab"[at % 2],
            "expected": "ab"[(at + (rng.random() < 0.1)) % 2],
            "similarity": round(rng.random(), 2),
            "words": at % 7,
            "lang": "es" if at % 3 else "en",
        }
        for at in range(ROWS)
    ]


def odd(name: str, cell: str, every: int = ROWS) -> Change:
    """Another cell in a column, now and then."""
    return lambda at, row: row | {name: cell if at % every == 0 else row[name]}


def without(row: Row, name: str) -> Row:
    return {key: value for key, value in row.items() if key != name}


def csv_of(found: list[Row]) -> str:
    lines = [",".join(found[0]), *(",".join(map(str, row.values())) for row in found)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Result]:
    """Replays a text, or rows that are changed so."""
    app = typer.Typer()
    app.command()(backtest_cli.backtest)
    (tmp_path / "model.yaml").write_text(YAML)

    def typed(what: str | Change, *words: str, status: int = 0, monitors: str = YAML) -> Result:
        text = what if isinstance(what, str) else csv_of([what(*one) for one in enumerate(rows())])
        (tmp_path / "answers.csv").write_text(text)
        (tmp_path / "model.yaml").write_text(monitors)
        given = ["m", "--monitors", "model.yaml", "--file", "answers.csv", "--reference", "100"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            found = CliRunner().invoke(app, [*given, *words], env={"COLUMNS": "200"})
        assert found.exit_code == status, found.output
        return found

    return typed


Command = Callable[..., Result]


def notes(result: Result) -> str:
    return "\n".join(json.loads(result.stdout)["notes"])


def ragged(every: int) -> str:
    lines = csv_of(rows()).splitlines()
    return "\n".join(line + ",oops" * (at % every == 2) for at, line in enumerate(lines))


# ---------------------------------------------------------------- rows that are left out


def test_rows_that_do_not_fit_are_told_and_many_of_them_refuse_the_file(command: Command) -> None:
    found = command(ragged(10), "--json")
    assert json.loads(found.stdout)["answers"] == 170
    assert "left out, 30 rows: has other than 6 fields" in notes(found)
    refused = command(ragged(3), status=2).stderr
    assert "100 of 300 rows cannot be used, mostly since has other than 6 fields" in refused
    assert "answers.csv, line 3" in refused


def test_sheets_that_are_not_read_are_told(command: Command, tmp_path: Path) -> None:
    sheet = [list(rows()[0]), *(list(row.values()) for row in rows())]
    book = tmp_path / "answers.xlsx"
    book.write_bytes(xlsx({"May": sheet, "June": [row[:-1] for row in sheet[:50]]}))
    assert "not read: 'June'" in notes(command("", "--file", str(book), "--json"))


# ---------------------------------------------------------------- times


def test_a_date_and_a_time_of_day_beside_it_are_one(command: Command) -> None:
    def divided(_: int, row: Row) -> Row:
        date, clock = row["time"].split("T")
        return {"date": date} | row | {"time": clock}

    found = command(divided, "--json")
    assert "column time is time of day" in notes(found)
    whole = json.loads(command(lambda _, row: row, "--json").stdout)
    assert {**json.loads(found.stdout), "notes": []} == {**whole, "notes": []}


def test_what_is_dated_later_than_clocks_go_wrong_is_left_out(command: Command) -> None:
    found = command(odd("time", "2062-01-01T00:00"), "--json")
    assert json.loads(found.stdout)["until"] < 1_768_000_000_000
    assert "left out, 1 row: its time lies in the future (answers.csv, line 2)" in notes(found)
    told = command(lambda at, row: row | {"told": "2062-01-01" if at == 299 else ""}, "--json")
    assert json.loads(told.stdout)["until"] < 1_768_000_000_000
    assert "1 rows: told is no time, or lies in the future, so the answer's own" in notes(told)
    refused = command(odd("time", "2062-01-01T00:00", 2), status=2).stderr
    assert "150 of 300 rows cannot be used, mostly since its time lies in the future" in refused
    assert "say by --dates how they are written" in refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty; expected rows of two columns or more"),
        ("\n".join(["time"] * 9), "only one column is found in it; expected two or more"),
        (re.sub(r"T(\d\d:\d\d)", r" \1 CEST", csv_of(rows())), "the offset instead (+0530)"),
    ],
)
def test_advice_names_no_option_of_another_command(command: Command, text: str, said: str) -> None:
    refused = command(text, status=2).stderr
    assert said in refused
    assert "--time" not in refused
    assert "label" not in refused


def test_the_encoding_can_be_said(command: Command) -> None:
    found = command(csv_of(rows()), "--encoding", "cp1252", "--json")
    assert json.loads(found.stdout)["answers"] == 200
    assert "no such encoding" in command("a,b\n1,2\n", "--encoding", "cp0", status=2).stderr


# ---------------------------------------------------------------- what is not watched


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _, row: without(row, "expected"), "errors (all, lang=es): no reference for error"),
        (lambda at, row: row | {"expected": row["expected"] * (at >= REFERENCE)}, "errors (all"),
        (lambda _, row: without(row, "similarity"), "near (all): no reference for low_similarity"),
    ],
)
def test_a_monitor_that_has_no_reference_is_told(
    command: Command, change: Change, said: str
) -> None:
    assert f"not watched: {said}" in notes(command(change, "--json"))
    assert "not watched" not in notes(command(lambda _, row: row, "--json"))


def test_what_is_told_after_the_last_answer_shows_no_silence(command: Command) -> None:
    def told(at: int, row: Row) -> Row:
        return row | {"told": f"{BEGIN + timedelta(days=at == 299 and 40, minutes=20 * at):%FT%R}"}

    found = json.loads(command(told, "--json").stdout)
    assert found["unwatched"] == []
    assert found["until"] > 1_769_000_000_000  # what is told then counts still


# ---------------------------------------------------------------- what columns are


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (odd("words", "n/a"), ["features: similarity, words", "1 rows: words is no finite number"]),
        (odd("similarity", "0·5"), ["features: similarity, words"]),
        (odd("similarity", "-", 2), ["features: similarity, words", "150 rows: similarity is no"]),
        (odd("words", "few", 2), ["slices: words, lang"]),
        (lambda at, row: row | {"note": at or "x"}, ["features: similarity, words, note"]),
        (lambda at, row: row | {"note": f"x{at}"}, ["not used: note (300 values in 300 cells)"]),
        (lambda _, row: row | {"note": ""}, ["not used: note (empty)"]),
        (lambda at, row: row | {"lang": 1 + at % 2}, ["slices: lang", "did you mean 'lang="]),
        (lambda at, row: row | {"lang": f"es{at % 180}"}, ["slices: lang"]),
    ],
)
def test_what_a_column_is_taken_for(command: Command, change: Change, said: list[str]) -> None:
    found = notes(command(change, "--json"))
    assert all(words in found for words in said), found


@pytest.mark.parametrize("name", ["predicted_label", "prediction", "predicted"])
def test_the_label_beside_a_prediction_is_the_truth(command: Command, name: str) -> None:
    def named(_: int, row: Row) -> Row:
        new = {"output": name, "expected": "label"}
        return {new.get(key, key): value for key, value in row.items()}

    found = notes(command(named, "--json"))
    assert f"column {name} is output\ncolumn label is expected" in found
    assert "for the answer" not in found
    alone = notes(command(lambda at, row: without(named(at, row), name), "--json"))
    assert "column label is taken for the answer, since there is no other" in alone


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (odd("expected", "A", 5), "line 2: expected is 'A': valid are a, b"),
        (odd("output", "A", 5), "line 2: output is 'A': valid are a, b"),
    ],
)
def test_labels_that_the_model_has_not(command: Command, change: Change, said: str) -> None:
    assert said in command(change, status=2).stderr


@pytest.mark.parametrize("words", [(), ("--column", "told=words")])
def test_a_time_of_telling_that_is_none_is_counted(command: Command, words: tuple[str]) -> None:
    told = notes(command(lambda _, row: row | {"told": "later"}, *words, "--json"))
    assert "300 rows: told is no time, or lies in the future, so" in told


# ---------------------------------------------------------------- what is said beside the file


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dates", "foo"), "--dates foo: expected dmy, mdy, ymd"),
        (("--incident", "2020-01-01..2020-02-01"), "from 2026-01-02 09:20 to 2026-01-05 03:40 UTC"),
        (("--incident", "2026-01-01T05:00..2026-01-01T08:00"), "from 2026-01-02 09:20"),
        (("--incident", "2026-01-01T05:00"), "from 2026-01-02 09:20"),
        (("--reference", "300"), "expected a number of rows from 1 to 299"),
    ],
)
def test_what_cannot_be_asked_of_a_file(
    command: Command, words: tuple[str, ...], said: str
) -> None:
    assert said in command(lambda _, row: row, *words, status=2).stderr


def test_a_file_of_one_answer_says_that_more_are_needed(command: Command) -> None:
    assert "holds 1 answer, expected two or more" in command(csv_of(rows()[:1]), status=2).stderr


def test_without_a_system_a_whole_model_yaml_is_asked_for(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> Settings:
        raise BusUnavailable("Kafka does not answer")

    monkeypatch.setattr(backtest_cli, "settings", away)
    part = "monitors:\n  - {name: errors, signal: quality, value: error}\n"
    found = command(lambda _, row: row, status=3, monitors=part).stderr
    assert "a whole model.yaml as --monitors needs no system" in found
