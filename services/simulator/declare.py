"""Declares a model for a world that brings none: labels, slices, a gate line that can be held."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from driftgate.classifier.base import EMBEDDED, resolve
from driftgate.classifier.serving import Classifier
from driftgate.model_repo import ModelRepo
from driftgate.scaffold import Case, Declaration, write
from services.simulator.rows import Row
from services.simulator.schedule import World

# The gate line of an unknown world: what nearest-centroid classification of half the launch data
# gets right on the other half, less this, and less what no model can know yet.
ROOM = 0.12
# So long it takes at the least until feedback on a new label is noticed, learned from, rolled out.
LEARNED_DAYS = 14
LOWEST_GATE = 0.3
SLICE_ROOM = 0.12


def model_repo_for(world: World, folder: Path, name: str) -> ModelRepo:
    """Writes a model repo for a world, for a model of that name.

    Raises:
        BadConfig: see `scaffold.write`.
    """
    nearest, margin = nearest_centroid(world.launch)
    truth = [row.label for row in world.launch]
    right = [a == b for a, b in zip(nearest, truth, strict=True)]
    gate = round(max(LOWEST_GATE, sum(right) / len(right) - ROOM - unknowable(world)), 2)
    clear = [
        Case(row.text, row.label, row.slices)
        for row, good, _ in sorted(
            zip(world.launch, right, margin, strict=True), key=lambda found: -found[2]
        )
        if good
    ]
    declaration = Declaration(
        model=slug(name),
        labels=world.labels,
        purpose=f"Sorts the texts of {world.name}.",
        protected=protected_slice(world.launch),
        gate=gate,
        slice_gate=round(max(LOWEST_GATE, gate - SLICE_ROOM), 2),
        one_off=True,
    )
    return write(folder, declaration, in_turn(clear))


def unknowable(world: World) -> float:
    """The largest share of a week's requests, 0..1, whose label is younger than `LEARNED_DAYS`."""
    first = dict.fromkeys((row.label for row in world.launch), -LEARNED_DAYS)
    young = [
        [day - first.setdefault(row.label, day) < LEARNED_DAYS for row in rows]
        for day, rows in enumerate(world.days)
    ]
    weeks = [list(chain(*young[day : day + 7])) for day in range(0, len(young), 7)]
    return max((sum(week) / len(week) for week in weeks if week), default=0.0)


def nearest_centroid(rows: Sequence[Row]) -> tuple[list[str], list[float]]:
    """Each row's label by the nearest class centroid of the other half of the rows, and by how
    much it is nearer than the next."""
    vectors = Classifier(resolve(EMBEDDED)).embed([row.text for row in rows])
    found: list[str] = [""] * len(rows)
    margins = [0.0] * len(rows)
    for half in (0, 1):
        learned = [n for n in range(len(rows)) if n % 2 != half]
        labels = sorted({rows[n].label for n in learned})
        centroids = np.stack(
            [
                np.mean(vectors[[n for n in learned if rows[n].label == label]], 0)
                for label in labels
            ]
        )
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        for n in range(half, len(rows), 2):
            scores = centroids @ vectors[n]
            order = np.argsort(-scores)
            found[n] = labels[order[0]]
            margins[n] = float(scores[order[0]] - scores[order[1]])
    return found, margins


def protected_slice(rows: Sequence[Row]) -> str:
    """The smallest slice that has at least a tenth of the traffic."""
    counts = Counter(f"{name}={value}" for row in rows for name, value in row.slices.items())
    large = [(n, name) for name, n in counts.items() if n >= len(rows) / 10]
    return min(large)[1] if large else ""


def in_turn(cases: Sequence[Case]) -> list[Case]:
    """The clearest case of each label, then the next clearest of each, and so on."""
    by_label: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_label[case.label].append(case)
    deepest = max((len(found) for found in by_label.values()), default=0)
    return [
        found[depth]
        for depth in range(deepest)
        for _, found in sorted(by_label.items())
        if depth < len(found)
    ]


def slug(name: str) -> str:
    """A model's name made of a file's."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-")
    return kept or "world"
