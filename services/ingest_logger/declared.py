"""The models that are in force: topic `models`, and the model repos that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus import Bus, Position
from driftgate.codec import Codec
from driftgate.errors import BadConfig, BadInput, Corrupt
from driftgate.events import Model
from driftgate.model_repo import ModelYaml
from driftgate.personal.masking import Masker
from services.ingest_logger.rules import maskers_of


@dataclass
class Declared:
    """Follows the topic on its own, so that what was declared before a record was sent is known
    when the record is validated, whichever of the two is polled first.

    Attributes:
        cache: folder of model repos that were fetched.
        key: what persons and their data are hashed with.
        refused: by artifact URI, why a model repo cannot be used.
    """

    bus: Bus
    codec: Codec
    artifacts: Artifacts
    cache: Path
    key: bytes
    models: dict[str, ModelYaml] = field(default_factory=dict)
    maskers: dict[str, Masker] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _ends: Mapping[Position, int] = field(default_factory=dict)

    def refresh(self) -> bool:
        """Reads the topic if it grew; says whether it did.

        A declaration whose model repo cannot be read changes nothing: it stands in `refused`.

        Raises:
            BusUnavailable
        """
        ends = self.bus.ends([Model.TOPIC])
        if ends == self._ends:
            return False
        models: dict[str, ModelYaml] = {}
        for record in self.bus.read_all([Model.TOPIC]):
            try:
                declaration = Model.of(self.codec.read(Model.TOPIC, record.value))
            except BadInput:  # becomes a dead letter when it is polled
                continue
            if (found := self.read(declaration.repo_uri)) is not None:
                models[declaration.model] = found
        self.models, self.maskers, self._ends = models, maskers_of(models, self.key), ends
        return True

    def read(self, uri: str) -> ModelYaml | None:
        """The declaration in a model repo; None if it cannot be read."""
        try:
            return model_repo.fetch(uri, self.artifacts, self.cache).config
        except (BadConfig, Corrupt) as error:
            self.refused[uri] = str(error)
            return None
