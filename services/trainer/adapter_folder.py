"""Writes a trained version's folder, the same bytes on every machine."""

from __future__ import annotations

import json
from pathlib import Path

from driftgate.bases import BaseRef
from driftgate.classifier.folder import ADAPTER, CONFIG, Head, write_head
from services.trainer.loop import Run


def write_version(run: Run, out: Path, base: BaseRef) -> None:
    """PEFT's two files, without what names this machine, and the head."""
    out.mkdir(parents=True, exist_ok=True)
    model = run.encoder.model
    model.peft_config["default"].base_model_name_or_path = base.name
    model.save_pretrained(out, save_embedding_layers=False)
    config = json.loads((out / CONFIG).read_text("utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    (out / "README.md").unlink(missing_ok=True)
    (out / ADAPTER).chmod(0o644)
    write_head(out, Head(run.labels, run.prototypes, run.method.scale), base)
