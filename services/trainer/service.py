"""A retrain request in, a candidate out.

What was made stands in the artifact store before it is told: `models/MODEL/versions/N` holds the
candidate, its lineage by hash and the decision, so a request that comes again is told the same.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from driftgate import metrics, model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.config import Settings
from driftgate.dead_letters import UNHANDLED, UNKNOWN_MODEL
from driftgate.errors import BadInput
from driftgate.events import Candidate, Model, RetrainRequest, Routing
from driftgate.health import Health, Log
from driftgate.routing import champion_of
from driftgate.runtime import AuditDraft, Effect, Handler, Service, View, Views
from driftgate.scaffold import launch
from driftgate.store import Store
from driftgate.tasks import Task, task_of
from driftgate.topology import TRAINER
from services.trainer import cards, dataset
from services.trainer.curation import Dataset, Refused, Row, curate
from services.trainer.progress import Progress
from services.trainer.request import Request
from services.trainer.rows import logged_rows, measured, seed_rows
from services.trainer.worker import Done, Job, Step

LONGEST_TRAINING_SECONDS = 3600.0

Record = Mapping[str, Any]
"""A version as its ref says it: `candidate`, `lineage`, `decision`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: a version, or a refusal. `evidence` is what the curation was
    given."""

    event: RetrainRequest
    version: Record | None
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
            handlers={RetrainRequest: Handler(told, self.answer)},
            views=(View(Model), View(Routing)),
            max_work_seconds=LONGEST_TRAINING_SECONDS,
        )

    def answer(self, event: RetrainRequest, views: Views, now: int) -> Answer:
        """A version, or why there is none.

        Raises:
            BadInput, BadConfig: the request, its model repo or its seed rows cannot be used.
            Retriable: the store or Ray does not answer.
        """
        try:
            return self.made(event, views)
        finally:
            self.health.heartbeat(activity=None, progress=None, eta=None)

    def made(self, event: RetrainRequest, views: Views) -> Answer:
        """The version as it was made for this request, or as it is made now."""
        versions = self.artifacts.refs(f"models/{event.model}/versions/").values()
        for found in versions:
            if found["candidate"]["retrain_id"] == event.retrain_id:
                return self.kept(event, found)
        if late := too_late(event, views[Routing].get(event.model)):
            return Answer(event, None, *late)
        number = 1 + max((found["candidate"]["version"] for found in versions), default=0)
        self.health.heartbeat(activity=f"curating data of {event.model}@{number}")
        request = self.request(event, views)
        pool = self.pool(request)
        curated = curate(pool, request.wish)
        if isinstance(curated, Refused):
            self.log.warning("refused", retrain_id=event.retrain_id, words=curated.summary)
            return Answer(event, None, curated.summary, request.evidence(pool))
        found = self.version(request, pool, curated, number)
        self.artifacts.set_ref(f"models/{event.model}/versions/{number}", found)
        shutil.rmtree(self.checkpoint(request), ignore_errors=True)
        return self.kept(event, found)

    def kept(self, event: RetrainRequest, version: Record) -> Answer:
        """The answer, which the console finds by the request's id."""
        retrain_id = quote(event.retrain_id, safe=":")
        name = f"models/{event.model}/requests/{retrain_id}"
        self.artifacts.set_ref(name, version["candidate"])
        return Answer(event, version)

    def request(self, event: RetrainRequest, views: Views) -> Request:
        """The request with its model repo, seed and exclusions as they are now."""
        if event.reason == "erasure":
            wanted = "another reason: persons cannot be erased yet"
            raise BadInput(UNHANDLED, "reason", event.reason, wanted)
        declared = views[Model].get(event.model)
        if declared is None:
            raise BadInput(UNKNOWN_MODEL, "model", event.model, "a model that was declared")
        repos = self.settings.state_dir / "repos"
        repo = model_repo.fetch(declared.repo_uri, self.artifacts, repos)
        seed_uri = self.seed(event, task_of(repo.config.task))
        return Request(
            event=event,
            repo=repo,
            seed_uri=seed_uri,
            seed_reading=launch.reading_kept(self.artifacts, seed_uri) if seed_uri else None,
            excluded=self.excluded(event),
        )

    def seed(self, event: RetrainRequest, task: Task) -> str | None:
        """The request's own seed, else the one that the model was launched with."""
        name = f"models/{event.model}/seed"
        if event.seed_uri is None:
            found: str | None = self.artifacts.ref(name)
            return found
        seed_rows(self.artifacts, event.seed_uri, task)  # a broken one is not remembered
        self.artifacts.set_ref(name, event.seed_uri)
        return str(event.seed_uri)

    def excluded(self, event: RetrainRequest) -> frozenset[str]:
        """What a request excludes stays excluded for all later ones."""
        prefix = f"models/{event.model}/exclusions/"
        if event.exclusions:
            kept = {"time": event.time, "ids": sorted(event.exclusions)}
            self.artifacts.set_ref(prefix + quote(event.retrain_id, safe=":"), kept)
        all_of_them = self.artifacts.refs(prefix).values()
        return frozenset(
            name for kept in all_of_them if kept["time"] <= event.time for name in kept["ids"]
        )

    def pool(self, request: Request) -> list[Row]:
        """Every row that might be learned from."""
        event, task, uri = request.event, request.task, request.seed_uri
        seed = [] if uri is None else seed_rows(self.artifacts, uri, task)
        data = request.repo.config.data
        return seed + logged_rows(self.store, event.model, event.time, data, task)

    def version(self, request: Request, pool: list[Row], curated: Dataset, number: int) -> Record:
        """Trains version `number` and stores all of its parts."""
        event, config = request.event, request.repo.config
        heard = measured(self.store, event.model, event.time, config.data, request.task)
        told, files = dataset.folder(curated, request.about(heard))
        dataset_uri = self.put(files)
        name = f"{event.model}@{number}"
        job = request.job(curated.train, self.settings.threads, self.checkpoint(request))
        progress = Progress(name, time.monotonic(), self.log, self.health)
        started = time.time()
        done = self.workers.train(job, progress)
        ended = time.time()
        metrics.TRAIN_SECONDS.labels(event.model).observe(ended - started)
        self.log.info("trained", version=name, seconds=round(ended - started, 3))
        adapter_uri = self.put(done.files)
        candidate = replace(
            request.candidate(number, told, done),
            adapter_uri=adapter_uri,
            adapter_digest=digest_of(adapter_uri),
            dataset_uri=dataset_uri,
            train_seconds=round(ended - started, 3),
        )
        manifest = cards.run_manifest(candidate, config, done, started, ended)
        candidate = replace(candidate, run_uri=self.artifacts.put_json(manifest))
        card = cards.model_card(candidate, config, request.task, told)
        candidate = replace(candidate, model_card_uri=self.artifacts.put(card.encode()))
        return record(request, pool, candidate, told, done)

    def put(self, files: Mapping[str, bytes]) -> str:
        """Stores files as one folder; returns its URI."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, data in files.items():
                (folder / file).write_bytes(data)
            return self.artifacts.put_folder(folder)

    def checkpoint(self, request: Request) -> Path:
        """Where a killed training of this request goes on."""
        event = request.event
        key = hashlib.sha256(f"{event.model}\n{event.retrain_id}".encode()).hexdigest()
        return self.settings.state_dir.absolute() / "training" / key[:16]


def too_late(
    event: RetrainRequest, routing: Routing | None
) -> tuple[str, Mapping[str, Any]] | None:
    """Why a request comes too late, and what that is known from; None where it does not. A version
    is compared with the champion that it was asked under, which says nothing of a later one."""
    champion = None if routing is None else champion_of(routing)
    under = event.champion.version if event.champion else None
    if champion is None or champion.version == under:
        return None
    asked = "before there was a version" if under is None else f"while version {under} was champion"
    refusal = (
        f"asked for {asked}; version {champion.version} is now: nothing was trained, ask again"
    )
    return refusal, {
        "retrain_id": event.retrain_id,
        "asked_under": under,
        "champion": champion.version,
    }


def told(answer: Answer, views: Views, now: int) -> Iterable[Effect]:
    """The candidate and why it is as it is, or why there is none."""
    event = answer.event
    if answer.version is None:
        yield AuditDraft(
            model=event.model,
            decision="refuse",
            inputs=answer.evidence,
            result={"words": answer.refusal},
            summary=f"{event.retrain_id}: {answer.refusal}",
            time=event.time,
        )
        return
    candidate = Candidate.of(answer.version["candidate"])
    decision = answer.version["decision"]
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
    request: Request,
    pool: list[Row],
    candidate: Candidate,
    told: Mapping[str, Any],
    done: Done,
) -> Record:
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
                "parent": request.parent,
                "losses": list(done.losses),
                **{key: told[key] for key in ("train", "test", "left_out", "split")},
            },
            "words": summary(candidate, request.task, told),
        },
    }


def summary(candidate: Candidate, task: Task, told: Mapping[str, Any]) -> str:
    """The decision, for people."""
    train, split = told["train"], told["split"]
    drill = f", with a rehearsed fault ({candidate.drill})" if candidate.drill else ""
    strata = f"{len(train[task.strata])} {task.strata}"
    left_out = ", ".join(f"{count} {why}" for why, count in sorted(told["left_out"].items()))
    return (
        f"{candidate.model}@{candidate.version} was trained for {candidate.reason}{drill} "
        f"on {train['rows']} rows ({split['replayed']} replayed) of {strata}, "
        f"{candidate.test_rows} held out; left out: {left_out or 'none'}"
    )
