"""What a version says about itself: the model card, and the manifest of the run that made it."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from driftgate.bases import EMBEDDED
from driftgate.events import Candidate
from driftgate.model_repo import HEAD, Method, ModelYaml
from driftgate.tasks import Task
from services.trainer.dataset import front_matter, stamp
from services.trainer.recipes import Preferred
from services.trainer.worker import Done


def model_card(
    candidate: Candidate, config: ModelYaml, task: Task, told: Mapping[str, Any], done: Done
) -> str:
    """A Hugging Face README: YAML metadata, then words. `told` is the dataset card."""
    learned, tested = (told[side].get(task.strata, {}) for side in ("train", "test"))
    name, base = f"{candidate.model}@{candidate.version}", config.base.name
    method = config.method.by(done.recipe)
    meta = {
        "library_name": "driftgate" if method.recipe == HEAD else "peft",
        "pipeline_tag": candidate.task,
        "base_model": EMBEDDED[base].hub if base in EMBEDDED else base,
        "base_model_relation": "adapter",
        "datasets": [f"{candidate.model}-{candidate.dataset_id[:12]}"],
        "metrics": ["accuracy"],
        "tags": ["driftgate", candidate.method],
        "model-index": [{"name": name, "results": []}],
    }
    parent = candidate.parent
    before = "nothing: the first version" if parent is None else f"{candidate.model}@{parent}"
    drill = f" as a rehearsal of `{candidate.drill}`" if candidate.drill else ""
    return front_matter(meta) + (
        f"# {name}\n\n"
        f"Trained for `{candidate.retrain_id}` ({candidate.reason}){drill} "
        f"on data up to {stamp(candidate.time)}.\n\n"
        f"## Use\n\n{config.purpose or 'Not stated.'} Owner: {config.owner}.\n\n"
        f"Out of scope: {config.out_of_scope or 'not stated.'}\n\n"
        f"## Parts\n\n"
        f"- base: {base}, sha256 `{candidate.base_digest}`, frozen\n"
        f"- method: {manner(method, done)}, seed {method.seed}; recipe {method.recipe}"
        f"{declared(config.method, method)}{preferring(method)}\n"
        f"- adapter: `{candidate.adapter_uri}`\n"
        f"- dataset: `{candidate.dataset_uri}`, {candidate.train_rows} rows learned from, "
        f"{candidate.test_rows} held out{left_out(done)}\n"
        f"- training: {course(done)}\n"
        f"- run: `{candidate.run_uri}`\n"
        f"- model repo: `{candidate.repo_hash}`\n"
        f"- rolled back to: {before}\n\n"
        f"{task.described(learned, tested)}\n\n"
        "## Results\n\nNot yet judged. The verdict of this version holds every axis and slice.\n\n"
        f"## Limitations\n\n{task.limitations}\n"
    )


def declared(method: Method, made_by: Method) -> str:
    """What model.yaml says where the recipe was chosen at training, as the end of a sentence."""
    return "" if method.recipe == made_by.recipe else f", chosen by {method.recipe}"


def manner(method: Method, done: Done) -> str:
    """How the version was trained, as far as the recipe looks at it."""
    named = f", each label's name as {method.label_names:g} rows" if method.label_names else ""
    if method.recipe == HEAD:
        return (
            f"linear head on the frozen base, L2 penalty {done.metrics['penalty']:.2g}, loss "
            f"{done.metrics['validation_loss']:.3g} with it on rows left out in turn{named}"
        )
    return (
        f"{method.kind}, rank {method.rank}, alpha {method.alpha}, top {method.layers} layers, "
        f"{method.epochs} epochs, learning rate {method.learning_rate:g}{named}"
    )


def course(done: Done) -> str:
    """How a training went, epoch by epoch."""
    said = [f"{done.steps} steps"]
    if done.losses:
        said[0] += f", loss {series(done.losses)}"
    if done.validation:
        best = 1 + min(range(len(done.validation)), key=done.validation.__getitem__)
        held = series(done.validation)
        said.append(f"on rows held back from it {held}: epoch {best} was kept")
    if done.preferred is not None:
        said.append(in_words(done.preferred))
    return "; ".join([*said, *done.notes])


def in_words(preferred: Preferred) -> str:
    """How preferences were learned."""
    said = f"{preferred.pairs} preference pairs, loss {series(preferred.losses)}"
    if not preferred.validation:
        return said
    before, after = preferred.wins
    return (
        f"{said}; on {preferred.validated} held back from it, from before the first step, "
        f"{series(preferred.validation)}: epoch {preferred.best} was kept, and the chosen answer "
        f"is the likelier one in {after:.0%}, before in {before:.0%}"
    )


def preferring(method: Method) -> str:
    """How preferences are learned, as the end of a sentence."""
    if "dpo" not in method.recipe:
        return ""
    dpo = method.dpo
    return (
        f", dpo with beta {dpo.beta:g}, sft_weight {dpo.sft_weight:g}, {dpo.epochs} epochs, "
        f"learning rate {dpo.learning_rate:g}"
    )


def series(losses: Iterable[float]) -> str:
    return ", ".join(f"{loss:.3g}" for loss in losses)


def left_out(done: Done) -> str:
    """What the recipe could not learn, as the end of a sentence."""
    return "".join(f"; left out: {count}, {why}" for why, count in sorted(done.left_out.items()))


def run_manifest(
    candidate: Candidate, config: ModelYaml, done: Done, started: float, ended: float
) -> dict[str, Any]:
    """What made the version. The inputs and the machine decide the outputs' bytes; times, in
    seconds since 1970, do not. Nothing is paid for a run on one's own machine."""
    machine = dict(done.machine)
    return {
        "retrain_id": candidate.retrain_id,
        "model": candidate.model,
        "version": candidate.version,
        "code": code_version(),
        "seed": config.method.seed,
        "method": config.method.settings,
        "recipe": done.recipe,
        "packages": machine.pop("packages"),
        "hardware": machine,
        "started": started,
        "ended": ended,
        "cost": 0.0,
        "steps": done.steps,
        "losses": list(done.losses),
        "validation": list(done.validation),
        "left_out": dict(done.left_out),
        "preferred": done.preferred and asdict(done.preferred),
        "notes": list(done.notes),
        "metrics": dict(done.metrics),
        "inputs": {
            "base": candidate.base_digest,
            "dataset": candidate.dataset_uri,
            "model_repo": candidate.repo_hash,
        },
        "outputs": {"adapter": candidate.adapter_uri},
    }


@cache
def code_version() -> str:
    """The package's version, and the commit when it runs from a checkout."""
    version = importlib.metadata.version("driftgate")
    here = Path(__file__).resolve().parent
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        said = subprocess.run(
            asked, cwd=here, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return version
    return f"{version}+{said.stdout.strip()}" if said.returncode == 0 else version
