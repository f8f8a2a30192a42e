"""One voice for errors, and exit statuses that scripts can rely on."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from tiny_bases import tiny
from typer.testing import CliRunner, Result

from deploy.local import stack
from deploy.local.plan import StackConfig
from driftgate import bus_kafka, store
from driftgate.bases import MINILM
from driftgate.config import Settings
from driftgate.errors import (
    BadConfig,
    BadInput,
    BusUnavailable,
    NotRunning,
    RouterUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from services.console import cli, model_cli, terminal
from services.console.terminal import KAFKA, ROUTER, STORE, explain, reach, reaching, reports_errors
from services.simulator import demo
from services.simulator.play import PlayStoppedError
from services.simulator.world import World

EXAMPLE = Path(__file__).parents[2] / "examples" / "support-triage"


def run(body: Callable[[], object], state: Path) -> Result:
    """The outcome of a command that does this."""
    app = typer.Typer()

    @app.command()
    @reports_errors
    def command(state: Path = state) -> None:
        body()

    return CliRunner().invoke(app, [])


def raising(error: BaseException) -> Callable[..., object]:
    def body(*_: object, **__: object) -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadConfig("no such model"), 2),
        (BadInput("empty", "text", "", "a text"), 2),
        (StoreRefused(62, "no such column"), 2),
        (FileNotFoundError(2, "No such file or directory", "seed.jsonl"), 2),
        (BusUnavailable("away"), 3),
        (StoreUnavailable("away"), 3),
        (RouterUnavailable("away"), 3),
        (NotRunning("no stack"), 3),
        (ModuleNotFoundError("No module named 'services.oops'", name="services.oops"), 70),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("a fault of ours"), 70),
    ],
)
def test_an_error_is_one_line_on_standard_error_and_a_status(
    error: BaseException, status: int, tmp_path: Path
) -> None:
    result = run(raising(error), tmp_path)
    assert (result.exit_code, result.stdout) == (status, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("driftgate: ")
    assert str(error) in line or "seed.jsonl" in line
    assert "Traceback" not in line


def test_what_an_extra_would_bring_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = raising(ModuleNotFoundError("No module named 'chdb'", name="chdb"))
    at_its_call = run(missing, tmp_path)
    monkeypatch.setattr(cli, "import_module", missing)
    at_its_import = CliRunner().invoke(cli.app, ["status"])
    for result in (at_its_call, at_its_import):
        (line,) = result.stderr.splitlines()
        assert line.startswith("driftgate: chdb is not installed: ")
        assert (result.exit_code, line.endswith("pip install 'driftgate[services]'")) == (2, True)


def test_a_command_that_says_no_ends_with_one(tmp_path: Path) -> None:
    assert run(raising(typer.Exit(1)), tmp_path).exit_code == 1


@pytest.mark.parametrize("error", [BusUnavailable("asking b:1"), StoreUnavailable("connect")])
def test_what_is_away_is_told_with_what_starts_it(error: Exception) -> None:
    words, _ = explain(error)
    assert "`driftgate up`" in words
    again, _ = explain(type(error)(words))
    assert again == words, "said once"


def test_the_trace_of_a_fault_is_kept_for_a_report(tmp_path: Path) -> None:
    result = run(raising(ZeroDivisionError("a fault of ours")), tmp_path)
    log = tmp_path / "log" / "driftgate-command.log"
    assert str(log) in result.stderr
    assert "ZeroDivisionError: a fault of ours" in log.read_text()


CHATTY = """
import logging, warnings
from services.console.terminal import reports_errors

@reports_errors
def command():
    logging.getLogger("kafka.conn").error("Connect attempt to bootstrap-0 returned error 111")
    warnings.warn("deprecated since 4.40")
    print("the answer")

command()
"""


def test_clients_logs_and_warnings_are_not_on_the_screen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHATTY], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("the answer\n", "")


def test_a_part_that_does_not_listen_is_named_with_its_address_and_variable() -> None:
    with pytest.raises(BusUnavailable, match=r"Kafka .*127\.0\.0\.1:1.*DRIFTGATE_KAFKA"):
        reach(KAFKA, "127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match="DRIFTGATE_STORE"):
        reach(STORE, "http://127.0.0.1:1")
    with pytest.raises(RouterUnavailable, match="DRIFTGATE_ROUTER"):
        reach(ROUTER, "localhost")


def test_one_of_several_brokers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        reach(KAFKA, f"127.0.0.1:1,{here}")
        reach(STORE, f"http://{here}/")


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["apply", "examples/support-triage"],
        ["retrain", "m", "--wait"],
        ["rollback", "m"],
        ["audit", "m"],
        ["ask", "m", "hello"],
        ["traffic", "m"],
        ["subject", "m", "c-1"],
        ["dlq", "list"],
        ["dlq", "replay", "--everything"],
        ["export", "m", "out"],
        ["simulate", "examples/support-triage", "world.csv"],
    ],
    ids=" ".join,
)
def test_without_a_system_each_command_says_what_starts_one(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: a client would try again for ten seconds and more."""
    refused = ConnectionRefusedError(111, "Connection refused")
    monkeypatch.setattr(terminal.socket, "create_connection", raising(refused))
    monkeypatch.setattr(bus_kafka, "connected", raising(AssertionError("Kafka was asked")))
    monkeypatch.setattr(store.Store, "connect", raising(AssertionError("the store was asked")))
    away = {"DRIFTGATE_STATE_DIR": str(tmp_path)}
    result = CliRunner().invoke(cli.app, words, env=away)
    assert result.exit_code == 3, result.output
    (line,) = result.stderr.splitlines()
    assert "`driftgate up" in line


READING = ("init m --data", "retrain m --seed", "demo --data", "simulate repo")


@pytest.mark.parametrize("words", READING)
@pytest.mark.parametrize("share", ["-0.1", "1.1", "much"])
def test_a_share_that_is_none_is_refused_by_every_command_that_reads_a_file(
    words: str, share: str
) -> None:
    result = CliRunner().invoke(cli.app, [*words.split(), "a.csv", "--left-out", share])
    assert (result.exit_code, "--left-out" in result.stderr) == (2, True)


@pytest.mark.parametrize("words", READING[:3])
@pytest.mark.parametrize(
    ("name", "value"),
    [("text", "body"), ("label", "team"), ("slice", "none"), ("left-out", "0.5")],
)
def test_how_a_file_is_read_is_not_ignored_where_none_is_named(
    words: str, name: str, value: str, tmp_path: Path
) -> None:
    *command, wanted = words.replace(" m ", f" {tmp_path / 'm'} ").split()
    result = CliRunner().invoke(cli.app, [*command, f"--{name}", value])
    assert result.exit_code == 2
    assert f"--{name} says how a file is read" in result.stderr
    assert f"add {wanted} PATH" in result.stderr
    assert not any(tmp_path.iterdir())


def test_what_is_printed_reaches_the_same_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DRIFTGATE_STATE_DIR", raising=False)
    assert reaching(Path(".driftgate")) == ""
    assert reaching(Path("my world")) == " --state 'my world'"
    for words in (["status"], ["simulate", "examples/support-triage", "world.csv"]):
        result = CliRunner().invoke(cli.app, [*words, "--state", str(tmp_path)])
        assert f" --state {tmp_path}`" in result.stderr
    refused = ConnectionRefusedError(111, "Connection refused")
    monkeypatch.setattr(terminal.socket, "create_connection", raising(refused))
    result = CliRunner().invoke(cli.app, ["pause", "m", "--state", str(tmp_path)])
    assert f"`driftgate up --state {tmp_path}` starts it" in result.stderr
    monkeypatch.setenv("DRIFTGATE_STATE_DIR", "my world")
    assert reaching(Path("my world")) == ""


def test_an_order_says_how_to_look_at_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model_cli.say_ordered("m", tmp_path)
    assert f"`driftgate audit m --state {tmp_path}`" in capsys.readouterr().out


def test_a_world_that_ends_early_is_looked_at_in_its_own_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = tmp_path / "world.csv"
    rows = [f"text {n} of {n % 2},{'ab'[n % 2]}" for n in range(400)]
    world.write_text("\n".join(["text,label", *rows]))
    here = StackConfig(tmp_path, clock="world")

    def ends(*_: object, look_further: str, **__: object) -> None:
        raise PlayStoppedError(look_further)

    monkeypatch.setattr(stack, "running", lambda _: here)
    monkeypatch.setattr(demo, "play", ends)
    words = ["simulate", "examples/support-triage", str(world), "--state", str(tmp_path)]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 3
    assert f"`driftgate audit support-triage --state {tmp_path}`" in result.stderr


@pytest.mark.parametrize(
    ("words", "played"),
    [
        ([], "complaints"),
        (["--profile", "labels"], "labels"),
        (["--profile", "corrections,thumbs", "--wrong", "0.5"], "corrections, thumbs"),
    ],
)
def test_a_profile_is_played_as_told_or_else_as_the_model_repo_declares(
    words: list[str], played: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = tmp_path / "world.csv"
    rows = [f"text {n} of {n % 2},{'ab'[n % 2]}" for n in range(400)]
    world.write_text("\n".join(["text,label", *rows]))
    users = []

    def ends(*_: object, **given: Any) -> None:
        users.extend(given["users"])
        raise PlayStoppedError("ended")

    monkeypatch.setattr(stack, "running", lambda _: StackConfig(tmp_path, clock="world"))
    monkeypatch.setattr(demo, "play", ends)
    CliRunner().invoke(cli.app, ["simulate", "examples/support-triage", str(world), *words])
    assert ", ".join(profile.name for profile in users) == played
    wrong = 0.5 if "--wrong" in words else 0.03
    assert {profile.wrong for profile in users} == {wrong}


def test_pairs_are_played_against_a_model_repo_that_writes_as_it_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = tmp_path / "world.jsonl"
    ticket = {"language": "en", "team": "repair", "product": None, "urgency": "low"}
    rest = {"order": None, "amount": None, "date": None}
    lines = (
        {"input": f"message {n}", "output": ticket | rest | {"team": ("repair", "billing")[n % 2]}}
        for n in range(400)
    )
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    played: list[Any] = []

    def ends(repo: Path, world: World, *_: object, **given: Any) -> None:
        played.extend([world, given["users"]])
        raise PlayStoppedError("ended")

    monkeypatch.setattr(stack, "running", lambda _: StackConfig(tmp_path, clock="world"))
    monkeypatch.setattr(demo, "play", ends)
    result = CliRunner().invoke(cli.app, ["simulate", "examples/ticket-extract", str(pairs)])
    assert result.exit_code == 3, result.output
    world, users = played
    assert [profile.name for profile in users] == ["edits"]
    assert json.loads(world.launch[0].label)["team"] in {"repair", "billing"}


@pytest.mark.parametrize(
    ("words", "plays"),
    [
        ([], ("support-triage", False, "complaints, review")),
        (["--example", "ticket-extract"], ("ticket-extract", True, "edits, review")),
        (
            ["--example", "ticket-extract", "--profile", "thumbs"],
            ("ticket-extract", True, "thumbs"),
        ),
        (["--data", "p.jsonl", "--task", "generation"], ("support-triage", True, "edits, review")),
    ],
)
def test_what_a_demo_plays(
    words: list[str],
    plays: tuple[str, bool, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, bool, str]] = []

    def run(*given: Any) -> None:
        mix, (example, written) = given[4], given[-2:]
        seen.append((example.name, written, mix.name))
        raise PlayStoppedError("ended")

    monkeypatch.setattr(demo, "run", run)
    CliRunner().invoke(cli.app, ["demo", "--state", str(tmp_path), *words])
    assert seen == [plays]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--example", "ticket"], "ticket-extract"),
        (["--example", "ticket-extract", "--data", "p.jsonl"], "expected without --data"),
        (["--task", "generation"], "expected --data FILE with pairs"),
    ],
)
def test_a_demo_of_what_is_not_there_is_refused(
    words: list[str], says: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(cli.app, ["demo", "--state", str(tmp_path), *words])
    assert (result.exit_code, says in result.stderr) == (2, True), result.output
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["demo"], ["simulate", "examples/support-triage", "w.csv"]])
def test_a_profile_that_no_world_can_play_is_refused_before_anything_starts(
    command: list[str], tmp_path: Path
) -> None:
    for profile, says in (("edits", "belongs to generated text"), ("label", "'labels'")):
        words = [*command, "--state", str(tmp_path), "--profile", profile]
        result = CliRunner().invoke(cli.app, words)
        assert (result.exit_code, says in result.stderr) == (2, True), result.output
    assert not any(tmp_path.iterdir())


def test_down_without_a_stack_is_done(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["down", "--state", str(tmp_path)])
    assert (result.exit_code, result.stdout.startswith("nothing runs in")) == (0, True)


@pytest.mark.parametrize("record", ["", "{}", '{"state_dir": ".", "services": [], "shape": 1}'])
def test_a_stack_of_another_version_is_told(record: str, tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(record)
    result = CliRunner().invoke(cli.app, ["status", "--state", str(tmp_path)])
    assert result.exit_code == 2
    assert "stack.json: expected the record of a stack" in result.stderr


def test_what_is_wrong_with_a_model_repo_is_a_no(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("model: triage\n")
    wrong = CliRunner().invoke(cli.app, ["check", str(tmp_path)])
    assert wrong.exit_code == 1
    assert "model.yaml" in wrong.stderr
    missing = CliRunner().invoke(cli.app, ["check", str(tmp_path / "none")])
    assert missing.exit_code == 2


@pytest.mark.parametrize(("kind", "status"), [("bert", 0), ("gpt2", 1)])
def test_a_base_that_adapters_do_not_fit_is_a_no(tmp_path: Path, kind: str, status: int) -> None:
    base = tiny(tmp_path / "base", kind)
    repo = shutil.copytree(EXAMPLE, tmp_path / "repo")
    declared = (repo / "model.yaml").read_text()
    (repo / "model.yaml").write_text(declared.replace(f"name: {MINILM}", f"name: {base}"))
    found = CliRunner().invoke(cli.app, ["check", str(repo)])
    assert found.exit_code == status, found.output
    assert ("hold no torch.nn.Linear" in found.stderr) == bool(status)


def test_settings_of_the_environment_are_used_without_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTGATE_KAFKA", "elsewhere:9092")
    assert terminal.settings(tmp_path) == Settings(kafka="elsewhere:9092")


def test_the_ports_of_a_stack_that_is_not_up_are_no_unknown_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTGATE_KAFKA_PORT", "9192")
    assert terminal.settings(tmp_path).kafka == Settings().kafka
