"""What the model repo in force declares of a model."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.model_repo import ModelYaml
from services.console.orders import declared


def model_yaml(found: Settings, model: str) -> ModelYaml:
    """
    Raises:
        BadConfig: no such model is declared, or its repo cannot be used.
        BusUnavailable, ArtifactsUnavailable
    """
    return model_repo.declared(model_folder(found, model)).config


def model_folder(found: Settings, model: str) -> Path:
    """The model repo in force, in a folder.

    Raises:
        BadConfig: no such model is declared.
        BusUnavailable, ArtifactsUnavailable
    """
    with closing(KafkaBus(found.kafka)) as bus:
        uri = declared(bus, Codec.load(found.schemas, found.registry), model).repo_uri
    return Artifacts(found.artifacts).get_folder(uri, found.state_dir / "repos")
