"""What to declare for pairs of inputs and outputs: prompt, schema, suites, the rows to launch with.
All of it hangs on the pairs alone; only `write` touches a disk."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from driftgate.errors import BadConfig
from driftgate.json_text import parsed
from driftgate.labelled.pairs import Pairs
from driftgate.labelled.rows import Row
from driftgate.model_repo import MODEL_YAML, Mask, ModelRepo, read
from driftgate.personal.masking import Masker
from driftgate.scaffold import proposal, writing
from driftgate.scaffold.launch import person
from driftgate.scaffold.writing import HARMLESS, Declaration
from driftgate.split import held_out, normalised
from driftgate.suites import PROBES, REGRESSION

MOSTLY = 0.9
"""So many outputs that are JSON objects declare a model of JSON; the others are left out."""

INVARIANCE_TEXTS = 12
FORMAT_TEXTS = 12

BAR, SLICE_BAR, PROBE_BAR = 0.3, 0.2, 0.5
"""Low: what a base can learn of these pairs is not known before it was tried."""

TYPES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write. files: by their path in the repo. notes: why it is so, a sentence each."""

    model: str
    files: Mapping[str, str]
    launch: tuple[Row, ...]
    gate: float
    example: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user or the world says.

    Attributes:
        protect: `name=value`, `none`, or None: chosen by rule.
        answers_per_day: None: as many as is usual.
    """

    model: str
    purpose: str = "Answers as people edited it."
    protect: str | None = None
    frozen_baseline: bool = False
    answers_per_day: float | None = None
    max_rows: int = 2400


def propose(pairs: Pairs, wanted: Wanted, now: int, seed: int) -> Proposal:
    """The proposal for these pairs. now: the time of pairs without one, ms.

    Raises:
        BadConfig: too few pairs, or the slice to protect is not among them.
    """
    rows, values = of_one_form(pairs.rows)
    if len(rows) < proposal.LEAST_ROWS:
        raise BadConfig(f"{len(rows)} pairs, expected {proposal.LEAST_ROWS} or more: add pairs")
    rows = proposal.identified(rows, now)
    suite = random.Random(seed).sample(rows, min(proposal.MOST_SUITE, len(rows) // 8))
    frozen = {normalised(row.text) for row in suite}
    left = [row for row in rows if normalised(row.text) not in frozen]
    launch = proposal.newest(left, lambda row: row.time, proposal.MOST_LAUNCH, seed)
    held = [row for row in launch if held_out(person(row), proposal.TEST_SHARE)]
    system = pairs.systems.most_common(1)
    declared = Declaration(
        model=wanted.model,
        labels=(),
        purpose=wanted.purpose,
        protected=proposal.protected_slice(launch, held, wanted.protect),
        min_cases=proposal.cases(held),
        min_rows=min(150, max(40, len(launch) // 2)),
        min_samples=proposal.samples(wanted.answers_per_day),
        frozen_baseline=wanted.frozen_baseline,
        max_rows=wanted.max_rows,
        replay_rows=wanted.max_rows // 2,
        epochs=3,
        learning_rate=0.0005,
        gate=BAR,
        slice_gate=SLICE_BAR,
        regression_gate=BAR,
        probe_gate=PROBE_BAR,
    )
    files = {
        MODEL_YAML: writing.rendered(
            "generation.yaml.j2", declared, system=bool(system), json=bool(values)
        ),
        "prompts/input.txt": "{text}\n",
        REGRESSION.as_posix(): "".join(map(case, suite)),
        PROBES.as_posix(): probes(suite),
    }
    if system:
        files["prompts/system.txt"] = f"{system[0][0].strip()}\n"
    if values:
        files["schema.json"] = f"{json.dumps(schema_of(values), indent=2, ensure_ascii=False)}\n"
    notes = [
        f"{len(launch):,} pairs to launch with, {len(held):,} of them held out; {len(suite)} are "
        "frozen as the regression suite and not learned from",
        "outputs: JSON, as schema.json says of all pairs" if values else "outputs: texts",
        f"system prompt: {'the most frequent of the chats' if system else 'none'}",
        f"gate {declared.gate:.0%}: raise it once the first version is measured",
    ]
    if len(rows) < len(pairs.rows):
        notes.append(f"{len(pairs.rows) - len(rows):,} pairs are left out: their output is no JSON")
    return Proposal(wanted.model, files, tuple(launch), BAR, suite[0].text, tuple(notes))


def of_one_form(rows: Sequence[Row]) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows whose outputs are JSON objects, with these, if nearly all are; else all rows."""
    found = [(row, value) for row in rows if isinstance(value := json_in(row.label), dict)]
    if len(found) < MOSTLY * len(rows):
        return list(rows), []
    return [row for row, _ in found], [value for _, value in found]


def json_in(text: str) -> Any:
    try:
        return parsed(text)
    except ValueError:
        return None


def schema_of(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A JSON Schema of what objects have in common: the types of each key, and the keys that all
    have. It says nothing of items of lists."""
    properties: dict[str, Any] = {}
    for name in dict.fromkeys(name for value in values for name in value):
        there = [value[name] for value in values if name in value]
        objects = [each for each in there if isinstance(each, dict)]
        if len(objects) == len(there):
            properties[name] = schema_of(objects)
        else:
            kinds = sorted({TYPES[type(each)] for each in there})
            properties[name] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    required = [name for name in properties if all(name in value for value in values)]
    return {"type": "object", "properties": properties, "required": required}


def case(row: Row) -> str:
    """A line of the regression suite."""
    said = {"id": row.id, "text": row.text, "output": row.label, "slices": row.slices}
    return f"{json.dumps(said, ensure_ascii=False)}\n"


def probes(suite: Sequence[Row]) -> str:
    """probes.yaml, of inputs that stand in no training. JSON is YAML, one kind a line."""
    texts = [row.text for row in suite]
    kinds: dict[str, Any] = {
        "format": texts[:FORMAT_TEXTS],
        "invariance": {"perturbations": HARMLESS, "texts": texts[-INVARIANCE_TEXTS:]},
    }
    written = (f"{name}: {json.dumps(what, ensure_ascii=False)}\n" for name, what in kinds.items())
    return "".join(["# What must hold of any version: docs/text-generation.md\n", *written])


def masked(rows: Iterable[Row], mask: Mask) -> list[Row]:
    """Rows with placeholders for the personal data in inputs and outputs."""
    text = Masker.of(mask).text
    return [
        replace(
            row,
            text=text(row.text),
            label=text(row.label),
            rejected=None if row.rejected is None else text(row.rejected),
        )
        for row in rows
    ]


def write(folder: Path, made: Proposal) -> ModelRepo:
    """Writes all files but the launch file into a folder that has none, and reads them back.

    Raises:
        BadConfig: see `model_repo.read`.
    """
    for name, text in made.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read(folder)
