"""A retrain request in, a candidate out.

What was made stands in the artifact store before it is told: `models/MODEL/versions/N` holds the
candidate, its lineage by hash and the decision, so a request that comes again is told the same.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from driftgate import metrics, model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.audit import Audit
from driftgate.bus import Bus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.dead_letters import UNHANDLED, UNKNOWN_MODEL
from driftgate.errors import BadConfig, BadInput
from driftgate.events import Emit, Event
from driftgate.health import Health, Log
from driftgate.rollouts import settled
from driftgate.runner import newest
from driftgate.scaffold import launch
from driftgate.store import Store
from services.trainer import cards, dataset
from services.trainer.curation import Dataset, Refused, Row, curate
from services.trainer.progress import Progress
from services.trainer.request import Request
from services.trainer.rows import logged_rows, measured, seed_rows
from services.trainer.worker import Done, Job, Step

SERVICE = "trainer"
REQUESTS = "retrain.requests"
CANDIDATES = "candidates"

Record = Mapping[str, Any]
"""A version as its ref says it: `candidate`, `lineage`, `decision`."""


class Workers(Protocol):
    """Where torch runs."""

    def train(self, job: Job, report: Callable[[Step], None]) -> Done: ...


@dataclass
class Trainer:
    """The handler of the service. It blocks while a version is trained."""

    settings: Settings
    bus: Bus
    codec: Codec
    store: Store
    artifacts: Artifacts
    workers: Workers
    audit: Audit
    log: Log
    health: Health

    def handle(self, topic: str, event: Event) -> list[Emit]:
        """What an event leads to.

        Raises:
            BadInput: the request, its model repo or its seed rows cannot be used.
            Retriable: the store, the bus or Ray does not answer, or the promoter is behind.
        """
        if topic != REQUESTS:
            return []
        try:
            return self.answer(event)
        except BadConfig as error:
            wanted = f"a model whose repo can be trained ({error})"
            raise BadInput(UNHANDLED, "model", event["model"], wanted) from error
        finally:
            self.health.moved(activity=None, progress=None, eta=None)

    def answer(self, event: Event) -> list[Emit]:
        """A candidate, or why there is none."""
        versions = self.artifacts.refs(f"models/{event['model']}/versions/").values()
        for record in versions:
            if record["candidate"]["retrain_id"] == event["retrain_id"]:
                return self.told(record)
        number = 1 + max((record["candidate"]["version"] for record in versions), default=0)
        self.health.moved(activity=f"curating data of {event['model']}@{number}")
        request = self.request(event)
        pool = self.pool(request)
        curated = curate(pool, request.wish)
        if isinstance(curated, Refused):
            return self.refused(request, pool, curated)
        record = self.version(request, pool, curated, number)
        self.artifacts.set_ref(f"models/{event['model']}/versions/{number}", record)
        shutil.rmtree(self.checkpoint(request), ignore_errors=True)
        return self.told(record)

    def request(self, event: Event) -> Request:
        """The request with its model repo, seed and exclusions as they are now, and the champion
        as it is once the promoter has done what came before the request."""
        model = event["model"]
        state = settled(self.bus, self.codec, model) or {}
        declared = newest(self.bus, self.codec, "models").get(model)
        if declared is None:
            raise BadInput(UNKNOWN_MODEL, "model", model, "a model that was declared")
        repos = self.settings.state_dir / "repos"
        repo = model_repo.fetch(declared["repo_uri"], self.artifacts, repos)
        seed_uri = self.seed(event)
        return Request(
            event=event,
            repo=repo,
            seed_uri=seed_uri,
            seed_reading=launch.reading_kept(self.artifacts, seed_uri) if seed_uri else None,
            excluded=self.excluded(event),
            parent=state.get("champion"),
        )

    def seed(self, event: Event) -> str | None:
        """The request's own seed, else the one that the model was launched with."""
        name = f"models/{event['model']}/seed"
        if event["seed_uri"] is None:
            found: str | None = self.artifacts.ref(name)
            return found
        seed_rows(self.artifacts, event["seed_uri"])  # a broken one is not remembered
        self.artifacts.set_ref(name, event["seed_uri"])
        return str(event["seed_uri"])

    def excluded(self, event: Event) -> frozenset[str]:
        """What a request excludes stays excluded for all later ones."""
        prefix = f"models/{event['model']}/exclusions/"
        if event["exclusions"]:
            kept = {"time": event["time"], "ids": sorted(event["exclusions"])}
            self.artifacts.set_ref(prefix + quote(event["retrain_id"], safe=":"), kept)
        all_of_them = self.artifacts.refs(prefix).values()
        return frozenset(
            name for kept in all_of_them if kept["time"] <= event["time"] for name in kept["ids"]
        )

    def pool(self, request: Request) -> list[Row]:
        """Every row that might be learned from."""
        seed = [] if request.seed_uri is None else seed_rows(self.artifacts, request.seed_uri)
        event = request.event
        data = request.repo.config.data
        return seed + logged_rows(self.store, event["model"], event["time"], data)

    def refused(self, request: Request, pool: list[Row], why: Refused) -> list[Emit]:
        """Nothing is trained; the audit says why."""
        event = request.event
        self.log.warning("refused", retrain_id=event["retrain_id"], words=why.words)
        return self.audit.entry(
            event["model"],
            "refuse",
            inputs=request.evidence(pool),
            result={"words": why.words},
            words=f"{event['retrain_id']}: {why.words}",
            time=event["time"],
        )

    def version(self, request: Request, pool: list[Row], curated: Dataset, number: int) -> Record:
        """Trains version `number` and stores all of its parts."""
        event, config = request.event, request.repo.config
        labels = measured(self.store, event["model"], event["time"], config.data)
        told, files = dataset.folder(curated, request.about(labels))
        dataset_uri = self.put(files)
        name = f"{event['model']}@{number}"
        job = request.job(curated.train, self.settings.threads, self.checkpoint(request))
        progress = Progress(name, time.monotonic(), self.log, self.health)
        started = time.time()
        done = self.workers.train(job, progress)
        ended = time.time()
        metrics.TRAIN_SECONDS.labels(event["model"]).observe(ended - started)
        self.log.info("trained", version=name, seconds=round(ended - started, 3))
        adapter_uri = self.put(done.files)
        candidate = request.candidate(number, told, done) | {
            "adapter_uri": adapter_uri,
            "adapter_digest": digest_of(adapter_uri),
            "dataset_uri": dataset_uri,
            "train_seconds": round(ended - started, 3),
        }
        manifest = cards.run_manifest(candidate, config, done, started, ended)
        candidate["run_uri"] = self.artifacts.put_json(manifest)
        card = cards.model_card(candidate, config, told)
        candidate["model_card_uri"] = self.artifacts.put(card.encode())
        return record(request, pool, candidate, told, done)

    def told(self, record: Record) -> list[Emit]:
        """The candidate, and the decision unless the audit holds it."""
        candidate, decision = record["candidate"], record["decision"]
        model = candidate["model"]
        retrain_id = quote(candidate["retrain_id"], safe=":")
        self.artifacts.set_ref(f"models/{model}/requests/{retrain_id}", candidate)
        entry = self.audit.entry(
            model, "train", **decision, version=candidate["version"], time=candidate["time"]
        )
        return [Emit(CANDIDATES, candidate), *entry]

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
        key = hashlib.sha256(f"{event['model']}\n{event['retrain_id']}".encode()).hexdigest()
        return self.settings.state_dir.absolute() / "training" / key[:16]


def record(
    request: Request,
    pool: list[Row],
    candidate: Event,
    told: Mapping[str, Any],
    done: Done,
) -> Record:
    """What the ref of a version says."""
    return {
        "candidate": candidate,
        "lineage": {
            "adapter": candidate["adapter_uri"],
            "dataset": candidate["dataset_uri"],
            "run": candidate["run_uri"],
            "model_card": candidate["model_card_uri"],
            "seed": request.seed_uri,
            "repo_hash": request.repo.hash,
            "parent": request.parent,
        },
        "decision": {
            "inputs": request.evidence(pool),
            "result": {
                "dataset_id": told["id"],
                "adapter_digest": candidate["adapter_digest"],
                "parent": request.parent,
                "losses": list(done.losses),
                **{key: told[key] for key in ("train", "test", "left_out", "split")},
            },
            "words": words(candidate, told),
        },
    }


def words(candidate: Event, told: Mapping[str, Any]) -> str:
    """The decision, for people."""
    train, split = told["train"], told["split"]
    drill = f", with a rehearsed fault ({candidate['drill']})" if candidate["drill"] else ""
    left_out = ", ".join(f"{count} {why}" for why, count in sorted(told["left_out"].items()))
    return (
        f"{candidate['model']}@{candidate['version']} was trained for {candidate['reason']}{drill} "
        f"on {train['rows']} rows ({split['replayed']} replayed) of {len(train['labels'])} labels, "
        f"{candidate['test_rows']} held out; left out: {left_out or 'none'}"
    )
