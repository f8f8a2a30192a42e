"""A retrain request in, a candidate out.

What was made stands in the artifact store before it is told: `models/MODEL/versions/N` holds the
candidate, its lineage by hash and the decision, so a request that comes again is told the same.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from driftgate import metrics, model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.codec import digest
from driftgate.config import Settings
from driftgate.dead_letters import UNHANDLED, UNKNOWN_MODEL
from driftgate.errors import BadInput, Retriable, StoreRefused
from driftgate.events import Candidate, Model, RetrainRequest, Routing, Tick
from driftgate.health import Health, Log
from driftgate.model_repo import ModelRepo
from driftgate.routing import champion_of, pinned_champion
from driftgate.runtime import AuditDraft, Effect, Handler, Service, View, Views
from driftgate.scaffold import launch
from driftgate.store import Store
from driftgate.tasks import Task
from driftgate.topology import TRAINER
from services.trainer import cards, dataset, declared_feedback
from services.trainer.curation import Dataset, Refused, Row, curate
from services.trainer.declared_feedback import Checked, Due
from services.trainer.progress import Progress
from services.trainer.request import TrainingRequest
from services.trainer.rows import logged_rows, measured, seed_rows
from services.trainer.worker import Done, Job, Step

LONGEST_TRAINING_SECONDS = 3600.0

VersionRecord = Mapping[str, Any]
"""A version as its ref says it: `candidate`, `lineage`, `decision`."""


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """What became of a request: a version, or a refusal. `evidence` is what the curation was
    given."""

    event: RetrainRequest
    version: VersionRecord | None
    refusal: str = ""
    evidence: Mapping[str, Any] | None = None


class Workers(Protocol):
    """Where torch runs."""

    def train(self, job: Job, report: Callable[[Step], None]) -> Done: ...


@dataclass
class Trainer:
    """The edge of the service: reads rows, trains, stores. `answer` blocks while a version is
    trained."""

    settings: Settings
    store: Store
    artifacts: Artifacts
    workers: Workers
    log: Log
    health: Health

    def service(self) -> Service:
        return Service(
            name=TRAINER,
            handlers={
                RetrainRequest: Handler(effects, self.answer),
                Tick: Handler(
                    declared_feedback.effects, self.check_feedback, declared_feedback.due
                ),
            },
            views=(View(Model), View(Routing)),
            max_work_seconds=LONGEST_TRAINING_SECONDS,
        )

    def answer(self, event: RetrainRequest, views: Views, now: int) -> Fulfilment:
        """A version, or why there is none.

        Raises:
            BadInput, BadConfig: the request, its model repo or its seed rows cannot be used.
            Retriable: the store or Ray does not answer.
        """
        try:
            found = self.fulfilment(pinned(event, views[Routing].get(event.model)), views)
        except Retriable:  # goes on from its checkpoint
            raise
        except Exception:
            self.forget_checkpoint(event)
            raise
        finally:
            self.health.heartbeat(activity=None, progress=None, eta=None)
        self.forget_checkpoint(event)
        return found

    def fulfilment(self, event: RetrainRequest, views: Views) -> Fulfilment:
        """The version as it was made for this request, or as it is made now."""
        declared = declaration(event, views)
        versions = self.versions(event.model)
        for found in versions.values():
            if found["candidate"]["retrain_id"] == event.retrain_id:
                return Fulfilment(event, found)
        if late := too_late(event, views[Routing].get(event.model)):
            return Fulfilment(event, None, *late)
        number = 1 + max(versions, default=0)
        self.health.heartbeat(activity=f"curating data of {event.model}@{number}")
        request = self.request(event, declared, versions)
        pool = self.pool(request)
        curated = curate(pool, request.rules)
        if isinstance(curated, Refused):
            self.log.warning("refused", retrain_id=event.retrain_id, words=curated.summary)
            return Fulfilment(event, None, curated.summary, request.evidence(pool))
        made = self.version(request, pool, curated, number)
        found = self.artifacts.set_ref(f"models/{event.model}/versions/{number}", made)
        if found["candidate"]["retrain_id"] != event.retrain_id:
            # Another trainer, for which this one stood in, gave the number to another request.
            self.log.warning("number taken", version=f"{event.model}@{number}")
            return self.fulfilment(event, views)
        return Fulfilment(event, found)

    def versions(self, model: str) -> dict[int, VersionRecord]:
        """All versions of a model, by number."""
        found = self.artifacts.refs(f"models/{model}/versions/").values()
        return {record["candidate"]["version"]: record for record in found}

    def request(
        self, event: RetrainRequest, declared: Model, versions: Mapping[int, VersionRecord]
    ) -> TrainingRequest:
        """The request with its model repo, seed and exclusions as they are now."""
        seed_uri = self.seed(event, versions)
        return TrainingRequest(
            event=event,
            repo=self.repo(declared.repo_uri),
            seed_uri=seed_uri,
            seed_reading=launch.reading_kept(self.artifacts, seed_uri) if seed_uri else None,
            excluded=self.excluded(event),
        )

    def seed(self, event: RetrainRequest, versions: Mapping[int, VersionRecord]) -> str | None:
        """The request's own seed, else what its champion learned from, else the newest version;
        without any version, what an older system kept of the launch."""
        if event.seed_uri is not None:
            return event.seed_uri
        newest = versions.get(max(versions, default=0))
        before = versions.get(event.champion.version, newest) if event.champion else newest
        kept: str | None = (
            before["lineage"]["seed"]
            if before
            else self.artifacts.ref(f"models/{event.model}/seed")
        )
        return kept

    def excluded(self, event: RetrainRequest) -> frozenset[str]:
        """What a request excludes stays excluded for all later ones."""
        prefix = f"models/{event.model}/exclusions/"
        if event.exclusions:
            kept = {"time": event.time, "ids": sorted(event.exclusions)}
            # By its hash: an id may be longer than a file's name.
            self.artifacts.set_ref(prefix + digest(event.retrain_id), kept)
        all_of_them = self.artifacts.refs(prefix).values()
        return frozenset(
            name for kept in all_of_them if kept["time"] <= event.time for name in kept["ids"]
        )

    def pool(self, request: TrainingRequest) -> list[Row]:
        """Every row that might be learned from."""
        event, task, uri = request.event, request.task, request.seed_uri
        seed = [] if uri is None else seed_rows(self.artifacts, uri, task)
        config = request.repo.config
        return seed + logged_rows(self.store, event.model, event.time, config, task)

    def version(
        self, request: TrainingRequest, pool: list[Row], curated: Dataset, number: int
    ) -> VersionRecord:
        """Trains version `number` and stores all of its parts."""
        event, config = request.event, request.repo.config
        feedback = measured(self.store, event.model, event.time, config.data, request.task)
        told, files = dataset.folder(curated, request.about(feedback))
        dataset_uri = self.artifacts.put_files(files)
        name = f"{event.model}@{number}"
        against = self.feedback_warnings(request)
        if against:
            self.log.warning("feedback is not as declared", version=name, findings=against)
        job = request.job(curated, self.settings.threads, self.checkpoint(event))
        progress = Progress(name, time.monotonic(), self.log, self.health)
        started = time.time()
        done = self.workers.train(job, progress)
        ended = time.time()
        metrics.TRAIN_SECONDS.labels(event.model).observe(ended - started)
        self.log.info("trained", version=name, seconds=round(ended - started, 3))
        adapter_uri = self.artifacts.put_files(done.files)
        candidate = replace(
            request.candidate(number, told, done),
            adapter_uri=adapter_uri,
            adapter_digest=digest_of(adapter_uri),
            dataset_uri=dataset_uri,
            train_seconds=round(ended - started, 3),
        )
        manifest = cards.run_manifest(candidate, config, done, started, ended)
        candidate = replace(candidate, run_uri=self.artifacts.put_json(manifest))
        card = cards.model_card(candidate, config, request.task, told, done)
        candidate = replace(candidate, model_card_uri=self.artifacts.put(card.encode()))
        return record(request, pool, candidate, told, done, against)

    def feedback_warnings(self, request: TrainingRequest) -> list[str]:
        """What speaks against the feedback profile that the model repo declares. No training waits
        for it: a store that refuses is told as a warning."""
        event, declared = request.event, request.repo.config.feedback
        try:
            checked = declared_feedback.check(self.store, event.model, declared, event.time)
        except StoreRefused as error:
            return [f"feedback could not be checked: {error}"]
        return list(map(declared_feedback.in_words, checked.against))

    def check_feedback(self, due: Due, views: Views, now: int) -> Checked:
        """
        Raises:
            BadConfig, Corrupt: the model repo cannot be used.
            StoreRefused, StoreUnavailable, ArtifactsUnavailable
        """
        declared = self.repo(due.repo_uri).config.feedback
        return declared_feedback.check(self.store, due.model, declared, due.until)

    def repo(self, uri: str) -> ModelRepo:
        """
        Raises:
            BadConfig, Corrupt, ArtifactsUnavailable
        """
        return model_repo.fetch(uri, self.artifacts, self.settings.state_dir / "repos")

    def checkpoint(self, event: RetrainRequest) -> Path:
        """Where a killed training of this request goes on."""
        key = hashlib.sha256(f"{event.model}\n{event.retrain_id}".encode()).hexdigest()
        return self.settings.state_dir.absolute() / "training" / key[:16]

    def forget_checkpoint(self, event: RetrainRequest) -> None:
        """The training has ended, one way or the other."""
        shutil.rmtree(self.checkpoint(event), ignore_errors=True)


def declaration(event: RetrainRequest, views: Views) -> Model:
    """The declaration of the model.

    Raises:
        BadInput: no version is made for such a request, or of such a model.
    """
    if event.reason == "erasure":
        wanted = "another reason: persons cannot be erased yet"
        raise BadInput(UNHANDLED, "reason", event.reason, wanted)
    declared = views[Model].get(event.model)
    if declared is None:
        raise BadInput(UNKNOWN_MODEL, "model", event.model, "a model that was declared")
    return declared


def pinned(event: RetrainRequest, routing: Routing | None) -> RetrainRequest:
    """The request with a champion that its version is compared with: the one now where it names
    none. So do requests of the first schema, and those before the first release."""
    if event.champion is not None or routing is None:
        return event
    return replace(event, epoch=routing.epoch, champion=pinned_champion(routing))


def too_late(
    event: RetrainRequest, routing: Routing | None
) -> tuple[str, Mapping[str, Any]] | None:
    """Why a request comes too late, and what that is known from; None where it does not. A version
    is compared with the champion that it was asked under, which says nothing of a later one."""
    champion = None if routing is None else champion_of(routing)
    if champion is None or event.champion is None or event.champion.version == champion.version:
        return None
    asked_under = event.champion.version
    refusal = (
        f"asked for while version {asked_under} was champion; version {champion.version} is now: "
        "nothing was trained, ask again"
    )
    return refusal, {
        "retrain_id": event.retrain_id,
        "asked_under": asked_under,
        "champion": champion.version,
    }


def effects(found: Fulfilment, views: Views, now: int) -> Iterable[Effect]:
    """The candidate and why it is as it is, or why there is none."""
    event = found.event
    if found.version is None:
        yield AuditDraft(
            model=event.model,
            decision="refuse",
            inputs=found.evidence,
            result={"words": found.refusal},
            summary=f"{event.retrain_id}: {found.refusal}",
            time=event.time,
        )
        return
    candidate = Candidate.of(found.version["candidate"])
    decision = found.version["decision"]
    yield candidate
    yield AuditDraft(
        model=candidate.model,
        decision="train",
        inputs=decision["inputs"],
        result=decision["result"],
        summary=decision["words"],
        time=candidate.time,
        version=candidate.version,
    )


def record(
    request: TrainingRequest,
    pool: list[Row],
    candidate: Candidate,
    told: Mapping[str, Any],
    done: Done,
    against: Sequence[str],
) -> VersionRecord:
    """What the ref of a version says."""
    return {
        "candidate": candidate.as_dict(),
        "lineage": {
            "adapter": candidate.adapter_uri,
            "dataset": candidate.dataset_uri,
            "run": candidate.run_uri,
            "model_card": candidate.model_card_uri,
            "seed": request.seed_uri,
            "repo_hash": request.repo.hash,
            "parent": request.parent,
        },
        "decision": {
            "inputs": request.evidence(pool),
            "result": {
                "dataset_id": told["id"],
                "adapter_digest": candidate.adapter_digest,
                "recipe": done.recipe,
                "parent": request.parent,
                "losses": list(done.losses),
                "validation": list(done.validation),
                "preferred": done.preferred and asdict(done.preferred),
                "notes": list(done.notes),
                **{key: told[key] for key in ("train", "test", "split")},
                "preferences": told.get("preferences"),
                "left_out": {**told["left_out"], **done.left_out},
                "feedback_warnings": list(against),
            },
            "words": summary(candidate, request.task, told, done, against),
        },
    }


def summary(
    candidate: Candidate, task: Task, told: Mapping[str, Any], done: Done, against: Sequence[str]
) -> str:
    """The decision, for people."""
    train, split = told["train"], told["split"]
    drill = f", with a rehearsed fault ({candidate.drill})" if candidate.drill else ""
    strata = f"{len(train[task.strata])} {task.strata}"
    warned = f"; feedback is not as declared: {'; '.join(against)}" if against else ""
    noted = "".join(f"; {note}" for note in done.notes)
    reasons = sorted({**told["left_out"], **done.left_out}.items())
    left_out = ", ".join(f"{count} {why}" for why, count in reasons)
    return (
        f"{candidate.model}@{candidate.version} was trained for {candidate.reason}{drill} "
        f"on {train['rows']} rows ({split['replayed']} replayed) of {strata}, "
        f"{candidate.test_rows} held out; left out: {left_out or 'none'}{noted}{warned}"
    )
