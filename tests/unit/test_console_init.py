"""From a file to a model repo, and from a file to launch rows: what a user sees, and what is
written. The base is the real one."""

from __future__ import annotations

import csv
import json
import os
import pty
import random
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from driftgate import model_repo, suites
from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events import AnyEvent, Model
from driftgate.labelled.rows import Asked
from driftgate.scaffold.writing import Case
from driftgate.tasks import task_of
from services.console import init_cli, seed
from services.console.cli import BY_NAME, app
from services.simulator.demo import EXAMPLE

DRIFTGATE = Path(sys.executable).parent / "driftgate"
NOW = 1_790_000_000_000


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Rows of the shipped world."""
    path = tmp_path_factory.mktemp("world") / "world.csv"
    runpy.run_path(str(EXAMPLE / "world.py"))["write_world"](path, seed=5, per_day=30)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def undated(messages: list[dict[str, str]], count: int, labels: int) -> list[dict[str, str]]:
    """Rows of a text and a label alone; every team is split into several."""
    chosen = random.Random(3).sample(messages, count)
    return [
        {"text": row["text"], "label": f"{row['label']} {n % (labels // 7)}"}
        for n, row in enumerate(chosen)
    ]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def test_a_few_hundred_undated_rows_of_many_labels_become_a_model_repo(
    messages: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("labelled.csv"), undated(messages, 599, 28))
    status, said = run("init", "m", "--data", "labelled.csv")
    assert status == 0, said
    assert "599 rows read" in said
    assert "weeks" not in said  # a played world's calendar has no say here
    config = model_repo.read(Path("m")).config
    assert config.gate.protected == {}
    assert not any("=" in name for monitor in config.monitors for name in monitor.slices)
    launched = [json.loads(line) for line in Path("m/launch.jsonl").read_text().splitlines()]
    frozen = [
        json.loads(line) for line in Path("m/evals/regression.jsonl").read_text().splitlines()
    ]
    assert not {row["text"] for row in launched} & {case["text"] for case in frozen}
    assert run("check", "m") == (0, f"m: {len(config.task.labels)} labels, all well\n")


def test_what_was_joined_and_left_out_is_on_the_screen_and_in_the_card(
    messages: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [dict(row) for row in messages[:400]]
    for row in rows[::9]:
        row["label"] = f" {row['label'].upper()} "
    rows[5]["text"] = "  "
    write(Path("a.csv"), rows)
    status, said = run("init", "m", "--data", "a.csv", "--protect", "none")
    assert status == 0, said
    assert "left out, 1 row: the text is empty (a.csv, line 7)" in said
    assert "joined as 'delivery'" in said
    card = json.loads(Path("m/launch.card.json").read_text())["reading"]
    assert card["left_out"]["the text is empty"]["rows"] == 1
    assert len(card["joined"]["delivery"]) == 2


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ("text,label\n" + "hello,a\n" * 3 + "bye,a\n", [], "have the label 'a'"),
        ("text,label\nhello,a\nbye,b\n", [], "2 labelled rows, expected 100 or more"),
        ("txt,label\nx,a\n", ["--text", "tex"], "--text tex: a.csv has no such column"),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_written(
    rows: str, options: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(rows)
    status, said = run("init", "m", "--data", "a.csv", *options)
    assert status == 2
    assert says in said
    assert not Path("m").exists()


def test_an_existing_model_repo_is_never_overwritten(tmp_path: Path) -> None:
    folder = str(tmp_path / "m")
    assert run("init", folder)[0] == 0
    status, said = run("init", folder, "--data", "no-such-file.csv")
    assert status == 2
    assert "model.yaml exists" in said


def test_on_a_terminal_the_slice_and_the_writing_are_asked(
    messages: list[dict[str, str]], tmp_path: Path
) -> None:
    write(tmp_path / "a.csv", messages[:700])
    ours, theirs = pty.openpty()
    command = [str(DRIFTGATE), "init", "m", "--data", "a.csv"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.write(ours, b"channel=chat\ny\n")
    said = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, said
    assert "Which one has a bar of its own?" in said
    assert "Write m?" in said
    assert list(model_repo.read(tmp_path / "m").config.gate.protected) == ["channel=chat"]


def test_who_does_not_confirm_has_nothing_written(
    messages: list[dict[str, str]], tmp_path: Path
) -> None:
    write(tmp_path / "a.csv", undated(messages, 200, 7))
    ours, theirs = pty.openpty()
    command = [str(DRIFTGATE), "init", "m", "--data", "a.csv"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=subprocess.PIPE)
    os.write(ours, b"n\n")
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert not (tmp_path / "m").exists()


def test_the_commands_that_are_printed_exist_and_survive_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "my model's"
    commands = init_cli.next_commands(folder, "my-model", 'Where\'s "it"?')
    words = [shlex.split(command) for command in commands]
    assert [name for _, name, *_ in words] == ["up", "apply", "retrain", "ask"]
    assert all(name in BY_NAME for _, name, *_ in words)
    assert words[1][2] == str(folder)
    assert words[2][2:] == ["my-model", "--seed", str(folder / "launch.jsonl"), "--wait"]
    assert words[3][2:] == ["my-model", 'Where\'s "it"?']
    dashed = init_cli.next_commands(folder, "m", "- no parcel")[3]
    assert shlex.split(dashed)[2:] == ["m", "--", "- no parcel"]
    clear = [Case("don't\nask", "a"), Case("a long text", "a"), Case("short one", "b")]
    assert init_cli.example(clear) == "short one"


def test_check_tells_what_the_launch_rows_cannot_lead_to(
    messages: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a.csv"), messages[:500])
    assert run("init", "m", "--data", "a.csv", "--protect", "none")[0] == 0
    path = Path("m/model.yaml")
    text = path.read_text().replace(
        "protected: {}", "protected:\n    length=short: {min_accuracy: 0.5}"
    )
    path.write_text(text)
    status, said = run("check", "m")
    assert status == 1
    assert "protected slice length=short has 0 of" in said
    assert "seen are" in said


def test_apply_tells_it_too_and_declares_all_the_same(
    messages: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice may be in the traffic although the launch rows do not have it."""
    from services.console import model_cli

    monkeypatch.chdir(tmp_path)
    write(Path("a.csv"), messages[:500])
    assert run("init", "m", "--data", "a.csv", "--protect", "none")[0] == 0
    path = Path("m/model.yaml")
    path.write_text(
        path.read_text().replace("protected: {}", "protected:\n    shop=x: {min_accuracy: 0.5}")
    )
    sent: list[AnyEvent] = []
    found = Settings(artifacts=f"file://{tmp_path}/artifacts")
    monkeypatch.setattr(model_cli, "settings", lambda *_: found)
    monkeypatch.setattr(model_cli, "send", lambda _, event: sent.append(event))
    monkeypatch.setattr(model_cli, "now", lambda _: NOW)
    status, said = run("apply", "m")
    assert (status, [type(event) for event in sent]) == (0, [Model])
    assert "protected slice shop=x has 0 of" in said


# ---------------------------------------------------------------- rows for `retrain --seed`


@pytest.fixture(scope="module")
def repo() -> model_repo.ModelRepo:
    return model_repo.read(EXAMPLE)


def test_any_file_may_be_the_seed_and_its_labels_get_the_declared_spelling(
    messages: list[dict[str, str]], repo: model_repo.ModelRepo, tmp_path: Path
) -> None:
    rows = [row for row in messages if row["label"] in repo.config.task.labels][:900]
    shouted = [row | {"label": row["label"].upper()} for row in rows]
    found = seed.seed_of(write(tmp_path / "a.csv", shouted), Asked(), repo, NOW, first=True)
    stored = [json.loads(line) for line in found.rows.decode().split("\n")[:-1]]
    assert {row["label"] for row in stored} <= set(repo.config.task.labels)
    assert {row["text"] for row in stored} <= {row["text"].strip() for row in rows}
    assert found.reading["rows"] == 900
    assert any("900 rows read" in line for line in found.findings)


def test_the_cases_of_the_suites_are_not_learned_from_and_that_is_told(
    messages: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a.csv"), undated(messages, 500, 7))
    assert run("init", "m", "--data", "a.csv")[0] == 0
    declared = model_repo.read(Path("m"))
    found = seed.seed_of(Path("a.csv"), Asked(), declared, NOW, first=True)
    (regression, _) = suites.frozen(Path("m"), task_of(declared.config.task))
    texts = {json.loads(line)["text"] for line in found.rows.decode().split("\n")[:-1]}
    assert not texts & {case.text for case in regression.cases}
    assert any(seed.FROZEN in line for line in found.findings)
    whole = seed.seed_of(Path("m"), Asked(), declared, NOW, first=True)  # its launch file
    assert whole.rows == Path("m/launch.jsonl").read_bytes()
    assert whole.findings == ()


def test_rows_without_dates_are_of_now(
    messages: list[dict[str, str]], repo: model_repo.ModelRepo, tmp_path: Path
) -> None:
    rows = [row for row in messages if row["label"] in repo.config.task.labels][:900]
    bare = [{k: row[k] for k in ("text", "label", "language")} for row in rows]
    found = seed.seed_of(write(tmp_path / "a.csv", bare), Asked(), repo, NOW, first=True)
    assert {json.loads(line)["time"] for line in found.rows.decode().split("\n")[:-1]} == {NOW}


def test_a_seed_that_cannot_lead_to_a_first_release_is_refused_before_the_training(
    messages: list[dict[str, str]], repo: model_repo.ModelRepo, tmp_path: Path
) -> None:
    english = [
        r for r in messages if r["language"] == "en" and r["label"] in repo.config.task.labels
    ]
    path = write(tmp_path / "a.csv", english[:600])
    with pytest.raises(BadConfig, match="protected slice language=es has 0 of"):
        seed.seed_of(path, Asked(), repo, NOW, first=True)
    assert seed.seed_of(path, Asked(), repo, NOW, first=False).rows


def test_a_seed_with_a_label_that_is_not_declared_names_the_nearest(
    messages: list[dict[str, str]], repo: model_repo.ModelRepo, tmp_path: Path
) -> None:
    rows = [row | {"label": row["label"] + "s"} for row in messages[:300]]
    with pytest.raises(BadConfig, match=r"is not among task.labels: did you mean"):
        seed.seed_of(write(tmp_path / "a.csv", rows), Asked(), repo, NOW, first=True)


# ---------------------------------------------------------------- a model that writes


def pairs(path: Path, count: int, output: Callable[[int], object], **more: object) -> None:
    lines = (
        {"input": f"Order A-{n} has not come.", "output": output(n), "subject": f"c-{n}", **more}
        for n in range(count)
    )
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def ticket(n: int) -> dict[str, object]:
    return {"team": "delivery", "order": {"number": f"A-{n}"}} | ({"late": True} if n % 2 else {})


def test_pairs_of_json_become_a_model_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs(Path("pairs.jsonl"), 240, ticket, slices={"language": "en"})
    with Path("pairs.jsonl").open("a") as file:
        file.write('{"input": "x"}\n{"input": "y", "output": "Sure!"}\n')
    status, said = run("init", "m", "--task", "generation", "--data", "pairs.jsonl")
    assert status == 0, said
    assert "left out, 1 row: it has no output" in said
    assert "1 pairs are left out: their output is no JSON" in said
    task = model_repo.read(Path("m")).config.task
    assert json.loads(task.json_schema.text) == {
        "type": "object",
        "properties": {
            "team": {"type": "string"},
            "order": {
                "type": "object",
                "properties": {"number": {"type": "string"}},
                "required": ["number"],
            },
            "late": {"type": "boolean"},
        },
        "required": ["team", "order"],
    }
    launched = [json.loads(line) for line in Path("m/launch.jsonl").read_text().splitlines()]
    frozen = [
        json.loads(line) for line in Path("m/evals/regression.jsonl").read_text().splitlines()
    ]
    assert len(launched) + len(frozen) == 240
    assert not {row["text"] for row in launched} & {case["text"] for case in frozen}
    assert json.loads(launched[0]["output"])["team"] == "delivery"
    assert run("check", "m") == (0, "m: JSON by schema.json of up to 256 tokens, all well\n")


def test_pairs_may_be_the_seed_of_a_model_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs(Path("pairs.jsonl"), 240, ticket)
    assert run("init", "m", "--task", "generation", "--data", "pairs.jsonl")[0] == 0
    pairs(Path("more.jsonl"), 300, lambda n: {"team": "ann@example.com", "order": {"number": "?"}})
    repo = model_repo.read(Path("m"))
    for path, rows in ((Path("more.jsonl"), 270), (Path("m"), 210)):
        found = seed.seed_of(path, Asked(), repo, NOW, first=True)
        stored = [json.loads(line) for line in found.rows.splitlines()]
        assert len(stored) == rows
        assert {"id", "text", "output", "time"} <= stored[0].keys()
    more = seed.seed_of(Path("more.jsonl"), Asked(), repo, NOW, first=True)
    assert b"[EMAIL]" in more.rows and b"ann@" not in more.rows
    pairs(Path("broken.jsonl"), 300, lambda n: f"Sure, {n}")
    with pytest.raises(BadConfig, match=r"answer is not JSON by schema\.json"):
        seed.seed_of(Path("broken.jsonl"), Asked(), repo, NOW, first=True)


def test_chats_bring_their_system_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chats = (
        {
            "messages": [
                {"role": "system", "content": "You are kind." if n % 5 else "You are brief."},
                {"role": "user", "content": f"Where is order A-{n}? I am ann{n}@example.com"},
                {"role": "assistant", "content": f"Dear ann{n}@example.com, A-{n} is on its way."},
            ]
        }
        for n in range(200)
    )
    Path("chats.jsonl").write_text("".join(f"{json.dumps(chat)}\n" for chat in chats))
    status, said = run("init", "m", "--task", "generation", "--data", "chats.jsonl")
    assert status == 0, said
    task = task_of(model_repo.read(Path("m")).config.task)
    assert (task.prompt.system, task.prompt.user("hi")) == ("You are kind.", "hi")
    first = json.loads(Path("m/launch.jsonl").read_text().splitlines()[0])
    assert first["text"].endswith("I am [EMAIL]") and first["output"].startswith("Dear [EMAIL],")
    assert run("check", "m")[0] == 0


GOOD_PAIR = '{"input": "late", "output": "delivery"}\n'


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (GOOD_PAIR, "1 pairs, expected 100 or more"),
        (GOOD_PAIR + '{"input": "x"}\n', "1 of 2 lines are no pairs, mostly since it has no"),
        ("", "0 of 0 lines are no pairs"),
    ],
)
def test_pairs_that_are_refused_write_nothing(
    lines: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs.jsonl").write_text(lines)
    status, said = run("init", "m", "--task", "generation", "--data", "pairs.jsonl")
    assert status == 2
    assert says in said
    assert not Path("m").exists()


def test_generation_needs_pairs(tmp_path: Path) -> None:
    status, said = run("init", str(tmp_path / "m"), "--task", "generation")
    assert status == 2
    assert "expected --data FILE with pairs" in said
