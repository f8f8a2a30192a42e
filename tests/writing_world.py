"""A router of models that write, on a bus in memory with writers that need no network."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from fake_writer import FakeWriter
from releasing import arm
from router_harness import BASE, World
from safetensors.numpy import save_file

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.generator.question import Written

DIGEST = "d" * 64
TASK = "text-generation"
MODEL_YAML = """
model: {model}
task:
  kind: text-generation
  system: system.txt
  max_new_tokens: 40
  scorers: [{{name: refusal, wanted: false, phrases: [no way]}}]
base: {{name: {base}}}
monitors: []
gate: {{min_accuracy: 0.8, waived: [regression, probes]}}
feedback: {{profile: [edits]}}
rollout: {{stages: [{{name: full, percent: 100}}]}}
"""


class PacedWriter(FakeWriter):
    """A fake writer that can be held, or made to fail.

    Attributes:
        may_step: cleared, no step ends.
        holds_at: after so many steps it is held.
        fails: error of every step.
        steps: answers that were open at each step.
    """

    def __init__(self, base: str, places: int = 16, queue: int = 64) -> None:
        super().__init__(base, places, queue)
        self.may_step, self.fails, self.steps = Event(), None, list[int]()
        self.may_step.set()
        self.holds_at = 0

    fails: Exception | None

    def step(self) -> list[Written]:
        assert self.may_step.wait(20)
        if self.fails is not None:
            raise self.fails
        self.steps.append(len(self._begun))
        if len(self.steps) == self.holds_at:
            self.may_step.clear()
        return super().step()


@dataclass
class WritingWorld(World):
    """Adapters are those of a base with digest `DIGEST`."""

    writers: dict[str, PacedWriter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repo = publish_repo(self.home / "writes", self.artifacts)

    @property
    def writer(self) -> PacedWriter:
        """That of the usual base."""
        return self.writers[BASE]

    def engine_of(self, task: str, base: str, digest: str) -> Any:
        if task != TASK:
            return super().engine_of(task, base, digest)
        self.writers[base] = PacedWriter(DIGEST)
        return self.writers[base]

    def arm(self, version: int, weight: int = 0, content: str = "", **more: Any) -> dict[str, Any]:
        folder = self.home / f"written-{content or version}"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps({"version": content or version}))
        weights = {"w": np.array([version], dtype=np.float32)}
        save_file(weights, folder / "adapter_model.safetensors", {"base_sha256": DIGEST})
        given = {"task": TASK, "base": BASE, "base_digest": ""} | more
        return arm(version, self.artifacts.put_folder(folder), weight) | given


def publish_repo(folder: Path, artifacts: Artifacts, system: str = "Be brief.") -> str:
    (folder / "evals").mkdir(parents=True)
    (folder / "model.yaml").write_text(MODEL_YAML.format(model="routed-model", base=BASE))
    (folder / "system.txt").write_text(system)
    (folder / "evals" / "regression.jsonl").touch()
    (folder / "evals" / "probes.yaml").touch()
    return model_repo.publish(folder, artifacts)[0].hash
