"""A router process on a stack, with two versions of one model, and what a promoter does to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from safetensors.numpy import save_file

from deploy.local.plan import StackConfig, free_ports
from driftgate import model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.bases import MINILM, resolve
from driftgate.bus_confluent import ConfluentSender
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import decoded
from driftgate.classifier.folder import Head, write_head
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.events import Arm, Routing, RoutingAck
from driftgate.machine_clock import machine_ms

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("delivery", "refund", "billing")
REAL, STUB = "services.router.main", "bench.parts.stub_router"


@dataclass
class RouterBed:
    """One model of two versions, and the router that serves it.

    Attributes:
        program: `REAL`, on the built-in MiniLM, or `STUB`.
    """

    stack: StackConfig
    folder: Path
    program: str = REAL
    model: str = field(default_factory=lambda: f"m-{uuid4().hex[:8]}")
    epoch: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.codec, self.bus = Codec.load(Settings().schemas), KafkaBus(self.stack.kafka)
        self._sender = ConfluentSender(self.stack.kafka)
        artifacts = Artifacts(self.stack.environment["DRIFTGATE_ARTIFACTS"])
        repo, _ = model_repo.publish(ROOT / "examples" / "support-triage", artifacts)
        self._repo = repo.hash
        self.folders = {version: self.folder / f"v{version}" for version in (1, 2)}
        self.uris = {v: artifacts.put_folder(adapter(at, v)) for v, at in self.folders.items()}
        self.digests = {version: digest_of(uri) for version, uri in self.uris.items()}
        self.address = f"127.0.0.1:{free_ports(1)[0]}"

    @contextmanager
    def running(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """The router process, from the first answer it could give; killed at the end."""
        settings = {"DRIFTGATE_ROUTER": self.address, "DRIFTGATE_HTTP_DOOR": ""} | settings
        with process(self.stack, self.folder, self.program, **settings) as running:
            log = self.folder / f"{self.program}.log"
            wait("the router does not listen", lambda: '"listening"' in log.read_text())
            yield running

    def route(self, heard: int, standby: Sequence[int] = ()) -> float:
        """The next epoch: one version is heard. When it was sent, s of a monotonic clock."""
        self.epoch += 1
        event = Routing(
            model=self.model,
            epoch=self.epoch,
            base="all-MiniLM-L6-v2",
            base_digest="",
            arms=(self._arm(heard, 10_000),),
            shadows=(),
            salt=self.model,
            sticky_by="subject",
            repo_hash=self._repo,
            champion=heard,
            standby=tuple(self._arm(version, 0) for version in standby),
            time=machine_ms(),
        )
        begun = time.monotonic()
        self._sender.send(*self.codec.record(event))
        self._sender.flush()
        return begun

    def _arm(self, version: int, weight: int) -> Arm:
        uri, digest = self.uris[version], self.digests[version]
        return Arm(version=version, digest=digest, adapter_uri=uri, weight=weight)

    def wait_until_served(self) -> None:
        """Until the router acknowledges the epoch."""

        def served() -> bool:
            acks = decoded(self.codec, self.bus.read_all([RoutingAck.TOPIC]))
            return any(is_served(ack) for _, ack in acks)

        def is_served(ack: object) -> bool:
            wanted = (self.model, self.epoch, "serving")
            return isinstance(ack, RoutingAck) and (ack.model, ack.epoch, ack.status) == wanted

        wait("the router does not serve the epoch", served)

    def logged(self) -> Mapping[str, int]:
        """How often each request stands on `inferences`."""
        found: dict[str, int] = {}
        for _, event in decoded(self.codec, self.bus.read_all(["inferences"])):
            if event.model == self.model:
                found[event.request_id] = found.get(event.request_id, 0) + 1
        return found

    def close(self) -> None:
        self._sender.close()
        self.bus.close()


@contextmanager
def process(
    stack: StackConfig, folder: Path, program: str, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A service of a stack, with its state and its log in a folder; killed at the end."""
    own = {"DRIFTGATE_STATE_DIR": str(folder / program), "OMP_NUM_THREADS": "1"}
    environment = dict(os.environ) | dict(stack.environment) | own | settings
    with (folder / f"{program}.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", program], env=environment, stdout=log, stderr=log
        )
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def wait(what: str, done: Callable[[], bool], seconds: float = 120) -> None:
    """Until a condition holds."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


def adapter(folder: Path, seed: int) -> Path:
    """A version with a random adapter on one layer and a random head."""
    draw = np.random.default_rng(seed)
    path = "base_model.model.encoder.layer.5.attention.self.query"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{path}.lora_A.weight": draw.standard_normal((4, 384), dtype=np.float32),
        f"{path}.lora_B.weight": 0.1 * draw.standard_normal((384, 4), dtype=np.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}))
    prototypes = torch.from_numpy(draw.standard_normal((len(LABELS), 384), dtype=np.float32))
    write_head(folder, Head(LABELS, prototypes, 20.0), resolve(MINILM))
    return folder
