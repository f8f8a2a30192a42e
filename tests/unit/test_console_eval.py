"""What CI is told by `driftgate eval`. The gate on real versions: tests/integration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from driftgate.engines import Prediction
from driftgate.errors import Corrupt
from driftgate.scaffold import writing
from services.console import eval_cli
from services.evaluator import offline

LABELS = ["delivery", "refund"]


class Keywords:
    """Answers by keyword, or with one label only where the folder says so."""

    def __init__(self, *_: Any) -> None:
        self.spoilt: dict[str, bool] = {}

    def load(self, name: str, folder: Path) -> None:
        if not folder.is_dir():
            raise Corrupt(f"version {folder}: labels.json is missing")
        self.spoilt[name] = (folder / "spoilt").exists()

    def of(self, task: str, base: str) -> Keywords:
        return self

    def predict_many(self, asked: dict[str, list[str]]) -> dict[str, list[Prediction]]:
        return {name: [self.answer(name, text) for text in texts] for name, texts in asked.items()}

    def answer(self, name: str, text: str) -> Prediction:
        words = ("parcel", "order", "courier")
        delivery = self.spoilt[name] or any(word in text.lower() for word in words)
        return Prediction(LABELS[not delivery], 0.9, {}, 3)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model repo, an adapter beside its held-out rows, and a spoilt one without any."""
    monkeypatch.setattr(offline, "Engines", Keywords)
    declaration = writing.Declaration("my-model", LABELS)
    writing.write(tmp_path / "repo", declaration, writing.STARTER)
    for name in ("good", "spoilt"):
        (tmp_path / name).mkdir()
    (tmp_path / "spoilt" / "spoilt").touch()
    rows = [{"text": f"my parcel {n}", "label": "delivery"} for n in range(50)]
    rows += [{"text": f"my money {n}", "label": "refund"} for n in range(50)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "good" / "test.jsonl").write_text(lines)
    return tmp_path


def ask(home: Path, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(eval_cli.evaluate)
    return CliRunner().invoke(app, [str(home / "repo"), *arguments])


def test_an_exported_version_passes_without_any_option(home: Path) -> None:
    result = ask(home, str(home / "good"))
    assert result.exit_code == 0, result.output
    assert "without a champion" in result.output
    assert f"held-out rows: {home / 'good' / 'test.jsonl'}" in result.output.replace("\n", "")


def test_a_worse_version_fails_and_junit_says_so(home: Path) -> None:
    rows = str(home / "good" / "test.jsonl")
    junit = home / "reports" / "gate.xml"
    against = ("--champion", str(home / "good"), "--test", rows, "--junit", str(junit))
    result = ask(home, str(home / "spoilt"), *against)
    assert result.exit_code == 1, result.output
    assert "<failure" in junit.read_text()


def test_without_held_out_rows_nothing_passes_and_the_way_to_some_is_told(home: Path) -> None:
    (home / "good" / "test.jsonl").unlink()
    result = ask(home, str(home / "good"))
    assert result.exit_code == 2
    assert "--test FILE.jsonl" in result.output and "driftgate export" in result.output


def test_rows_that_are_named_come_before_those_beside_the_adapter(home: Path) -> None:
    few = home / "few.jsonl"
    few.write_text('{"text": "my parcel", "label": "delivery"}\n')
    result = ask(home, str(home / "good"), "--test", str(few))
    assert result.exit_code == 2
    assert "1 held-out cases, at least 80" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone"], "labels.json is missing"),
        (["good", "--test", "gone.jsonl"], "cannot be read as UTF-8 text"),
        (["good", "--junit", "."], "Is a directory"),
    ],
)
def test_what_cannot_be_used_is_status_2_not_a_failed_gate(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(home)
    result = ask(home, *arguments)
    assert result.exit_code == 2, result.output
    assert says in " ".join(result.stderr.split())


def test_only_variables_of_judges_matter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTGATE_KAFKA_PORT", "of a stack")
    assert ask(home, str(home / "good")).exit_code == 0
    monkeypatch.setenv("DRIFTGATE_JUDGE_TOKN", "x")
    result = ask(home, str(home / "good"))
    assert result.exit_code != 0
    assert "did you mean 'DRIFTGATE_JUDGE_TOKEN'" in " ".join(result.stderr.split())


def test_every_option_is_in_the_help() -> None:
    app = typer.Typer()
    app.command()(eval_cli.evaluate)
    said = CliRunner(env={"COLUMNS": "120", "TERM": "dumb"}).invoke(app, ["--help"]).output
    for option in ("--champion", "--test", "--junit", "MODEL_REPO", "ADAPTER_DIR"):
        assert option in said
