"""What a router serves: one immutable value, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from driftgate.engines import Base, Engine, Predictor, Writer
from driftgate.events import Routing
from driftgate.generator.prompt import PLAIN, Prompt
from driftgate.generator.question import Sampling
from driftgate.model_repo import ModelYaml
from driftgate.routing import Arm, arm_of, residents_of
from driftgate.tasks import kind_of, task_of


def base_of(arm: Arm) -> Base:
    return Base(arm.task, arm.base, arm.base_digest)


@dataclass(frozen=True, slots=True)
class Served:
    """One model as it is served: the routing record, who computes it, its model repo.

    Attributes:
        absent: versions that should stand by and could not be loaded, and why.
    """

    routing: Routing
    engines: Mapping[Base, Engine]
    repo: ModelYaml
    absent: Mapping[int, str] = field(default_factory=dict)

    def predictor(self, arm: Arm) -> Predictor:
        """Who computes a version that chooses."""
        return cast(Predictor, self.engines[base_of(arm)])

    def writer(self, arm: Arm) -> Writer:
        """Who computes a version that writes."""
        return cast(Writer, self.engines[base_of(arm)])

    @property
    def writers(self) -> set[Writer]:
        """All who write."""
        engines = self.engines.items()
        return {cast(Writer, engine) for base, engine in engines if kind_of(base.task).writes}

    def prompt(self, arm: Arm) -> Prompt:
        """What an input becomes before a version sees it. Records of before tell none: there the
        model repo does."""
        return arm.prompt or task_of(self.repo.task).prompt or PLAIN

    @property
    def systems(self) -> set[str | None]:
        """What versions that may be heard are told before all else."""
        return {self.prompt(arm_of(arm, self.routing)).system for arm in self.routing.arms}

    @property
    def sampling(self) -> Sampling:
        """How texts are written."""
        declared = task_of(self.repo.task).sampling
        assert declared is not None, "asked of models that write alone"
        return declared

    @property
    def digests(self) -> frozenset[str]:
        """Adapters that are kept in memory."""
        residents = residents_of(self.routing)
        return frozenset(arm.digest for arm in residents if arm.version not in self.absent)


Snapshot = Mapping[str, Served]
