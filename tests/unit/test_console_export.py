"""A version as a folder for a user's own CI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from driftgate import bus_kafka
from driftgate.artifacts import Artifacts
from driftgate.bus_memory import MemoryBus
from driftgate.bus_tools import publish
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import Rollout
from services.console import export_cli

MODEL = "support"
CODEC = Codec.load(Settings().schemas)


class Shop:
    """An artifact store with versions, a bus, and an operator."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.bus = MemoryBus()
        self.bus.ensure(CODEC.topics.by_name.values())
        self.settings = Settings(artifacts=f"file://{home / 'artifacts'}")
        self.artifacts = Artifacts(self.settings.artifacts)
        monkeypatch.setattr(export_cli, "settings", lambda *_: self.settings)
        monkeypatch.setattr(bus_kafka, "KafkaBus", lambda *_: self.bus)

    def trained(self, number: int) -> None:
        candidate = {
            "model": MODEL,
            "version": number,
            "adapter_uri": self.folder(labels=f"labels of {number}", adapter="weights"),
            "dataset_uri": self.folder(
                **{"test.jsonl": "held out", "train.jsonl": "learned", "card.json": "{}"}
            ),
            "model_card_uri": self.artifacts.put(f"card of {number}".encode()),
        }
        self.artifacts.set_ref(f"models/{MODEL}/versions/{number}", {"candidate": candidate})

    def judged(self, number: int) -> None:
        verdict = {"version": number, "report_uri": self.folder(**{"README.md": "with results"})}
        self.artifacts.set_ref(f"models/{MODEL}/verdicts/{number}-abc", {"verdict": verdict})

    def folder(self, **files: str) -> str:
        return self.artifacts.put_json(
            {name: self.artifacts.put(text.encode()) for name, text in files.items()}
        )

    def champion(self, number: int) -> None:
        rollout = Rollout(model=MODEL, epoch=1, champion=number, stage="idle", since=0, time=0)
        publish(self.bus.producer(), CODEC, [rollout])

    def export(self, *arguments: str, model: str = MODEL) -> Result:
        app = typer.Typer()
        app.command()(export_cli.export)
        return CliRunner().invoke(app, [model, str(self.home / "out"), *arguments])

    def written(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.home / "out").iterdir()}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path, monkeypatch)
    for number in (1, 2, 10):
        made.trained(number)
    return made


def test_the_folder_holds_what_eval_needs_and_both_cards(shop: Shop) -> None:
    assert shop.export("--version", "2").exit_code == 0
    assert shop.written() == {
        "labels": "labels of 2",
        "adapter": "weights",
        "test.jsonl": "held out",
        "card.json": "{}",
        "README.md": "card of 2",
    }


def test_the_model_card_has_its_results_once_the_version_was_judged(shop: Shop) -> None:
    shop.judged(2)
    shop.export("--version", "2")
    assert shop.written()["README.md"] == "with results"


def test_the_champion_is_meant_unless_a_version_is_named(shop: Shop) -> None:
    shop.champion(2)
    assert f"{MODEL}@2 written" in shop.export().output
    assert shop.written()["labels"] == "labels of 2"


def test_before_the_first_release_the_newest_version_is_meant(shop: Shop) -> None:
    assert f"{MODEL}@10 written" in shop.export().output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": "suport"}, "model 'suport' has no version: did you mean 'support'?"),
        ({"version": "3"}, "version 3 of support is not known; known are [1, 2, 10]"),
        ({"version": "0"}, "version 0 of support is not known"),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_known(
    shop: Shop, arguments: dict[str, Any], says: str
) -> None:
    version = ["--version", arguments["version"]] if "version" in arguments else []
    result = shop.export(*version, model=arguments.get("model", MODEL))
    assert result.exit_code != 0
    assert says in result.output
    assert not (shop.home / "out").exists()


def test_a_folder_with_files_is_left_as_it_is(shop: Shop) -> None:
    (shop.home / "out").mkdir()
    assert shop.export("--version", "1").exit_code == 0
    result = shop.export("--version", "2")
    assert result.exit_code != 0
    assert "is not an empty folder" in result.output
    assert shop.written()["labels"] == "labels of 1"


def test_a_part_that_is_not_stored_leaves_no_folder(shop: Shop) -> None:
    record = shop.artifacts.ref(f"models/{MODEL}/versions/1")
    lost = "sha256:" + "0" * 64
    broken = {"candidate": record["candidate"] | {"version": 11, "adapter_uri": lost}}
    shop.artifacts.set_ref(f"models/{MODEL}/versions/11", broken)
    result = shop.export("--version", "11")
    assert result.exit_code != 0
    assert "is not stored" in result.output
    assert not (shop.home / "out").exists()
