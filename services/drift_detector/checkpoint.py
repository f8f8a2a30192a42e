"""What the service remembers of each model, kept together with the positions up to which records
are part of it, so that no record is counted twice or left out, whenever it is killed.

It is written when a tick has moved the evidence. What came since then lies on Kafka, and is read
again. The file may be lost without harm: without it the service reads the topics again from the
earliest record that they keep, and comes to the same state as far as their retention reaches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from driftgate.bus import Bus, Position
from driftgate.drift.detectors import RiverDetector
from driftgate.drift.incidents import Incidents
from driftgate.drift.model_state import ModelState
from driftgate.errors import BadConfig
from driftgate.health import Log, log_for
from driftgate.topology import DRIFT
from services.drift_detector import (
    checkpoint_file,
    checkpoint_v1,
    checkpoint_v2,
    checkpoint_v3,
    checkpoint_v4,
)


@dataclass
class State:
    """All that is remembered.

    Attributes:
        positions: next offset of each topic-partition that is part of it.
        told: next offset of each topic-partition that other replicas read for it.
    """

    positions: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    models: dict[str, ModelState] = field(default_factory=dict)

    def model(self, name: str) -> ModelState:
        return self.models.setdefault(name, ModelState(incidents=Incidents(name)))

    def forget_undeclared(self) -> None:
        """Of a model whose declaration may still come, its routing and verdicts are kept: they are
        told once. What it answered is not."""
        self.models = {
            name: found if found.repo_uri else undeclared(name, found)
            for name, found in self.models.items()
            if found.repo_uri or found.under.epoch
        }


def undeclared(name: str, found: ModelState) -> ModelState:
    return ModelState(under=found.under, judged=found.judged, incidents=Incidents(name))


STATE = TypeAdapter(State)
MODEL_STATE = TypeAdapter(ModelState)


@dataclass
class Checkpoint:
    """The service's memory. `state` is what it holds now.

    Attributes:
        path: its file. One of an older release is NAME.json beside it.
        dirty: whether a tick has changed the state since it was written.
    """

    path: Path
    bus: Bus
    log: Log = field(default_factory=lambda: log_for(DRIFT))
    state: State = field(default_factory=State)
    dirty: bool = False
    _kept: dict[str, bytes] = field(default_factory=dict)

    def restore(self) -> Mapping[Position, int]:
        """
        Raises:
            BusUnavailable
        """
        self.state, self.dirty, self._kept = self._believed() or State(), False, {}
        return {at: self.state.positions[str(at)] for at in self._ends(self.state.positions)}

    def keep(self, positions: Mapping[Position, int]) -> None:
        """
        Raises:
            OSError
        """
        if not self.dirty:
            return
        self.state.positions = {str(at): offset for at, offset in positions.items()}
        states = {
            name: checkpoint_file.packed(MODEL_STATE.dump_json(model))
            for name, model in self.state.models.items()
        }
        checkpoint_file.write(
            self.path,
            {"positions": self.state.positions, "told": self.state.told},
            {name: state for name, state in states.items() if self._kept.get(name) != state},
            models=states,
        )
        self.older.unlink(missing_ok=True)
        self.dirty, self._kept = False, states

    @property
    def older(self) -> Path:
        return self.path.with_suffix(".json")

    def _believed(self) -> State | None:
        """None when there is nothing, nothing that this version can read, or the state of other
        topics: those that are there end before its positions. Such a file is set aside."""
        try:
            written = self._written()
            for model, stream, error in drop_unbuildable(written):
                self.log.warning("stream dropped", model=model, stream=stream, error=str(error))
            state = STATE.validate_python(written)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._pass_over(f"it cannot be read: {type(error).__name__}: {error}")
            return None
        ours = self._of_these_topics(state.positions) and self._of_these_topics(state.told)
        if not ours:
            self._pass_over("its positions are not those of these topics")
        return state if ours else None

    def _written(self) -> dict[str, Any]:
        """
        Raises:
            FileNotFoundError, ValueError: as `checkpoint_file.read`.
        """
        if self.path.exists() or not self.older.exists():
            return checkpoint_file.read(self.path)
        written: dict[str, Any] = json.loads(self.older.read_bytes())
        for release in (checkpoint_v1, checkpoint_v2, checkpoint_v3, checkpoint_v4):
            written = release.upgraded(written)
        return written

    def _pass_over(self, why: str) -> None:
        """The topics are read again instead."""
        found = self.path if self.path.exists() else self.older
        aside = found.with_name(f"{found.name}.passed-over")
        self.log.warning("checkpoint passed over", path=str(aside), error=why)
        found.replace(aside)

    def _of_these_topics(self, positions: Mapping[str, int]) -> bool:
        ends = self._ends(positions)
        return len(ends) == len(positions) and all(
            positions[str(at)] <= end for at, end in ends.items()
        )

    def _ends(self, positions: Mapping[str, int]) -> Mapping[Position, int]:
        """Where partitions end now, as far as they are there."""
        ends = self.bus.ends({name.rpartition("-")[0] for name in positions})
        return {at: end for at, end in ends.items() if str(at) in positions}


def drop_unbuildable(written: Mapping[str, Any]) -> Iterator[tuple[str, str, BadConfig]]:
    """Takes the detectors of river out of a checkpoint that this version does not have, and tells
    them: model, `version:stream`, why. All other evidence stays."""
    for model, found in written["models"].items():
        for version, streams in found.get("evidence", {}).get("streams", {}).items():
            for name, detector in list(streams.get("others", {}).items()):
                try:
                    RiverDetector(detector["name"], detector["mean"])
                except BadConfig as error:
                    del streams["others"][name]
                    yield model, f"{version}:{name}", error
