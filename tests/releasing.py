"""What the tests of promoter and router are made of: a model repo, adapters, events on a bus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from patience import attempts

from deploy.local.plan import free_ports
from driftgate import model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.bus import Bus
from driftgate.bus_tools import decoded
from driftgate.codec import Codec
from driftgate.errors import Retriable
from driftgate.router_pb import router_pb2, router_pb2_grpc

NOW = 1_800_000_000_000  # 2027-01-15T08:00:00Z
ROOT = Path(__file__).parents[1]
SOURCES = os.pathsep.join(map(str, (ROOT / "shared", ROOT)))
MODEL_YAML = """
model: {model}
task: {{kind: text-classification, labels: [a, b, c]}}
base: {{name: {base}}}
monitors: []
gate: {{min_accuracy: 0.8, waived: [regression, probes]}}
feedback: {{profile: [labels]}}
rollout:
  stages:
    - {{name: shadow, percent: 0, soak_days: 1, min_pairs: 20}}
    - {{name: half, percent: 50, soak_days: 1, min_pairs: 20}}
    - {{name: full, percent: 100, min_samples: 5}}
  margin: 0.05
  {rollout}
"""


def model_yaml(model: str, rollout: str = "watch_days: 2", base: str = "all-MiniLM-L6-v2") -> str:
    """A model.yaml. `rollout` is one more line of that part."""
    return MODEL_YAML.format(model=model, rollout=rollout, base=base)


def publish_repo(folder: Path, artifacts: Artifacts, model: str, *more: str, **other: str) -> str:
    """Writes and stores a model repo, as `model_yaml` makes it; returns its hash."""
    (folder / "evals").mkdir(parents=True)
    (folder / "model.yaml").write_text(model_yaml(model, *more, **other))
    (folder / "evals" / "regression.jsonl").touch()
    (folder / "evals" / "probes.yaml").touch()
    return model_repo.publish(folder, artifacts)[0].hash


@dataclass
class Topics:
    """Events in and out of a bus.

    Attributes:
        ticked: when `let_time_pass` did last, s of a monotonic clock.
    """

    bus: Bus
    codec: Codec
    ticked: float = field(default_factory=time.monotonic)

    def let_time_pass(self) -> None:
        """A tick a second, each a second after the newest: time does not go back."""
        if time.monotonic() - self.ticked < 1:
            return
        self.ticked = time.monotonic()
        ticks = [self.codec.decode("clock", r.value) for r in self.bus.read_all(["clock"])]
        newest = max([NOW, *(tick["time"] for tick in ticks)])
        self.send("clock", {"world": "tests", "time": newest + 1000, "positions": {}})

    def send(self, topic: str, *events: dict[str, Any]) -> None:
        producer = self.bus.producer()
        for event in events:
            key = self.codec.topics.key(topic, event)
            producer.send(topic, key, self.codec.encode(topic, event))
        producer.flush()
        producer.close()

    def read(self, topic: str, model: str) -> list[dict[str, Any]]:
        """A model's events on a topic, so far."""
        found = decoded(self.codec, self.bus.read_all([topic]))
        return [event.as_dict() for _, event in found if event.model == model]


def arm(version: int, uri: str, weight: int = 0) -> dict[str, Any]:
    """An arm of a routing record."""
    digest = digest_of(uri)
    return {"version": version, "digest": digest, "adapter_uri": uri, "weight": weight}


def routing(
    model: str,
    repo_hash: str,
    epoch: int,
    arms: list[dict[str, Any]],
    shadows: list[dict[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """A routing record."""
    return {
        "model": model,
        "epoch": epoch,
        "base": "all-MiniLM-L6-v2",
        "base_digest": "",
        "arms": arms,
        "shadows": shadows,
        "salt": model,
        "sticky_by": "subject",
        "rollback_to": None,
        "scope": {},
        "repo_hash": repo_hash,
        "time": NOW,
    } | more


def verdict(
    model: str, repo_hash: str, version: int, uri: str, time: int, result: str = "pass"
) -> dict[str, Any]:
    """A verdict on a version that was compared with version 1."""
    return {
        "verdict_id": f"{model}@{version}",
        "model": model,
        "version": version,
        "retrain_id": f"{model}:{version}",
        "adapter_digest": digest_of(uri),
        "adapter_uri": uri,
        "champion": 1 if version > 1 else None,
        "result": result,
        "axes": [],
        "reference": {},
        "repo_hash": repo_hash,
        "report_uri": "",
        "words": result,
        "time": time,
    }


def ack(
    model: str, epoch: int, status: str = "serving", router: str = "router-0", time: int = NOW
) -> dict[str, Any]:
    """An acknowledgement."""
    return {
        "router": router,
        "model": model,
        "epoch": epoch,
        "status": status,
        "digests": [],
        "reason": None if status == "serving" else "corrupt",
        "time": time,
    }


def command(model: str, kind: str, number: int = 1) -> dict[str, Any]:
    """An operator's command."""
    return {
        "command_id": f"c-{number}",
        "model": model,
        "kind": kind,
        "version": None,
        "args": {},
        "actor": "ana",
        "reason": "complaints",
        "time": NOW,
    }


def answer_rows(
    model: str, request_id: str, outputs: dict[int, str], time: int, offset: int
) -> list[dict[str, Any]]:
    """Stored answers of some versions to one request, the first of them live."""
    return [
        {
            "topic": "inferences",
            "partition": 0,
            "offset": offset + place,
            "request_id": request_id,
            "model": model,
            "version": version,
            "digest": "",
            "role": "shadow" if place else "live",
            "input_hash": "",
            "output": output,
            "epoch": 1,
            "time": moment(time),
        }
        for place, (version, output) in enumerate(outputs.items())
    ]


def outcome_row(model: str, request_id: str, label: str, time: int, offset: int) -> dict[str, Any]:
    """What is known of a request that is asked and labelled at `time`."""
    return {
        "topic": "outcomes",
        "partition": 0,
        "offset": offset,
        "outcome_id": f"o-{request_id}-{offset}",
        "request_id": request_id,
        "model": model,
        "kind": "correction",
        "label": label,
        "was_correct": None,
        "inference_time": moment(time),
        "feedback_time": moment(time),
        "time": moment(time),
    }


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def decisions(audit: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    """The promoter's decisions, in order."""
    return [(e["decision"], e["version"]) for e in audit if e["service"] == "promoter"]


def replayed(entry: dict[str, Any]) -> Any:
    """The pure decider's answer to the inputs of an audit entry."""
    from services.promoter.replay import replay

    return replay(json.loads(entry["inputs"]))


def clock_row(time: int, offset: int) -> dict[str, Any]:
    """A tick as the store holds it, which tells how far it got."""
    return {
        "topic": "clock",
        "partition": 0,
        "offset": offset,
        "world": "tests",
        "time": moment(time),
    }


def adapter(folder: Path, artifacts: Artifacts, seed: int) -> str:
    """Stores a version with a random adapter on one layer and a random head; returns its URI."""
    import torch
    from safetensors.torch import save_file

    from driftgate.bases import MINILM, resolve
    from driftgate.classifier.folder import Head, write_head

    draw = torch.Generator().manual_seed(seed)
    path = "base_model.model.encoder.layer.5.attention.self.query"
    folder.mkdir(parents=True)
    tensors = {
        f"{path}.lora_A.weight": torch.randn(4, 384, generator=draw),
        f"{path}.lora_B.weight": 0.1 * torch.randn(384, 4, generator=draw),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}))
    head = Head(("a", "b", "c"), torch.randn(3, 384, generator=draw), 20.0)
    write_head(folder, head, resolve(MINILM))
    return artifacts.put_folder(folder)


@dataclass
class RouterProcess:
    """The router as it runs in production: a process of its own, here on a free port.

    Attributes:
        folder: its state and its log, and where it runs.
        address, url: of gRPC and of HTTP.
    """

    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    address: str = ""
    url: str = ""

    def start(self, **changes: str) -> RouterProcess:
        """Returns once it listens. `changes` are `DRIFTGATE_*` variables."""
        self.address = self.address or f"127.0.0.1:{free_ports(1)[0]}"
        ours = {
            "ROUTER": self.address,
            "HTTP_DOOR": "127.0.0.1:0",
            "STATE_DIR": str(self.folder),
        } | changes
        variables = self.environment | {f"DRIFTGATE_{name}": value for name, value in ours.items()}
        log = self.folder / "router.log"
        self.folder.mkdir(exist_ok=True)
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.router.main"],
                cwd=self.folder,
                env=os.environ | variables | {"OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCES},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

        def listening() -> dict[str, Any] | None:
            assert self.process is not None and self.process.poll() is None, log.read_text()
            lines = [line for line in log.read_text().splitlines() if '"listening"' in line]
            return json.loads(lines[0]) if lines else None

        ports = until(listening)
        self.address = f"127.0.0.1:{ports['port']}"
        self.url = f"http://127.0.0.1:{ports['http_port']}/v1"
        return self

    def kill(self) -> None:
        """SIGKILL: nothing is put in order."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Served:
    """A model with two versions, and the router that serves it.

    Attributes:
        bases: the base fields of versions that name their own.
    """

    model: str
    topics: Topics
    artifacts: Artifacts
    repo: str
    uris: dict[int, str]
    router: RouterProcess
    epoch: int = 0
    bases: dict[int, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def make(cls, model: str, topics: Topics, router: RouterProcess, folder: Path) -> Served:
        artifacts = Artifacts(router.environment["DRIFTGATE_ARTIFACTS"])
        uris = {v: adapter(folder / f"v{v}", artifacts, v) for v in (1, 2)}
        repo = publish_repo(folder / "repo", artifacts, model)
        return cls(model, topics, artifacts, repo, uris, router)

    def route(self, arms: dict[int, int], shadows: tuple[int, ...] = ()) -> dict[str, Any]:
        """The next epoch; returns its acknowledgement."""
        self.epoch += 1
        live = [self.arm(version, weight) for version, weight in arms.items()]
        beside = [self.arm(version) for version in shadows]
        self.topics.send("routing", routing(self.model, self.repo, self.epoch, live, beside))
        return self.acknowledged()

    def arm(self, version: int, weight: int = 0) -> dict[str, Any]:
        return arm(version, self.uris[version], weight) | self.bases.get(version, {})

    def acknowledged(self, router: str = "") -> dict[str, Any]:
        """What a router, or any, says of the newest epoch: of what takes long, at a tick."""

        def found() -> dict[str, Any] | None:
            self.topics.let_time_pass()
            acks = self.topics.read("routing.acks", self.model)
            theirs = [a for a in acks if router in ("", a["router"])]
            return theirs[-1] if theirs and theirs[-1]["epoch"] == self.epoch else None

        ack: dict[str, Any] = until(found)
        return ack

    def request(self, number: int) -> Any:
        return router_pb2.PredictRequest(
            model=self.model,
            text=f"message {number % 40} about card number {number % 40 * 7}",
            request_id=f"{self.model}-{number}",
            subject=f"s{number}",
        )

    def ask(self, *numbers: int) -> list[Any]:
        """The answers to requests, one after the other."""
        with grpc.insecure_channel(self.router.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            return [
                stub.Predict(self.request(number), timeout=60, wait_for_ready=True)
                for number in numbers
            ]


def until(found: Callable[[], Any], seconds: float = 180) -> Any:
    """What `found` returns, once that is something; what is not ready yet is asked again.

    Raises:
        TimeoutError: nothing came in time.
    """
    for _ in attempts(seconds):
        with suppress(Retriable):
            if value := found():
                return value
    raise TimeoutError(f"nothing after {seconds:g} s")
