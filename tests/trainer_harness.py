"""A trainer with all around it: the real engine, real messages, a real Ray, a bus in memory."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from deploy.local.ray import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Ray reads it when it is imported

from memory_harness import MemoryHarness

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import DAY_MS, Candidate, Champion, Model, RetrainRequest
from driftgate.health import Health, log_for
from driftgate.store import Store, migrate
from services.trainer.service import Trainer
from services.trainer.worker import Done, Job, Step

ROOT = Path(__file__).resolve().parents[1]
MODEL = "support"


class QuickWorkers:
    """Trains nothing: the adapter is the hash of the job."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        self.jobs.append(job)
        report(Step(0.5, "pretending", 0))
        adapter = hashlib.sha256(repr(job.examples).encode()).digest()
        machine = {"packages": {}, "threads": job.threads}
        return Done({"adapter": adapter}, job.recipe, "base", 1, (0.5,), {}, machine)


@cache
def messages() -> list[dict[str, Any]]:
    """Four weeks before the launch of the example's world and ten after it, as seed rows."""
    path = ROOT / "examples" / "support-triage" / "world.py"
    spec = importlib.util.spec_from_file_location("support_world", path)
    world = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(world)
    return [
        {
            "id": f"r-{number}",
            "text": message.text,
            "label": message.label,
            "time": int(message.time.timestamp() * 1000),
            "subject": message.subject,
            "slices": {"language": message.language},
        }
        for number, message in enumerate(world.messages(per_day=8, launch_per_day=14, weeks=10))
    ]


def launch_time() -> int:
    first = messages()[0]["time"]
    return first - first % DAY_MS + 28 * DAY_MS


MODEL_YAML = """
model: support
owner: the desk
purpose: Sends messages to people who can help.
out_of_scope: Everything else.
task: {kind: text-classification, labels: [LABELS]}
base: {name: all-MiniLM-L6-v2}
method: {layers: 2, epochs: 12}
data: {recent_days: 28, replay_rows: 100, max_rows: 600, min_rows: 60, owner: desk, licence: mine}
monitors: [{name: errors, signal: quality, value: error, slices: [all, language=es]}]
gate:
  min_accuracy: 0.8
  protected: {language=es: {min_accuracy: 0.7}}
  waived: [regression, probes]
rollout: {stages: [{name: full, percent: 100}]}
"""


class Harness(MemoryHarness):
    """What a trainer needs, in a folder of its own."""

    def __init__(self, folder: Path, workers: Any, model_yaml: str = MODEL_YAML) -> None:
        super().__init__(Codec.load(ROOT / "schemas"))
        self.store = Store.in_process()
        migrate(self.store, ROOT / "schemas" / "store")
        for table in ("inferences", "outcomes"):  # the engine is one per process
            self.store.command(f"TRUNCATE TABLE {table}")
        folder.mkdir(exist_ok=True)
        self.artifacts = Artifacts(f"file://{folder / 'artifacts'}")
        self.settings = Settings(state_dir=folder, ray="local")
        self.health = Health("trainer")
        self.workers = workers
        self.model_yaml = model_yaml
        self.declare(folder / "repo")

    def trainer(self) -> Trainer:
        """As it is after a start: it knows what stands in the artifacts and on the bus."""
        return Trainer(
            settings=self.settings,
            store=self.store,
            artifacts=self.artifacts,
            workers=self.workers,
            log=log_for("trainer"),
            health=self.health,
        )

    def declare(self, folder: Path, more: str = "") -> None:
        """`more`: lines at the end of model.yaml."""
        labels = ", ".join(sorted({message["label"] for message in messages()}))
        (folder / "evals").mkdir(parents=True)
        (folder / "model.yaml").write_text(self.model_yaml.replace("LABELS", labels) + more)
        (folder / "evals" / "regression.jsonl").write_text("")
        (folder / "evals" / "probes.yaml").write_text("")
        repo, uri = model_repo.publish(folder, self.artifacts)
        self.send(Model(model=MODEL, repo_hash=repo.hash, repo_uri=uri, actor="ana", time=0))

    def answers(self) -> dict[str, list[Any]]:
        """A trainer starts and answers what waits for it; what it says, by topic."""
        return self.run(self.trainer().service(), self.health)

    def ask(self, retrain_id: str = "support:launch", **said: Any) -> Candidate:
        """Asks for a version and lets a trainer answer; the candidate."""
        self.send(self.request(retrain_id, **said))
        (candidate,) = self.answers()["candidates"]
        return candidate

    def seed(self, rows: Iterable[Mapping[str, Any]] | None = None) -> str:
        if rows is None:
            rows = [row for row in messages() if row["time"] < launch_time()]
        return self.artifacts.put("\n".join(map(json.dumps, rows)).encode())

    def live(self, until: int, shuffled: int = 0) -> None:
        """Stores what ingest-logger would have: answers since the launch with their feedback."""
        rows = [row for row in messages() if launch_time() <= row["time"] < until]
        random.Random(shuffled).shuffle(rows)
        self.store.append("inferences", [answer(row, at) for at, row in enumerate(rows)])
        self.store.append("outcomes", [outcome(row, at) for at, row in enumerate(rows)])

    def request(self, retrain_id: str = "support:launch", **changed: Any) -> RetrainRequest:
        fields = {"retrain_id": retrain_id, "model": MODEL, "reason": "launch"}
        return RetrainRequest(**(fields | {"actor": "test", "time": launch_time()} | changed))


def champion(version: int) -> Champion:
    """A version as a request pins it."""
    return Champion(version=version, digest="d", adapter_uri="u", base="b", base_digest="h")


def moment(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000, UTC)


def answer(row: Mapping[str, Any], offset: int, **changed: Any) -> dict[str, Any]:
    """A row of `inferences`."""
    return {
        "topic": "inferences",
        "partition": 0,
        "offset": offset,
        "request_id": row["id"],
        "model": MODEL,
        "version": 1,
        "digest": "",
        "role": "live",
        "input": row["text"],
        "input_hash": "",
        "features": {},
        "slices": row["slices"],
        "output": row["label"],
        "confidence": 0.9,
        "latency_ms": 1.0,
        "tokens": 1,
        "cost": 0.0,
        "subject": row["subject"],
        "epoch": 1,
        "propensity": 1.0,
        "time": moment(row["time"]),
        **changed,
    }


def outcome(row: Mapping[str, Any], offset: int, **changed: Any) -> dict[str, Any]:
    """A row of `outcomes`."""
    return {
        "topic": "outcomes",
        "partition": 0,
        "offset": offset,
        "outcome_id": f"f-{row['id']}",
        "request_id": row["id"],
        "model": MODEL,
        "version": 1,
        "slices": row["slices"],
        "output": row["label"],
        "confidence": 0.9,
        "kind": "correction",
        "label": row["label"],
        "rating": None,
        "edited": None,
        "was_correct": True,
        "inference_time": moment(row["time"]),
        "feedback_time": moment(row["time"] + 60_000),
        "time": moment(row["time"] + 60_000),
        **changed,
    }
