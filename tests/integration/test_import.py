"""Imports on Apache Kafka and ClickHouse's engine: what TensorZero's tables and the files of others
hold becomes rows of a model that is declared, once however often it is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from ingesting import TEXTS, Harness, declaration, set_clock, start_here, writing_yaml
from tensorzero_rows import SCHEMA, asked, chat, demonstration, extraction, metric, text, uuid7
from typer.testing import CliRunner, Result

from deploy.local.plan import StackConfig
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.labelled import pairs
from driftgate.labelled.rows import Asked
from driftgate.machine_clock import machine_ms
from driftgate.store import Store, migrate, statements
from services.console import cli

pytestmark = pytest.mark.stack

Command = Callable[..., Result]


@pytest.fixture
def model() -> str:
    return f"m-{uuid4().hex[:8]}"


@pytest.fixture
def world(
    settings: Settings, kafka: KafkaBus, codec: Codec, tmp_path: Path, model: str
) -> Iterator[Harness]:
    """Ingestion into a database of its own, with a model that writes declared."""
    database = f"import_{model[2:]}"
    store = Store.connect(settings.store, database)
    migrate(store, settings.schemas / "store")
    start_here(store, kafka, codec)
    artifacts = Artifacts(settings.artifacts)
    harness = Harness(kafka, store, codec, artifacts, settings)
    set_clock(store, machine_ms())
    repo = declaration(tmp_path / "repo", artifacts, writing_yaml(model, TEXTS))
    harness.send("models", repo)
    yield harness
    harness.close()
    store.command(f"DROP DATABASE {database}")
    store.close()


@pytest.fixture
def command(stack: StackConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Types `driftgate import`."""
    monkeypatch.chdir(tmp_path)

    def typed(*words: str, status: int = 0) -> Result:
        elsewhere = ["--state", str(tmp_path / "no-stack")]
        found = CliRunner().invoke(
            cli.app, ["import", *words, *elsewhere], env=dict(stack.environment)
        )
        assert found.exit_code == status, found.output
        return found

    return typed


@pytest.fixture
def tensorzero(stack: StackConfig) -> Iterator[str]:
    """The URL of a database with TensorZero's tables, with recent rows."""
    database = f"tz_{uuid4().hex[:8]}"
    store = Store.connect(stack.store, database)
    for statement in statements(SCHEMA):
        store.command(statement)
    now = machine_ms() - 3_600_000

    def own(number: int) -> str:
        return uuid7(number, now)

    chats = [chat(n, id=own(n), episode_id=own(1000 + n)) for n in range(5)]
    chats[0]["input"] = asked(text("Call me at ann@example.com"), system="Be kind.")
    chats[0]["output"] = json.dumps(text("We write to ann@example.com."))
    chats[4]["output"] = json.dumps([{"type": "tool_call", "name": "f", "arguments": "{}"}])
    store.append("ChatInference", chats)
    store.append("JsonInference", [extraction(9, id=own(9))])
    edit = text("We have written to ann@example.com.")
    store.append(
        "DemonstrationFeedback",
        [
            demonstration(0, id=own(100), inference_id=own(0), value=json.dumps(edit)),
            demonstration(1, id=own(101), inference_id=own(1), value="[]"),
        ],
    )
    store.append(
        "BooleanMetricFeedback",
        [
            metric(id=own(201), target_id=own(1), value=True),
            metric(id=own(202), target_id=own(1002), value=False),
        ],
    )
    store.append(
        "FloatMetricFeedback",
        [metric(id=own(301), target_id=own(3), metric_name="minutes", value=4.5)],
    )
    yield f"{stack.store}/{database}"
    store.command(f"DROP DATABASE {database}")
    store.close()


def test_tensorzeros_tables_become_rows_once(
    world: Harness, command: Command, tensorzero: str, model: str
) -> None:
    words = ("tensorzero", tensorzero, "--function", "reply", "--slice", "language")
    words = (*words, "--model", model)
    dry = command(*words, "--dry-run").output
    assert "dry run: nothing is written; 8 events would be sent" in dry
    for _ in range(2):
        said = command(*words).output
        world.settle()
    assert "8 events sent as of" in said
    assert "a message calls a tool, or is the answer of one (ChatInference, row 5)" in said
    assert "its edit is empty (DemonstrationFeedback, row 2)" in said

    count = "uniqExact(request_id) AS answers, uniqExact(subject) AS people, any(subject) AS person"
    (told,) = world.store.query(f"SELECT {count} FROM inferences FINAL WHERE model = '{model}'")
    assert (told["answers"], told["people"]) == (4, 1)
    assert told["person"] != "c-17"
    (masked,) = world.store.query(
        f"SELECT input, output, slices, version FROM inferences FINAL WHERE model = '{model}' "
        "AND input LIKE 'Call me%' LIMIT 1"
    )
    placeholder = masked["input"].removeprefix("Call me at ")
    assert placeholder.startswith("[EMAIL")
    assert masked["output"] == f"We write to {placeholder}."
    assert (masked["slices"], masked["version"]) == ({"language": "en"}, 1_000_000)

    outcomes = world.store.query(
        "SELECT toString(any(kind)) AS kind, any(rating) AS rating, any(edited) AS edited, "
        "any(value) AS value, any(was_correct) AS was_correct, any(edit_distance) AS distance "
        f"FROM outcomes FINAL WHERE model = '{model}' GROUP BY outcome_id ORDER BY kind, rating"
    )
    edit, metric_, *ratings = outcomes
    assert (edit["edited"], edit["was_correct"]) == (f"We have written to {placeholder}.", False)
    assert 0 < edit["distance"] < 0.5
    assert (metric_["kind"], metric_["value"], metric_["was_correct"]) == ("metric", 4.5, None)
    assert [(one["rating"], one["was_correct"]) for one in ratings] == [(0.0, False), (1.0, True)]
    assert world.dead() == []

    found = pairs.read(Path("pairs.jsonl"), Asked())
    assert sorted(row.label for row in found.rows) == [
        "On its way.",
        "We have written to ann@example.com.",
    ]
    assert found.systems == {"Be kind.": 2}


@pytest.mark.parametrize(
    ("where", "status", "words"),
    [
        ("timestamp > now() - INTERVAL 1 DAY", 0, "answers: 1 edited, 1 rated as good"),
        ("timestamp < '2020-01-01'", 2, "no inference is of it"),
        ("no_such_column = 1", 2, "no_such_column"),
    ],
)
def test_a_condition_chooses_inferences(
    command: Command, tensorzero: str, where: str, status: int, words: str
) -> None:
    said = command("tensorzero", tensorzero, "--function", "reply", "--where", where, status=status)
    assert words in said.output


def test_a_database_without_these_tables_is_named(command: Command, stack: StackConfig) -> None:
    said = command("tensorzero", stack.store, status=2)
    assert "expected TensorZero's tables ChatInference and JsonInference" in said.output


def test_a_model_that_is_not_declared_is_refused(command: Command, tensorzero: str) -> None:
    words = ("tensorzero", tensorzero, "--function", "reply", "--model", "nobodys")
    assert "nobodys" in command(*words, status=2).output
