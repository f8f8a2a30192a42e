"""A canary that begins to fail: how long until nobody hears it any more.

Kafka, the promoter and a router as processes of their own. A version at 5 % is well, then fails on
a fifth of the requests. From there to the last reply, or failure, that an app gets of it: the
router counts, the promoter reads the counts, decides and writes the routing, the router follows.
The engine answers at once (`bench/parts/stub_router.py`); both versions answer every request. A
person keeps the version, as in production.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np

from bench.figure import Figure
from bench.parts.bed import SCHEMAS, infrastructure
from bench.parts.load import Load
from bench.parts.routers import STUB, adapter, process, wait
from bench.parts.stub_router import BROKEN
from deploy.local.plan import StackConfig, free_ports
from driftgate import model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import newest, publish
from driftgate.codec import Codec
from driftgate.events import Rollout, Tick, Verdict
from driftgate.machine_clock import machine_ms
from driftgate.store import Store, migrate

GOAL_SECONDS = 2.0
MODEL_YAML = """
model: {model}
task: {{kind: text-classification, labels: [delivery, refund, billing]}}
base: {{name: all-MiniLM-L6-v2}}
monitors: []
gate: {{min_accuracy: 0.8, waived: [regression, probes]}}
rollout:
  stages:
    - {{name: canary-5, percent: 5}}
    - {{name: full, percent: 100}}
  back_off: 0
  sticky_by: subject
"""


@dataclass
class Bed:
    """A model, its promoter and its router."""

    stack: StackConfig
    folder: Path
    model: str = field(default_factory=lambda: f"m-{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        (self.folder / "repo" / "evals").mkdir(parents=True)
        (self.folder / "repo" / "model.yaml").write_text(MODEL_YAML.format(model=self.model))
        for name in ("regression.jsonl", "probes.yaml"):
            (self.folder / "repo" / "evals" / name).touch()
        self.artifacts = Artifacts(self.stack.environment["DRIFTGATE_ARTIFACTS"])
        self.repo = model_repo.publish(self.folder / "repo", self.artifacts)[0].hash
        self.bus, self.codec = KafkaBus(self.stack.kafka), Codec.load(SCHEMAS)
        self.producer, self.broken = self.bus.producer(), self.folder / "broken"
        migrate(Store.connect(self.stack.store, "driftgate"), SCHEMAS / "store")

    def passes(self, version: int, champion: int | None) -> str:
        """A version passes its gate; returns its digest."""
        uri = self.artifacts.put_folder(adapter(self.folder / f"v{version}", version))
        verdict = Verdict(
            verdict_id=f"{self.model}@{version}",
            model=self.model,
            version=version,
            retrain_id=str(version),
            adapter_digest=digest_of(uri),
            adapter_uri=uri,
            base="all-MiniLM-L6-v2",
            champion=champion,
            result="pass",
            axes=(),
            repo_hash=self.repo,
            report_uri="",
            words="",
            time=machine_ms(),
        )
        publish(self.producer, self.codec, [verdict])
        return digest_of(uri)

    def ticks(self) -> None:
        """Time passes."""
        publish(self.producer, self.codec, [Tick(world="bench", time=machine_ms(), pace=1.0)])

    def stands(self, champion: int, challenger: int | None, stage: str) -> bool:
        self.ticks()
        state = newest(self.bus, self.codec, Rollout).get(self.model)
        wanted = (champion, challenger, stage)
        return state is not None and (state.champion, state.challenger, state.stage) == wanted


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=fast-lane")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--people", type=int, default=2000, help="who ask in turn")
    given = parser.parse_args(args)
    with infrastructure("fast-lane") as stack:
        bed = Bed(stack, stack.state_dir / "bed")
        address = f"127.0.0.1:{free_ports(1)[0]}"
        router = {
            "DRIFTGATE_ROUTER": address,
            "DRIFTGATE_HTTP_DOOR": "",
            BROKEN: str(bed.broken),
        }
        promoter = process(stack, bed.folder, "services.promoter.main")
        with promoter, process(stack, bed.folder, STUB, **router):
            bed.passes(1, None)
            wait("version 1 is not champion", lambda: bed.stands(1, None, "idle"))
            with Load(address, bed.model, given.rate, subjects=given.people) as load:
                wait("nobody answers", lambda: heard(load, 1))
                took = [broken(bed, load, version) for version in range(2, given.times + 2)]
        bed.producer.close()
        bed.bus.close()
    seconds = [one[0] for one in took]
    p50, worst = float(np.median(seconds)), max(seconds)
    return [
        Figure("times, requests a second", f"{given.times}, {given.rate:g}"),
        Figure("people", f"{given.people:,}"),
        Figure("broken → heard by nobody, median", f"{p50:.2f} s"),
        Figure("most", f"{worst:.2f} s", f"≤ {GOAL_SECONDS:g} s", worst <= GOAL_SECONDS),
        Figure("calls that failed, each time", ", ".join(str(one[1]) for one in took)),
    ]


def broken(bed: Bed, load: Load, version: int) -> tuple[float, int]:
    """How long a version was heard after it broke, s, and how many calls it failed."""
    digest = bed.passes(version, 1)
    wait(f"{version} is not at 5 %", lambda: bed.stands(1, version, "canary-5"))
    wait(f"nobody hears {version}", lambda: heard(load, version))
    begun = time.monotonic()
    bed.broken.write_text(digest)
    wait(f"{version} is not taken back", lambda: bed.stands(1, None, "idle"))
    time.sleep(1.0)  # for whoever would still hear it
    failed = [call.over for call in load.failed]
    last = max([*heard(load, version), *failed])
    return last - begun, sum(at >= begun for at in failed)


def heard(load: Load, version: int) -> list[float]:
    """When each answer of a version came, s of a monotonic clock."""
    return [call.over for call in load.answered if call.version == version]
