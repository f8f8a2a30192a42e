"""`driftgate import` where no Kafka is: what it says, writes, and leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from driftgate.client import Client
from driftgate.codec import Codec
from driftgate.imports.history import Answer, History, Word
from driftgate.labelled import pairs
from driftgate.labelled.findings import Findings
from driftgate.labelled.rows import Asked
from driftgate.machine_clock import machine_ms
from driftgate.tasks.text_classification import TextClassification
from services.console import cli
from services.console.import_events import Sender, without_kafka

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Types a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> Result:
        environment = {"DRIFTGATE_KAFKA": "127.0.0.1:1"}
        return CliRunner().invoke(cli.app, ["import", *words], env=environment)

    return typed


def preference(question: str, better: str, worse: str, **more: Any) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": question}]},
        "preferred_output": [{"role": "assistant", "content": better}],
        "non_preferred_output": [{"role": "assistant", "content": worse}],
    } | more


def written(*rows: Any) -> str:
    Path("train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return "train.jsonl"


def events(path: str = "events.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_pairs_are_written_and_the_next_step_is_told(command: Command) -> None:
    said = command("openai", written(preference("Where?", "It comes.", "Dunno.")))
    assert said.exit_code == 0, said.output
    (row,) = pairs.read(Path("pairs.jsonl"), Asked()).rows
    assert (row.text, row.label) == ("Where?", "It comes.")
    assert "train.jsonl: 1 rows read, 1 kept" in said.output
    assert "answers: 1 edited" in said.output
    assert "events: none; --model NAME" in said.output


def test_events_go_to_a_file_where_there_is_no_kafka(command: Command) -> None:
    now = machine_ms()
    row = preference("Where?", "It comes.", "Dunno.", time=now, subject="c-1")
    path = written(row)
    for name in ("events.jsonl", "again.jsonl"):
        said = command("openai", path, "--model", "replies", "--events", name)
        assert said.exit_code == 0, said.output
    answer, edit = (one["event"] for one in events())
    assert [one["topic"] for one in events()] == ["inferences", "feedback"]
    assert (answer["model"], answer["version"], answer["output"]) == (
        "replies",
        1_000_000,
        "Dunno.",
    )
    assert (answer["task"], answer["subject"], answer["time"]) == ("text-generation", "c-1", now)
    assert (edit["request_id"], edit["kind"], edit["edited"]) == (
        answer["request_id"],
        "edit",
        "It comes.",
    )
    assert events() == events("again.jsonl")
    assert "2 events written to events.jsonl, answers as version 1000000" in said.output.replace(
        "again.jsonl", "events.jsonl"
    )


def test_what_ingestion_would_refuse_is_counted_and_nothing_else_stops(command: Command) -> None:
    now = machine_ms()
    rows = [
        preference("old", "a", "b", time="2001-01-31T09:00:00Z"),
        preference("long", "a", "b" * 100_000, time=now),
        preference("edit", "a" * 100_000, "b", time=now),
        preference("q" * 60_000, "a", "b", time=now),
        preference("half", "a", "b \ud800", time=now),
        preference("equal", "same", "same", time=now),
    ]
    said = command("openai", written(*rows), "--model", "m", "--events", "events.jsonl")
    assert said.exit_code == 0, said.output
    told = " ".join(said.output.split())
    assert "events of m: 12 rows read, 3 kept" in told
    for cause in (
        "1 row: time: expected from",
        "1 row: output: expected at most 50,000 characters (train.jsonl, line 2)",
        "1 row: edited: expected at most 50,000 characters (train.jsonl, line 3)",
        "1 row: input: expected at most 50,000 characters (train.jsonl, line 4)",
        "1 row: output: expected Unicode text",
        "4 rows: its answer was left out",
    ):
        assert f"left out, {cause}" in told, cause
    sent = [one["event"] for one in events()]
    assert [(e.get("output"), e.get("edited")) for e in sent] == [
        ("b", None),
        ("same", None),
        (None, "same"),
    ]


def test_a_model_of_labels_is_told_labels(codec: Codec) -> None:
    bus, findings = without_kafka(codec), Findings("")
    answers = [
        Answer("r1", "Where is it?", "billing", "line 1"),
        Answer("r2", "Where is it?", "a word of its own", "line 2"),
    ]
    words = [
        Word("f1", "r1", "line 3", edited="delivery"),
        Word("f2", "r1", "line 4", edited="nobody's"),
        Word("f3", "r1", "line 5", rating=0.0, reason="wrong team"),
        Word("f4", "r1", "line 6", metric="minutes", value=3.0),
    ]
    with Client(bus=bus) as client:
        task = TextClassification(("billing", "delivery"))
        Sender(client, "triage", 1, task, findings).send(History(answers, words), lambda: None)
    found = [codec.decode(r.topic, r.value) for r in bus.read_all(["inferences", "feedback"])]
    said = {event.get("feedback_id", event["request_id"]): event for event in found}
    assert set(said) == {"r1", "f1", "f3", "f4"}
    assert said["r1"]["task"] == "text-classification"
    assert (said["f1"]["kind"], said["f1"]["label"]) == ("correction", "delivery")
    assert (said["f3"]["rating"], said["f3"]["reason"]) == (0.0, "wrong team")
    assert (said["f4"]["metric"], said["f4"]["value"]) == ("minutes", 3.0)
    places = [place for one in findings.left_out.values() for place in one.places]
    assert places == ["line 2", "line 4"]


def test_pairs_become_a_model_repo(command: Command, tmp_path: Path) -> None:
    rows = [preference(f"Where is {n}?", f"{n} comes.", "Dunno.") for n in range(120)]
    assert command("openai", written(*rows)).exit_code == 0
    words = ["init", "replies", "--task", "generation", "--data", "pairs.jsonl", "--yes"]
    said = CliRunner().invoke(cli.app, words)
    assert said.exit_code == 0, said.output
    assert (tmp_path / "replies" / "model.yaml").is_file()


def test_a_dry_run_counts_and_writes_nothing(command: Command) -> None:
    path = written(preference("Where?", "It comes.", "Dunno."))
    said = command("openai", path, "--model", "m", "--events", "events.jsonl", "--dry-run")
    assert said.exit_code == 0, said.output
    assert "dry run: nothing is written; 2 events would be sent" in said.output
    assert sorted(file.name for file in Path().iterdir()) == ["train.jsonl"]


def test_a_file_that_is_there_is_left_alone_unless_it_is_the_same(command: Command) -> None:
    path = written(preference("Where?", "It comes.", "Dunno."))
    Path("pairs.jsonl").write_text("mine\n")
    said = command("openai", path)
    assert said.exit_code == 2
    assert "pairs.jsonl exists and holds something else" in said.output
    assert Path("pairs.jsonl").read_text() == "mine\n"
    assert command("openai", path, "--pairs", "train.jsonl").exit_code == 2
    assert [command("openai", path, "--pairs", "new.jsonl").exit_code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["openai", "none.jsonl"], 2, "there is no such file"),
        (["openai", "bad.jsonl"], 2, "nothing of it can be imported"),
        (["openai", "train.jsonl", "--events", "e.jsonl"], 2, "add --model NAME"),
        (["openai", "train.jsonl", "--model", "m"], 3, "Kafka does not answer"),
        (["tensorzero", "train.jsonl", "--where", "true"], 2, "expected with the URL"),
        (["tensorzero", "http://ana:secret@127.0.0.1:1/tz"], 3, "http://127.0.0.1:1/tz does not"),
        (["tensorzero", "http://127.0.0.1:1/tz?password=secret"], 3, "127.0.0.1:1/tz does not"),
    ],
)
def test_errors_say_what_to_do(command: Command, words: list[str], status: int, said: str) -> None:
    written(preference("Where?", "It comes.", "Dunno."))
    Path("bad.jsonl").write_text("{\n{\n")
    found = command(*words)
    assert found.exit_code == status, found.output
    assert said in " ".join(found.output.split())
    assert "secret" not in found.output


def test_where_an_import_ends_halfway_no_file_of_events_appears(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from driftgate.client import Client

    def broken(*_: Any, **__: Any) -> str:
        raise RuntimeError("a fault")

    monkeypatch.setattr(Client, "feedback", broken)
    path = written(preference("Where?", "It comes.", "Dunno."))
    assert command("openai", path, "--model", "m", "--events", "e.jsonl").exit_code == 70
    assert not list(Path().glob("e.jsonl*"))


def test_a_file_of_events_that_is_there_is_left_alone(command: Command) -> None:
    Path("e.jsonl").write_text("mine\n")
    path = written(preference("Where?", "It comes.", "Dunno."))
    said = command("openai", path, "--model", "m", "--events", "e.jsonl")
    assert (said.exit_code, Path("e.jsonl").read_text()) == (2, "mine\n")
    assert "e.jsonl exists: name another file by --events" in said.output
