"""A retrain request together with all that it refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftgate.codec import digest
from driftgate.events import Candidate, RetrainRequest
from driftgate.label_names import named
from driftgate.model_repo import ModelRepo
from driftgate.slices import ALL
from driftgate.tasks import Task, task_of
from services.trainer.curation import CurationRules, Dataset, Row
from services.trainer.dataset import About
from services.trainer.rows import Measured
from services.trainer.worker import Done, Job


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """`seed_uri` is the launch's, or the request's own; `seed_reading` says how its rows were
    read; `excluded` ids are never learned from, of this request and those before."""

    event: RetrainRequest
    repo: ModelRepo
    seed_uri: str | None
    seed_reading: Mapping[str, Any] | None
    excluded: frozenset[str]

    @property
    def task(self) -> Task:
        """What the model does."""
        return task_of(self.repo.config.task)

    @property
    def parent(self) -> int | None:
        """The champion when it was asked; None before the first release."""
        champion = self.event.champion
        return champion.version if champion else None

    @property
    def rules(self) -> CurationRules:
        """For the curation."""
        return CurationRules(
            until=self.event.time,
            launch=self.event.reason == "launch",
            task=self.task,
            excluded=self.excluded,
            drill=self.event.drill,
            seed=self.event.retrain_id,
            data=self.repo.config.data,
            min_preferences=self.min_preferences,
        )

    @property
    def min_preferences(self) -> int:
        """Pairs without which there is nothing to learn."""
        method = self.repo.config.method
        return method.dpo.min_pairs if method.recipe == "dpo" else 0

    @property
    def slices(self) -> tuple[str, ...]:
        """Those that somebody watches: protected, monitored or drifted."""
        config = self.repo.config
        watched = {name for monitor in config.monitors for name in monitor.slices}
        found = {*watched, *config.gate.protected, *self.event.focus_slices} - {ALL}
        return tuple(sorted(found))

    def about(self, measured: Measured) -> About:
        """For the dataset card."""
        return About(
            model=self.event.model,
            task=self.task,
            retrain_id=self.event.retrain_id,
            reason=self.event.reason,
            drill=self.event.drill,
            time=self.event.time,
            data=self.repo.config.data,
            feedback=self.repo.config.feedback,
            slices=self.slices,
            repo_hash=self.repo.hash,
            seed_uri=self.seed_uri,
            seed_reading=self.seed_reading,
            excluded=self.excluded,
            measured=measured,
        )

    def job(self, curated: Dataset, threads: int, checkpoint: Path) -> Job:
        """For the worker."""
        config = self.repo.config
        apart = {"recipe", "rank", "seed", "dpo", "label_names"}
        method = config.method.model_dump(exclude=apart)
        return Job(
            recipe=config.method.recipe,
            examples=tuple((row.text, row.target) for row in curated.train),
            names=named(self.task.outputs or (), config.method.label_names),
            preferences=tuple(
                (row.text, row.target, row.rejected or "") for row in curated.preferences
            ),
            method={**method, "r": config.method.rank},
            dpo=config.method.dpo.model_dump(),
            task=self.task.told,
            base=config.base.name,
            base_sha256=config.base.sha256,
            seed=config.method.seed,
            threads=threads,
            checkpoint=str(checkpoint),
        )

    def candidate(self, number: int, told: Mapping[str, Any], done: Done) -> Candidate:
        """The event about version `number`, without its artifacts; `told` is the dataset card."""
        config, event = self.repo.config, self.event
        return Candidate(
            retrain_id=event.retrain_id,
            model=event.model,
            version=number,
            parent=self.parent,
            epoch=event.epoch,
            champion=event.champion,
            task=self.task.kind,
            base=config.base.name,
            base_digest=done.base_digest,
            method=config.method.by(done.recipe).name,
            dataset_id=told["id"],
            repo_hash=self.repo.hash,
            reason=event.reason,
            drill=event.drill,
            train_rows=told["train"]["rows"],
            test_rows=told["test"]["rows"],
            time=event.time,
            adapter_uri="",
            adapter_digest="",
            dataset_uri="",
            model_card_uri="",
            run_uri="",
        )

    def evidence(self, pool: list[Row]) -> Mapping[str, Any]:
        """What the curation was given, for the audit: the rows by their hash, since the store
        gives the same ones for the same request."""
        rules = self.rules
        return {
            "retrain_id": self.event.retrain_id,
            "reason": self.event.reason,
            "until": rules.until,
            "repo_hash": self.repo.hash,
            "data": rules.data.model_dump(),
            "excluded": {"ids": len(self.excluded), "sha256": digest(self.excluded)},
            "drill": rules.drill,
            "seed_uri": self.seed_uri,
            "rows": len(pool),
            "rows_sha256": digest(sorted([row.id, row.target, row.time] for row in pool)),
        }
