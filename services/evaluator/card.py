"""The model card, completed with what the harness found: Hugging Face's `model-index` and a table.

Format: https://huggingface.co/docs/hub/model-cards#evaluation-results
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from services.evaluator.axis import Axis, tidy
from services.evaluator.gate import GateResult
from services.evaluator.tables import table

FRONT_MATTER = re.compile(r"\A---\n(?P<meta>.*?)^---\n(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
RESULTS = re.compile(r"^## Results\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class About:
    """What was judged. name, champion: `model@version`, None without a champion. task: its kind.
    dataset: artifact URI of the held-out cases. repo_hash: of the model repo with the other suites
    and the gate. unwatched: monitors without a reference, in words."""

    name: str
    task: str
    champion: str | None
    dataset: str
    repo_hash: str
    unwatched: tuple[str, ...] = ()


def completed(card: str, about: About, verdict: GateResult) -> str:
    """A card with its results filled in. What does not stand for the model's answers, and what a
    model judge says, is no result of its own; the table tells it."""
    found = FRONT_MATTER.match(card)
    yaml = YAML()
    meta = yaml.load(found["meta"]) if found else {}
    told = [a for a in verdict.axes if a.cases and a.of_traffic and not a.advice]
    results = [result(axis, about) for axis in told]
    meta["model-index"] = [{"name": about.name, "results": results}]
    out = StringIO()
    yaml.dump(meta, out)
    section = f"## Results\n\nIt {verdict.summary}.\n\n{table(verdict.axes)}\n\n"
    if verdict.measured_on:
        section += f"Held-out cases: {verdict.measured_on}.\n\n"
    body = found["body"] if found else card
    body, places = RESULTS.subn(lambda _: section, body, count=1)
    return f"---\n{out.getvalue()}---\n{body}" + ("" if places else f"\n{section}")


def result(axis: Axis, about: About) -> dict[str, Any]:
    """One axis as an entry of `model-index`."""
    held_out, metric = axis.layer == "task", axis.name if axis.graded else "accuracy"
    return {
        "task": {"type": about.task},
        "dataset": {
            "name": "held-out cases" if held_out else f"{axis.layer} suite",
            "type": "dataset" if held_out else "model-repo",
            "config": axis.slice,
            "split": "test",
            "revision": about.dataset if held_out else about.repo_hash,
        },
        "metrics": [{"type": metric, "name": axis.title, "value": tidy(axis.value)}],
    }
