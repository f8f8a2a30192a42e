"""Dead letters sent again after a repair, on Apache Kafka and the ClickHouse engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from ingesting import LABELS, Harness, declaration, feedback, inference, model_yaml, start_here
from typer.testing import CliRunner

from deploy.local.plan import StackConfig
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.store import Store, migrate
from services.console import dlq_cli

pytestmark = pytest.mark.stack
NOW = time.time_ns() // 1_000_000
LETTERS = 1500  # more than a page

Run = Callable[..., str]


@pytest.fixture
def model() -> str:
    return f"d-{uuid4().hex[:8]}"


@pytest.fixture
def database(model: str) -> str:
    return f"dlq_{model[2:]}"


@pytest.fixture
def world(settings: Settings, kafka: KafkaBus, codec: Codec, database: str) -> Iterator[Harness]:
    """Ingestion into a database of its own; no model is declared."""
    store = Store.connect(settings.store, database)
    migrate(store, settings.schemas / "store")
    start_here(store, kafka, codec)
    own = settings.model_copy(update={"dead_letter_limit": 1.0})
    harness = Harness(kafka, store, codec, Artifacts(settings.artifacts), own)
    yield harness
    harness.close()
    store.command(f"DROP DATABASE {database}")
    store.close()


@pytest.fixture
def run(stack: StackConfig, database: str, tmp_path: Path) -> Run:
    """The command, against that database. Fails where the command does."""

    def invoked(*words: str) -> str:
        environment = {**stack.environment, "DRIFTGATE_DATABASE": database, "COLUMNS": "200"}
        nowhere = ["--state", str(tmp_path / "no-stack")]
        result = CliRunner().invoke(dlq_cli.app, [*words, *nowhere], env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    return invoked


def declare(world: Harness, folder: Path, model: str, labels: list[str]) -> None:
    text = model_yaml(model, labels)
    world.send("models", declaration(folder, world.artifacts, text))


def test_records_of_a_label_that_was_not_declared_are_stored_once_it_is(
    world: Harness, run: Run, model: str, tmp_path: Path
) -> None:
    declare(world, tmp_path / "repo", model, LABELS)
    sent = [
        inference(f"{model}-{n}", model=model, output="refund" if n % 5 else "tax", time=NOW)
        for n in range(100)
    ]
    world.send("inferences", *sent)
    world.send("feedback", *[feedback(f"{model}-{n}", model=model, time=NOW) for n in range(100)])
    world.settle()
    assert world.dead() == [("inferences", "unknown_label")] * 20
    assert "'tax'" in run("list", "--reason", "unknown_label", "--model", model)

    declare(world, tmp_path / "repo", model, [*LABELS, "tax"])
    world.settle()
    assert "20 replayed" in run("replay", "--reason", "unknown_label", "--yes")
    assert "nothing to send" in run("replay", "--reason", "unknown_label", "--yes")
    world.settle()
    stored = {row["request_id"]: row["output"] for row in world.rows("inferences")}
    assert stored == {event["request_id"]: event["output"] for event in sent}
    for table in ("inferences", "outcomes"):
        assert len(world.rows(table)) == 100
    assert len(world.dead()) == 20
    (entry,) = world.rows("audit", "service, decision", f"model = '{model}'")
    assert entry == {"service": "console", "decision": "dlq.replay"}


def test_feedback_of_a_model_that_was_not_declared_is_stored_once_it_is(
    world: Harness, run: Run, model: str, tmp_path: Path
) -> None:
    told = [feedback(f"{model}-{n}", model=model, time=NOW) for n in range(LETTERS)]
    world.send("feedback", *told)
    world.settle()
    assert len(world.dead()) == LETTERS

    declare(world, tmp_path / "repo", model, LABELS)
    world.settle()
    assert f"would send {LETTERS:,}" in run("replay", "--model", model, "--dry-run")
    assert f"{LETTERS:,} replayed" in run("replay", "--model", model, "--yes")
    assert "nothing to send" in run("replay", "--everything", "--yes")
    world.send("inferences", inference(f"{model}-7", model=model, time=NOW))
    world.settle()
    counts = "count() AS n, uniqExact(request_id) AS requests"
    (row,) = world.store.query(f"SELECT {counts} FROM feedback")
    assert row == {"n": LETTERS, "requests": LETTERS}
    assert [row["request_id"] for row in world.rows("outcomes")] == [f"{model}-7"]
