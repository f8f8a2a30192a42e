"""What the tests of ingestion are made of: a model, its events, and the service on any bus."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus import Bus, Position
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import DAY_MS, Tick
from driftgate.health import Health
from driftgate.model_repo import ModelYaml
from driftgate.store import Store
from driftgate.tasks import text_generation
from driftgate.tasks.text_classification import TextClassification
from services.ingest_logger import join, queries
from services.ingest_logger.ingest import Ingest
from services.ingest_logger.rules import Context, maskers_of

DEADLINE_S = 120

NOON = 1_767_571_200_000  # 2026-01-05T00:00:00Z
KEY = "a key of the tests"
LABELS = ["billing", "delivery", "refund"]
TASK = TextClassification(tuple(LABELS))
MODEL_YAML = """
model: {model}
task: {{kind: text-classification, labels: {labels}}}
base: {{name: all-MiniLM-L6-v2}}
data: {{keep_days: 400, ahead_hours: 26, orphan_days: 14, keep_text: {keep_text}}}
monitors: []
gate: {{min_accuracy: 0.8, waived: [regression, probes]}}
rollout: {{stages: [{{name: full, percent: 100}}]}}
"""


# A model that writes: texts, or JSON by the schema beside it.
TEXTS = {"kind": "text-generation", "output": "text"}
JSON = {"kind": "text-generation", "output": "json", "schema": "ticket.json"}
TICKET_SCHEMA = """
{"type": "object", "required": ["team"], "properties": {"team": {"type": "string"}}}
"""


def model_yaml(model: str = "triage", labels: list[str] = LABELS, keep_text: bool = True) -> str:
    return MODEL_YAML.format(model=model, labels=labels, keep_text=str(keep_text).lower())


def writing_yaml(model: str, task: Mapping[str, Any]) -> str:
    """The same of a model that writes, with its task beside the schema that it may name."""
    return "\n".join(
        f"task: {json.dumps(task)}" if line.startswith("task:") else line
        for line in model_yaml(model).splitlines()
    )


def writing(model: str, task: Mapping[str, Any]) -> ModelYaml:
    """A model that writes, declared without a folder."""
    named = {"schema": {"file": "ticket.json", "text": TICKET_SCHEMA}} if "schema" in task else {}
    task = text_generation.Declared.model_validate({**task, **named})
    return model_repo.parse(model_yaml(model)).model_copy(update={"task": task})


def declaration(folder: Path, artifacts: Artifacts, text: str) -> dict[str, Any]:
    """The event that declares a model repo, which is written to `folder` and published."""
    (folder / "evals").mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(text)
    (folder / "evals" / "regression.jsonl").write_text("")
    (folder / "evals" / "probes.yaml").write_text("")
    (folder / "ticket.json").write_text(TICKET_SCHEMA)
    repo, uri = model_repo.publish(folder, artifacts)
    return {
        "model": repo.config.model,
        "repo_hash": repo.hash,
        "repo_uri": uri,
        "actor": "test",
        "time": NOON,
    }


def inference(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "model": "triage",
        "version": 1,
        "digest": "",
        "role": "live",
        "input": "where is my parcel",
        "input_hash": "ab",
        "features": {"words": 4.0},
        "slices": {"language": "en"},
        "output": "delivery",
        "confidence": 0.75,
        "latency_ms": 2.0,
        "tokens": 5,
        "cost": 0.0,
        "subject": None,
        "epoch": 1,
        "propensity": 1.0,
        "time": NOON,
    } | changes


def feedback(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    return {
        "feedback_id": f"f-{request_id}",
        "request_id": request_id,
        "model": "triage",
        "kind": "correction",
        "rating": None,
        "label": "refund",
        "edited": None,
        "reason": None,
        "reviewer": None,
        "time": NOON + 1000,
    } | changes


def outcome(given: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """What ingestion sends when a feedback meets its answer."""
    return join.outcome(given, answer, TASK).as_dict()


def whole(codec: Codec, topic: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as it is read: with every field of the newest version of its subject."""
    return codec.decode(topic, codec.encode(topic, event))


def context(models: Mapping[str, ModelYaml], refused: Mapping[str, str] | None = None) -> Context:
    """What validation knows at `NOON`."""
    return Context(models, maskers_of(models, KEY.encode()), KEY.encode(), NOON, refused or {})


def tick(time: int, pace: float = 0.0) -> dict[str, Any]:
    """It is `time`, ms; and, as in a simulated world, it stands still unless `pace` is given."""
    return {"world": "test", "time": time, "positions": {}, "pace": pace}


def later(days: float) -> int:
    return NOON + int(days * DAY_MS)


@dataclass
class Harness:
    """Ingestion over a bus and a store, a step at a time; `restart` is a crash and a new start."""

    bus: Bus
    store: Store
    codec: Codec
    artifacts: Artifacts
    settings: Settings

    def __post_init__(self) -> None:
        self.producer = self.bus.producer()
        self.restart()

    def restart(self) -> None:
        self.health = Health("ingest-logger")
        self.ingest = Ingest(
            self.settings,
            self.bus,
            self.codec,
            self.store,
            self.artifacts,
            structlog.get_logger(),
            self.health,
        )

    def close(self) -> None:
        with self.ingest:
            self.producer.close()

    def send(self, topic: str, *events: dict[str, Any]) -> None:
        for event in events:
            key = self.codec.topics.key(topic, event)
            self.producer.send(topic, key, self.codec.encode(topic, event))
        self.producer.flush()

    def send_raw(self, topic: str, value: bytes | None, key: bytes = b"k") -> None:
        self.producer.send(topic, key, value)
        self.producer.flush()

    def step(self) -> None:
        self.ingest.step()

    def settle(self) -> None:
        """Until nothing is left to read; what ingestion itself sends is read too."""
        deadline = time.monotonic() + DEADLINE_S
        while lag := behind(self.bus, self.codec, self.store):
            assert time.monotonic() < deadline, f"not read in {DEADLINE_S} s: {lag}"
            self.step()

    def rows(self, table: str, columns: str = "*", where: str = "true") -> list[dict[str, Any]]:
        order = "topic, partition, offset"
        return self.store.query(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {order}")

    def dead(self) -> list[tuple[str, str]]:
        """Topic and reason of every dead letter that was stored."""
        found = self.rows("dead_letters", "source_topic, reason")
        return [(row["source_topic"], row["reason"]) for row in found]


def set_clock(store: Store, now: int) -> None:
    """Ingestion into this store knows that it is `now`, ms, and that time runs on: a tick stands in
    the store, before all that is on the topic. For a topic that other tests write to."""
    place = {"topic": Tick.TOPIC, "partition": 0, "offset": -1}
    store.append(Tick.TOPIC, [place | tick(now, pace=1.0)])


def behind(bus: Bus, codec: Codec, store: Store) -> dict[Position, int]:
    """What ingestion has not finished, by the marks in the store."""
    marks = queries.marks(store)
    ends = bus.ends(codec.topics.names())
    return {p: end - marks.get(p, 0) for p, end in ends.items() if end > marks.get(p, 0)}


def start_here(store: Store, bus: Bus, codec: Codec) -> None:
    """Lets ingestion begin at the ends of the topics: what other tests sent is not of interest."""
    queries.mark(store, bus.ends(codec.topics.names()))


def memory_harness(store: Store, codec: Codec, tmp_path: Path, **changes: Any) -> Harness:
    """On the fake bus, with model `triage` declared."""
    bus = MemoryBus()
    bus.ensure(codec.topics.by_name.values())
    artifacts = Artifacts(f"file://{tmp_path / 'artifacts'}")
    settings = Settings(
        state_dir=tmp_path / "state",
        subject_key=KEY,
        **changes,  # type: ignore[arg-type]
    )
    harness = Harness(bus, store, codec, artifacts, settings)
    harness.send("models", declaration(tmp_path / "repo", artifacts, model_yaml()))
    return harness
