"""`driftgate backtest` and `driftgate drift`, on a store and on files."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from drift_world import LABELS, MODEL, YAML, day, inference, outcome, routing, verdict
from stored_world import keep_events, store_here
from typer.testing import CliRunner, Result

from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import DAY_MS, AnyEvent, RetrainRequest
from driftgate.store import Store
from services.console import backtest_cli, declarations, drift_cli, stored_events

DAYS, A_DAY, BAD_FROM = 10, 300, 6

Command = Callable[..., Result]


def events() -> Iterator[AnyEvent]:
    rng = random.Random(1)
    yield RetrainRequest(retrain_id="l", model=MODEL, reason="launch", actor="ana", time=day(0))
    yield verdict(1, day(0), retrain_id="l")
    yield routing(1, day(0))
    for n in range(DAYS * A_DAY):
        time = day(n / A_DAY)
        yield inference(n, time)
        wrong = rng.random() < (0.5 if time >= day(BAD_FROM) else 0.1)
        yield outcome(n, time + 5000, not wrong)


@pytest.fixture(scope="module")
def store(codec: Codec) -> Iterator[Store]:
    with store_here() as found:
        keep_events(found, codec, events())
        yield found


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """The declared model repo."""
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "model.yaml").write_text(YAML)
    return folder


@pytest.fixture
def command(store: Store, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr(backtest_cli, "settings", lambda *_: Settings())
    monkeypatch.setattr(declarations, "model_folder", lambda *_: repo)
    monkeypatch.setattr(store, "close", lambda: None)
    monkeypatch.setattr(Store, "connect", lambda *_: store)
    app = typer.Typer()
    app.command()(backtest_cli.backtest)

    def typed(*words: object, status: int = 0) -> Result:
        found = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
        assert found.exit_code == status, found.output
        return found

    return typed


def told(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_what_is_stored_is_told_with_delay_and_false_alarms(command: Command) -> None:
    known = ["--incident", "2026-01-03..2026-01-04", "--incident", "2026-01-07"]
    found = told(command(MODEL, *known, "--json"))
    assert found["answers"] == DAYS * A_DAY
    (one,) = found["incidents"]
    assert day(BAD_FROM) < one["opened"] < day(BAD_FROM + 1)
    assert one["earliest"] <= day(BAD_FROM) + DAY_MS / 10
    assert one["words"].startswith("errors rose from 10 % to")
    assert found["requests"][0]["reason"] == "drift"
    missed, hit = found["known"]
    assert (missed["told_by"], missed["delay_ms"]) == (None, DAY_MS)
    assert hit["told_by"] == one["id"]
    assert found["false_alarms"] == []
    words = command(MODEL, *known).stdout
    assert "errors:all" in words
    assert "missed" in words
    assert "0 false alarms in 10 days" in words


def test_monitors_of_a_file_take_the_place_of_the_declared_ones(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("monitors:\n  - {name: sure, signal: output, value: low_confidence}\n")
    assert told(command(MODEL, "--monitors", file, "--json"))["incidents"] == []
    file.write_text(YAML.replace("all, language=es", "all, language=fr"))
    found = told(command(MODEL, "--monitors", file, "--json"))
    assert len(found["incidents"]) == 1
    assert "no answer is in slice 'language=fr'" in found["notes"][0]
    assert "language=en" in found["notes"][0] or "language=es" in found["notes"][0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("monitors:\n  - {name: a, signal: output, value: confidense}\n", "low_confidence"),
        ("monitors: []\ngate: {}\n", "yaml:2: `gate` is {}, expected a whole model.yaml, or only"),
        ("monitors: [", "yaml:"),
        (YAML.replace("model: post", "model: mail"), "`model` is 'mail', expected 'post'"),
    ],
)
def test_a_file_of_monitors_that_cannot_be_used(
    command: Command, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text)
    assert said in command(MODEL, "--monitors", file, status=2).stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((MODEL, "--since", "2027-01-01"), "nothing lies between"),
        ((MODEL, "--until", "2025-01-01"), "nothing lies between"),
        ((MODEL, "--since", "yesterday"), "expected a span such as"),
        ((MODEL, "--incident", "2026-01-05..2026-01-04"), "begins before it ends"),
        ((MODEL, "--plot", "a.png"), "expected a name that ends in .svg"),
        (("mail",), "`model` is"),
    ],
)
def test_what_cannot_be_replayed(
    command: Command, repo: Path, words: tuple[str, ...], said: str
) -> None:
    more = ["--monitors", repo / "model.yaml"] if words[0] == "mail" else []
    assert said in command(*words, *more, status=2).stderr


def test_a_model_without_answers(store: Store) -> None:
    with pytest.raises(stored_events.BadConfig, match="did you mean 'post'"):
        stored_events.stored(store, "posts")


def test_a_part_of_the_time(command: Command) -> None:
    found = told(command(MODEL, "--since", "2026-01-02", "--until", "2026-01-06", "--json"))
    assert found["answers"] == 4 * A_DAY
    assert found["incidents"] == []


def test_hours_are_read_in_parts_of_about_as_many_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(stored_events.events(store, MODEL, day(0), day(DAYS) + 1))
    monkeypatch.setattr(stored_events, "ROWS", 100)
    assert list(stored_events.events(store, MODEL, day(0), day(DAYS) + 1)) == whole
    assert len(whole) == 2 * DAYS * A_DAY + 3


def test_the_plot_shows_each_incident(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "plots" / "drift.svg"
    assert f"{path} written" in command(MODEL, "--plot", path, "--incident", "7d").stdout
    drawn = path.read_text()
    assert "errors:all" in drawn
    assert "errors rose from 10 %" in drawn
    assert "known 2026-01" in drawn


# ---------------------------------------------------------------- files


def rows(n: int = 3000) -> Iterator[dict[str, object]]:
    rng = random.Random(2)
    for at in range(n):
        expected = LABELS[at % 3]
        wrong = rng.random() < (0.4 if at >= 2000 else 0.1)
        yield {
            "Date": f"2026-03-{1 + at // 100:02d}T{at % 100 // 5:02d}:00",
            "prediction": LABELS[(at + 1) % 3] if wrong else expected,
            "label": expected,
            "confidence": 0.5 if at % 5 == 0 else 0.9,
            "language": "es" if at % 4 == 0 else "en",
            "words": at % 7,
        }


def written(path: Path, found: list[dict[str, object]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
        return path
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, list(found[0]))
        out.writeheader()
        out.writerows(found)
    return path


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl"])
def test_any_file_of_answers_is_replayed(command: Command, tmp_path: Path, name: str) -> None:
    file = written(tmp_path / name, list(rows()))
    found = told(command(MODEL, "--file", file, "--reference", 1000, "--json"))
    assert found["answers"] == 2000
    (one,) = found["incidents"]
    assert 1_774_000_000_000 <= one["since"] <= 1_774_200_000_000  # around the 21st of March
    notes = " ".join(found["notes"])
    assert "the first 1,000 rows, 2026-03-01 00:00 to 2026-03-10 19:00, measure" in notes
    assert "slices: language" in notes
    assert "features: words" in notes
    assert "column Date is time" in notes


def test_what_is_no_number_is_told_and_does_not_count(command: Command, tmp_path: Path) -> None:
    found = list(rows(1500))
    for row in found[:5]:
        row["confidence"] = "NaN"
    found[7]["words"] = "inf"
    file = written(tmp_path / "answers.csv", found)
    notes = " ".join(told(command(MODEL, "--file", file, "--json"))["notes"])
    assert "5 rows: confidence is no finite number, and does not count" in notes
    assert "1 rows: words is no finite number" in notes


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"Date": None}, (), "no column is the time: expected one of time, timestamp"),
        ({"Date": "soon"}, (), "1,500 of 1,500 rows cannot be used, mostly since it has no time"),
        ({"prediction": "refunds"}, (), "prediction is 'refunds': did you mean 'refund'?"),
        ({"correct": "perhaps"}, (), "correct is 'perhaps': expected true or false"),
        ({}, ("--reference", "1500"), "expected a number of rows from 1 to 1499"),
        ({}, ("--column", "answer=x"), "--column answer=x: "),
        ({}, ("--column", "output=predicted"), "did you mean 'prediction'"),
        ({}, ("--column", "output"), "expected ROLE=NAME"),
    ],
)
def test_a_file_that_cannot_be_replayed(
    command: Command,
    tmp_path: Path,
    change: dict[str, str | None],
    words: tuple[str, ...],
    said: str,
) -> None:
    found = [{**row, **change} for row in rows(1500)]
    found = [{k: v for k, v in row.items() if v is not None} for row in found]
    file = written(tmp_path / "answers.csv", found)
    assert said in command(MODEL, "--file", file, *words, status=2).stderr


# ---------------------------------------------------------------- how streams stand now


@pytest.fixture
def now(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr(drift_cli, "settings", lambda *_: Settings())
    app = typer.Typer()
    app.command()(drift_cli.drift)
    return lambda *words: CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def test_streams_with_their_evidence_and_what_is_not_watched(
    now: Command, repo: Path, tmp_path: Path
) -> None:
    (repo / "model.yaml").write_text(YAML.replace("language=es", "language=fr"))
    path = tmp_path / "now.svg"
    result = now(MODEL, "--json", "--picture", str(path))
    found = told(result)
    streams = {one["name"]: one for one in found["versions"]["1"]}
    errors = streams["errors:all"]
    assert errors["n"] == pytest.approx(DAYS * A_DAY, abs=10)
    assert (errors["reference"], errors["measured"]) == (0.1, None)
    assert errors["newest"] > errors["bar"]
    assert [one["words"][:11] for one in found["incidents"]] == ["errors rose"]
    assert any("no answer is in slice 'language=fr'" in note for note in found["notes"])
    assert "errors:all @1" in path.read_text()
    words = now(MODEL).stdout
    assert "post@1" in words
    assert "█" in words
    assert "open since 2026-01-" in words
