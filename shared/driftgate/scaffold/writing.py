"""Writes a complete model repo: from labelled examples, or a small one to start from."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from driftgate.errors import BadConfig
from driftgate.model_repo import MODEL_YAML, ModelRepo, read
from driftgate.suites import PROBES, REGRESSION

WRITTEN = (MODEL_YAML, "evals", "prompts", "schema.json", "launch.jsonl", "launch.card.json")
INVARIANCE_TEXTS = 24
MINIMUM_CASES = 12
# Changes of a text after which any label should stand, in any language.
HARMLESS = ["lowercase", "extra_spaces", "strip_punctuation"]
# What YAML 1.2 does not take as it is inside double quotes.
NOT_PRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One clear example: a classifier of no skill but nearness gets it right with room."""

    text: str
    label: str
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a new model.yaml says; the rest are its defaults."""

    model: str
    labels: Sequence[str]
    owner: str = "unknown"
    purpose: str = "Sorts texts."
    out_of_scope: str = "Decisions about a person."
    protected: str = ""
    gate: float = 0.8
    slice_gate: float = 0.65
    regression_gate: float = 0.85
    probe_gate: float = 0.8
    min_cases: int = 80
    min_samples: Sequence[int] = (10, 10, 20)
    rollout_margin: float = 0.05
    frozen_baseline: bool = False
    epochs: int = 4
    learning_rate: float = 0.002
    label_names: int = 0
    recent_days: int = 56
    replay_rows: int = 2400
    max_rows: int = 4800
    new_pairs: int = 480
    test_share: float = 0.15
    min_rows: int = 150
    tolerance: Mapping[str, float] = field(
        default_factory=lambda: {
            "error": 0.03,
            "low_confidence": 0.04,
            "share": 0.06,
            "low_similarity": 0.03,
        }
    )


def write(folder: Path, declaration: Declaration, cases: Sequence[Case]) -> ModelRepo:
    """Writes `model.yaml` and `evals/` into a folder that has none, and reads them back.

    Raises:
        BadConfig: there is a model.yaml already, or there are no cases.
    """
    check_free(folder)
    if not cases:
        raise BadConfig(f"{folder}: a model repo needs some labelled cases for its evals")
    (folder / "evals").mkdir(parents=True, exist_ok=True)
    (folder / MODEL_YAML).write_text(rendered("model.yaml.j2", declaration), encoding="utf-8")
    (folder / REGRESSION).write_text(regression(cases), encoding="utf-8")
    with (folder / PROBES).open("w", encoding="utf-8") as file:
        file.write(
            "# What must hold of any version: clear cases, and changes that change nothing.\n"
        )
        YAML().dump(probes(cases), file)
    return read(folder)


def rendered(template: str, declaration: Declaration, **more: Any) -> str:
    """A model.yaml."""
    environment = Environment(
        loader=PackageLoader("driftgate"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML
    )
    environment.filters["quoted"] = quoted
    one_off = str(declaration.frozen_baseline).lower()
    return environment.get_template(template).render(asdict(declaration), one_off=one_off, **more)


def check_free(folder: Path) -> None:
    """Raises: BadConfig where the folder has a file that would be written, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise BadConfig(f"{folder} is a file; expected the name of a folder to write: choose one")
    taken = [name for name in WRITTEN if (folder / name).exists()]
    if taken:
        raise BadConfig(f"{folder / taken[0]} exists: move it away, or choose another folder")


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """A folder to write to, whose content then comes to its place: all of it, or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        partial = Path(name) / "repo"
        yield partial
        folder.mkdir(exist_ok=True)
        for entry in partial.iterdir():
            entry.rename(folder / entry.name)


def quoted(text: str) -> str:
    """A text as a double-quoted YAML scalar, emoji as they are."""
    in_quotes = json.dumps(text, ensure_ascii=False)
    return NOT_PRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", in_quotes)


def regression(cases: Sequence[Case]) -> str:
    """The frozen suite, one JSON object a line."""
    lines = (
        {"id": f"r-{number:03d}", "text": case.text, "label": case.label, "slices": case.slices}
        for number, case in enumerate(cases, 1)
    )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def probes(cases: Sequence[Case]) -> dict[str, Any]:
    """Behavioural probes in the sense of CheckList (Ribeiro et al. 2020)."""
    return {
        "minimum": [{"text": c.text, "label": c.label} for c in cases[:MINIMUM_CASES]],
        "invariance": {
            "perturbations": HARMLESS,
            "texts": [case.text for case in cases[-INVARIANCE_TEXTS:]],
        },
    }


STARTER = (
    Case("My parcel has not arrived", "delivery"),
    Case("Where is my order, it is three days late", "delivery"),
    Case("The courier left the box at the wrong door", "delivery"),
    Case("Please send me my money back", "refund"),
    Case("I returned the jacket and want a refund", "refund"),
    Case("When will the amount be back on my card", "refund"),
)
