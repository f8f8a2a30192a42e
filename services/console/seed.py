"""Labelled rows for `retrain --seed`: any file that can be read, held against the model's
declaration before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from driftgate.errors import BadConfig, nearest
from driftgate.labelled import labels
from driftgate.labelled.reading import read
from driftgate.labelled.rows import Asked, Row
from driftgate.model_repo import ModelYaml
from driftgate.scaffold import launch, proposal


@dataclass(frozen=True, slots=True)
class Seed:
    """Launch rows as they are stored, how they were read, and what to tell about that."""

    rows: bytes
    reading: dict[str, Any]
    words: tuple[str, ...]


def seed_of(path: Path, asked: Asked, config: ModelYaml, now: int, first: bool) -> Seed:
    """The rows of a file for a model. A launch file that `init` wrote is taken as it is. `first`:
    there is no version yet, so these rows are all that it can be trained and judged on.

    Raises:
        BadConfig: it cannot be read, has labels that are not declared, or cannot lead to a first
            release of this model; says what to do.
    """
    known = launch.reading_of(path)
    if known is not None:
        hold(config, launch.rows_in(path), first)
        return Seed(path.read_bytes(), known, ())
    labelled = read(path, asked)
    rows = launch.until(labelled.rows(), now, labelled.findings)
    spelt = declared_spelling(rows, config.task.labels)
    mixed = proposal.newest(spelt, len(spelt), proposal.SEED)
    kept = proposal.with_ids(mixed, config.model, now)
    hold(config, [(row.label, row.slices) for row in kept], first)
    findings = labelled.findings
    return Seed(launch.lines(kept), findings.card(), tuple(findings.lines()))


def hold(config: ModelYaml, rows: Sequence[tuple[str, dict[str, str]]], first: bool) -> None:
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
    found = {row.label for row in rows}
    unknown = sorted(label for label in found if labels.same(label, turkish) not in by_key)
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise BadConfig(
            f"label {unknown[0]!r}{more} is not among task.labels: "
            f"{nearest(unknown[0], list(declared))} Add it to model.yaml and `driftgate apply`, or "
            "correct the file"
        )
    return [replace(row, label=by_key[labels.same(row.label, turkish)]) for row in rows]
