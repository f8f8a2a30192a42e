"""What an operator is told about a person's rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ingesting import NOON, feedback, inference, outcome
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from driftgate.config import Settings
from driftgate.store import Store, migrate
from driftgate.subjects import subject_hash
from services.console import subject_cli

SCHEMAS = Path(__file__).parents[2] / "schemas"
KEY = "a secret"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Persons c-1 (live answers of versions 1 and 2, a shadow of 3) and c-2."""
    found = Store.in_process()
    found.command("CREATE DATABASE IF NOT EXISTS subject_unit")
    found.command("USE subject_unit")
    migrate(found, SCHEMAS / "store")

    def append(table: str, *events: dict[str, Any]) -> None:
        place = {"topic": table, "partition": 0}
        found.append(table, [{**place, "offset": n, **event} for n, event in enumerate(events)])

    mine, other = (subject_hash(KEY.encode(), person) for person in ("c-1", "c-2"))
    answers = [
        inference("r1", subject=mine, version=1),
        inference("r1", subject=mine, version=3, role="shadow"),
        inference("r2", subject=mine, version=2, time=NOON + 5000),
        inference("r3", subject=other),
    ]
    said = [
        feedback("r1"),
        feedback("r1", feedback_id="f-again", time=NOON + 2000),
        feedback("r3"),
        feedback("r1", model="other"),
    ]
    append("inferences", *answers)
    append("feedback", *said)
    append(
        "outcomes", *[outcome(said[n], answers[0]) for n in (0, 1)], outcome(said[2], answers[3])
    )
    yield found
    found.command("DROP DATABASE subject_unit")
    found.close()


def test_a_persons_rows_are_counted_by_version(store: Store) -> None:
    mine = subject_hash(KEY.encode(), "c-1")
    rows = subject_cli.rows_of(store, "triage", mine)
    assert [(row["kind"], row["version"], row["rows"]) for row in rows] == [
        ("inferences", 1, 1),
        ("inferences", 2, 1),
        ("inferences", 3, 1),
        ("feedback", 1, 2),
        ("outcomes", 1, 2),
    ]
    assert (rows[3]["last"] - rows[3]["first"]).total_seconds() == 1
    assert subject_cli.rows_of(store, "triage", "another hash") == []


def ask(store: Store, key: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    settings = Settings(subject_key=SecretStr(key))
    monkeypatch.setattr(subject_cli, "settings", lambda *_: settings)
    monkeypatch.setattr(store, "close", lambda: None)
    monkeypatch.setattr(Store, "connect", lambda *_: store)
    app = typer.Typer()
    app.command()(subject_cli.subject)
    return CliRunner().invoke(app, ["triage", "c-1"])


def test_the_hash_is_told_and_not_the_id(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    result = ask(store, KEY, monkeypatch)
    assert result.exit_code == 0, result.output
    assert subject_hash(KEY.encode(), "c-1") in result.output
    assert "inferences" in result.output


def test_without_the_key_nothing_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    result = ask(store, "", monkeypatch)
    assert result.exit_code == 2
    assert "DRIFTGATE_SUBJECT_KEY is empty" in result.output
