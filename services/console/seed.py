"""Labelled rows, or pairs, for `retrain --seed`: any file that can be read, checked against the
model's declaration before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from driftgate import suites
from driftgate.errors import BadConfig, nearest
from driftgate.labelled import labels, pairs
from driftgate.labelled.findings import Findings
from driftgate.labelled.reading import read
from driftgate.labelled.rows import Asked, Row
from driftgate.model_repo import MODEL_YAML, ModelRepo, ModelYaml
from driftgate.scaffold import generation, launch, proposal
from driftgate.split import normalised
from driftgate.tasks import task_of

FROZEN = "it is a case of the model's suites, which are not learned from"


@dataclass(frozen=True, slots=True)
class Seed:
    """Launch rows as they are stored, how they were read, and what to say about that."""

    rows: bytes
    reading: dict[str, Any]
    findings: tuple[str, ...]


def seed_of(path: Path, asked: Asked, repo: ModelRepo, now: int, first: bool) -> Seed:
    """The rows of a file for a model; of a model repo, those of its launch file. `first`: there is
    no version yet, so these rows are all that it can be trained and judged on.

    Raises:
        BadConfig: it cannot be read, has labels that are not declared, or cannot lead to a first
            release of this model; says what to do.
    """
    file = path / launch.LAUNCH if (path / MODEL_YAML).is_file() else path
    known, task = launch.reading_of(file), task_of(repo.config.task)
    if known is None:
        reads = read_rows if task.outputs is not None else read_pairs
        rows, findings = reads(file, asked, now)
    else:
        rows, findings = launch.rows_in(file, task.field), Findings(file.name)
    if task.outputs is not None:
        rows = declared_spelling(rows, task.outputs)
    kept = learnable(rows, repo, findings)
    hold(repo.config, kept, first)
    found = tuple(findings.lines()) if known is None or findings.left_out else ()
    masked = proposal.masked if task.outputs is not None else generation.masked
    stored = masked(kept, repo.config.data.mask)
    return Seed(launch.lines(stored, task.field), known or findings.card(), found)


def read_rows(path: Path, asked: Asked, now: int) -> tuple[list[Row], Findings]:
    """The rows of any labelled file, under ids of their own."""
    labelled = read(path, asked)
    rows = labelled.rows(launch.until(labelled, now))
    return proposal.identified(rows, now), labelled.findings


def read_pairs(path: Path, asked: Asked, now: int) -> tuple[list[Row], Findings]:
    """The pairs of a file, under ids of their own."""
    found = pairs.read(path, asked)
    return proposal.identified(found.rows, now), found.findings


def learnable(rows: Sequence[Row], repo: ModelRepo, findings: Findings) -> list[Row]:
    """Rows that are no case of the frozen suites; the others are counted."""
    config = repo.config
    frozen = suites.frozen(repo.folder, task_of(config.task), config.gate.waived)
    cases = {normalised(text) for suite in frozen for text in suite.texts}
    kept = []
    for row in rows:
        if normalised(row.text) in cases:
            findings.leave_out(FROZEN, f"row {row.id}")
        else:
            kept.append(row)
    findings.kept = len(kept)
    return kept


def hold(config: ModelYaml, rows: Sequence[Row], first: bool) -> None:
    """Raises: BadConfig where the rows cannot lead to a first release."""
    found = launch.problems(config, rows) if first else []
    if found:
        raise BadConfig(
            f"these rows cannot lead to a release of {config.model}: {'; '.join(found)}"
        )


def declared_spelling(rows: Sequence[Row], declared: Sequence[str]) -> list[Row]:
    """Rows with their labels as the model has them, where they differ in case or blanks only.

    Raises:
        BadConfig: a label is none of the model's; names it and the nearest.
    """
    turkish = any(labels.TURKISH.search(label) for label in declared)
    by_key = {labels.same(label, turkish): label for label in declared}
    unknown = sorted({r.label for r in rows if labels.same(r.label, turkish) not in by_key})
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise BadConfig(
            f"label {unknown[0]!r}{more} is not among task.labels: "
            f"{nearest(unknown[0], list(declared))} Add it to model.yaml and `driftgate apply`, or "
            "correct the file"
        )
    return [replace(row, label=by_key[labels.same(row.label, turkish)]) for row in rows]
