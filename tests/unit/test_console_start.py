"""What `driftgate` imports, and that its list of commands is true."""

from __future__ import annotations

import subprocess
import sys
from inspect import cleandoc
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.console import cli

REPO = Path(__file__).parents[2] / "examples" / "support-triage"
HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "pandas",
    "pyarrow",
    "kafka",
    "clickhouse_connect",
    "ray",
    "grpc",
    "requests",
)
RUN = """
import sys
from services.console.cli import app
try:
    app(sys.argv[1:])
finally:
    print(*(set(sys.modules) & {names}), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["check", str(REPO)], ["demo", "--help"]])
def test_help_and_check_import_no_client_and_no_model(words: list[str]) -> None:
    program = RUN.format(names=set(HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, ""), done.stdout


@pytest.mark.parametrize("entry", cli.COMMANDS, ids=lambda entry: entry.name)
def test_the_list_of_commands_says_what_their_own_help_says(entry: cli.Entry) -> None:
    own = cleandoc(cli.load(entry).help).partition("\n\n")[0].replace("\n", " ")
    assert own == entry.says


def test_help_lists_every_command_and_the_exit_statuses() -> None:
    said = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "200"}).output
    assert all(f" {entry.name} " in said for entry in cli.COMMANDS)
    assert "3 the system did not answer" in said


def test_a_group_has_its_commands_and_a_typo_is_told() -> None:
    assert "replay" in CliRunner().invoke(cli.app, ["dlq", "--help"]).output
    typo = CliRunner().invoke(cli.app, ["retrian"])
    assert (typo.exit_code, "'retrain'" in typo.stderr) == (2, True)
