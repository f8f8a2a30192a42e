"""`driftgate export`: a version as a folder, for a user's own CI or serving."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftgate.errors import BadConfig, nearest
from services.console.terminal import HERE, KAFKA, State, reports_errors, say, settings

if TYPE_CHECKING:
    from driftgate.artifacts import Artifacts
    from driftgate.config import Settings

DATASET_FILES = ("test.jsonl", "card.json")
CARD = "README.md"

Versions = Mapping[int, Mapping[str, Any]]
"""What the refs `models/MODEL/versions/N` say, by N."""


@reports_errors
def export(
    model: str,
    folder: Annotated[Path, typer.Argument(help="where to write it; absent or empty")],
    version: Annotated[
        int | None, typer.Option(help="its number; the champion if absent, else the newest")
    ] = None,
    state: State = HERE,
) -> None:
    """Writes a version into a folder: adapter, held-out rows, dataset card and model card."""
    from driftgate.artifacts import Artifacts

    refuse_unless_empty(folder)
    found = settings(state, *([KAFKA] if version is None else []))
    artifacts = Artifacts(found.artifacts)
    versions = versions_of(artifacts, model)
    number = version if version is not None else champion_of(found, model) or max(versions)
    write(artifacts, model, chosen(model, versions, number), folder)
    say(f"{model}@{number} written to {folder}: `driftgate eval MODEL_REPO {folder}` judges it")


def refuse_unless_empty(folder: Path) -> None:
    """
    Raises:
        BadConfig: the folder holds files, which might be mixed up with the version's.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadConfig(f"{folder} exists and is not an empty folder: name another one")


def versions_of(artifacts: Artifacts, model: str) -> Versions:
    """Every trained version of a model.

    Raises:
        BadConfig: it has none.
    """
    records = artifacts.refs(f"models/{model}/versions/").values()
    if records:
        return {record["candidate"]["version"]: record for record in records}
    trained = {
        record["candidate"]["model"]
        for name, record in artifacts.refs("models/").items()
        if name.split("/")[2] == "versions"
    }
    hint = nearest(model, sorted(trained)) if trained else "no model has any"
    raise BadConfig(
        f"model {model!r} has no version: {hint}; `driftgate retrain {model}` trains one"
    )


def champion_of(found: Settings, model: str) -> int | None:
    """The version at full traffic; None before the first release."""
    from driftgate.bus_kafka import KafkaBus
    from driftgate.bus_tools import newest
    from driftgate.codec import Codec
    from driftgate.events import Rollout

    with closing(KafkaBus(found.kafka)) as bus:
        state = newest(bus, Codec.load(found.schemas, found.registry), Rollout).get(model)
    return None if state is None else state.champion


def chosen(model: str, versions: Versions, number: int) -> Mapping[str, Any]:
    """The candidate of a version, as it was offered.

    Raises:
        BadConfig: there is no such version.
    """
    if number not in versions:
        raise BadConfig(f"version {number} of {model} is not known; known are {sorted(versions)}")
    candidate: Mapping[str, Any] = versions[number]["candidate"]
    return candidate


def write(artifacts: Artifacts, model: str, candidate: Mapping[str, Any], folder: Path) -> None:
    """Fetches all parts of a version, which verifies them, and then writes its folder.

    Raises:
        Corrupt: a part is not stored, or is not what its hash says.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        card = card_of(artifacts, model, candidate, scratch)
        dataset = artifacts.get_folder(candidate["dataset_uri"], scratch)
        adapter = artifacts.get_folder(candidate["adapter_uri"], scratch)
        shutil.copytree(adapter, folder, dirs_exist_ok=True)
        for file in DATASET_FILES:
            shutil.copyfile(dataset / file, folder / file)
        (folder / CARD).write_bytes(card)


def card_of(artifacts: Artifacts, model: str, candidate: Mapping[str, Any], scratch: Path) -> bytes:
    """The model card: with its results once the version was judged, else as it was trained."""
    for record in artifacts.refs(f"models/{model}/verdicts/").values():
        if record["verdict"]["version"] == candidate["version"]:
            return (
                artifacts.get_folder(record["verdict"]["report_uri"], scratch) / CARD
            ).read_bytes()
    return artifacts.get(candidate["model_card_uri"])
