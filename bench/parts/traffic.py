"""Traffic that is known in advance: the n-th event is a function of n, so that what is stored can
be compared with what was sent."""

from __future__ import annotations

import csv
import hashlib
import runpy
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

from driftgate.artifacts import Artifacts
from driftgate.codec import Codec
from driftgate.model_repo import parse, publish
from driftgate.personal.masking import Masker

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support-triage" / "world.py"
LABELS = ["billing", "delivery", "refund", "warranty"]
FEEDBACK_EVERY = 5
PERSONAL_EVERY = 10
KINDS = "email, phone, card, iban, ip, key"
MODEL_YAML = f"""
model: {{model}}
task: {{{{kind: text-classification, labels: {LABELS}}}}}
base: {{{{name: all-MiniLM-L6-v2}}}}
data: {{{{mask: {{{{kinds: [{{kinds}}]}}}}}}}}
monitors: []
gate: {{{{min_accuracy: 0.8, waived: [regression, probes]}}}}
rollout: {{{{stages: [{{{{name: full, percent: 100}}}}]}}}}
"""


@dataclass(frozen=True)
class Traffic:
    """Events of one model. Every fifth answer gets feedback; every tenth text holds an address."""

    model: str
    codec: Codec
    folder: Path
    began: int = time.time_ns() // 1_000_000

    @cached_property
    def texts(self) -> list[str]:
        """Messages of the example's world."""
        path = self.folder / "texts.csv"
        if not path.exists():
            runpy.run_path(str(EXAMPLE))["write_world"](path, per_day=20)
        with path.open() as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        return [
            f"{text} write to person{n}@example.com" if n % PERSONAL_EVERY == 0 else text
            for n, text in enumerate(texts)
        ]

    @cached_property
    def masked(self) -> list[str]:
        """The same as they may be stored."""
        masker = Masker.of(parse(self.model_yaml(KINDS)).data.mask)
        return [masker.text(text) for text in self.texts]

    def model_yaml(self, kinds: str) -> str:
        return MODEL_YAML.format(model=self.model, kinds=kinds)

    def declaration(self, artifacts: Artifacts, kinds: str = KINDS) -> dict[str, Any]:
        """Declares the model, with the kinds of personal data to be masked."""
        repo = self.folder / "repo"
        (repo / "evals").mkdir(parents=True, exist_ok=True)
        (repo / "model.yaml").write_text(self.model_yaml(kinds))
        (repo / "evals" / "regression.jsonl").write_text("")
        (repo / "evals" / "probes.yaml").write_text("")
        read, uri = publish(repo, artifacts)
        return {
            "model": self.model,
            "repo_hash": read.hash,
            "repo_uri": uri,
            "actor": "bench",
            "time": self.began,
        }

    def request_id(self, n: int) -> str:
        digest = hashlib.md5(f"{self.model} {n}".encode(), usedforsecurity=False)
        return str(UUID(bytes=digest.digest()))

    def inference(self, n: int) -> dict[str, Any]:
        return {
            "request_id": self.request_id(n),
            "model": self.model,
            "version": 1 + n % 7,
            "digest": "5f" * 32,
            "role": "live",
            "input": self.texts[n % len(self.texts)],
            "input_hash": "7e" * 32,
            "features": {"words": float(n % 30), "similarity": 0.5 + n % 100 / 200},
            "slices": {"language": "es" if n % 4 == 0 else "en", "plan": "free"},
            "output": LABELS[n % len(LABELS)],
            "confidence": 0.25 + n % 300 / 400,
            "latency_ms": 3.5,
            "tokens": 20 + n % 50,
            "cost": 0.0,
            "subject": f"customer-{n % 20_000}",
            "epoch": 3,
            "propensity": 1.0,
            "time": self.began + n // 10,
        }

    def feedback(self, n: int) -> dict[str, Any]:
        """On the n-th answer."""
        return {
            "feedback_id": f"f-{self.request_id(n)}",
            "request_id": self.request_id(n),
            "model": self.model,
            "kind": "correction",
            "rating": None,
            "label": LABELS[n // FEEDBACK_EVERY % len(LABELS)],
            "edited": None,
            "reason": None,
            "reviewer": None,
            "time": self.began + n // 10 + 1000,
        }

    def poison(self, n: int) -> bytes:
        return f"poison {self.model} {n}".encode()

    def encoded(self, topic: str, event: dict[str, Any]) -> tuple[bytes | None, bytes]:
        return self.codec.topics.key(topic, event), self.codec.encode(topic, event)
