"""`driftgate backtest --file`: what of a file is not read, or read otherwise than meant, is told."""

from __future__ import annotations

import json
import random
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
from services.console import backtest_cli, declarations

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
