"""The launch file: the labelled rows that a model's first version learns from, one JSON object a
line, and beside it the card that says where they come from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftgate.errors import BadConfig
from driftgate.labelled.findings import Findings
from driftgate.labelled.rows import Row
from driftgate.model_repo import ModelYaml

if TYPE_CHECKING:  # fsspec takes longer than all of `driftgate check`
    from driftgate.artifacts import Artifacts

LAUNCH = "launch.jsonl"
CARD_SUFFIX = ".card.json"
MIN_SLICE_CASES = 20
"""Held-out cases without which the gate does not judge a slice (services/evaluator/gate.py)."""

FUTURE = "its date lies in the future"
MOST_FUTURE = 0.2


def lines(rows: Iterable[Row]) -> bytes:
    """JSON lines with id, text, label, time (ms), subject and slices."""
    return b"".join(json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n" for row in rows)


def write(folder: Path, rows: Sequence[Row], reading: Mapping[str, Any]) -> Path:
    """Writes the launch file of a model repo, and its card."""
    path, data = folder / LAUNCH, lines(rows)
    path.write_bytes(data)
    card = {"file": LAUNCH, "sha256": hashlib.sha256(data).hexdigest(), "reading": reading}
    text = json.dumps(card, ensure_ascii=False, indent=2)
    path.with_suffix(CARD_SUFFIX).write_text(text + "\n", encoding="utf-8")
    return path


def reading_of(path: Path) -> dict[str, Any] | None:
    """What is known of how a launch file came about; None where it has no card, or was changed
    since."""
    card = path.with_suffix(CARD_SUFFIX)
    if not (path.is_file() and card.is_file()):
        return None
    found = json.loads(card.read_text(encoding="utf-8"))
    unchanged = hashlib.sha256(path.read_bytes()).hexdigest() == found["sha256"]
    return dict(found["reading"]) if unchanged else None


def put(artifacts: Artifacts, rows: bytes, reading: Mapping[str, Any] | None) -> str:
    """Stores launch rows where the trainer finds them, with how they were read; returns the URI."""
    uri = artifacts.put(rows)
    if reading is not None:
        artifacts.set_ref(ref_of(uri), dict(reading))
    return uri


def reading_kept(artifacts: Artifacts, uri: str) -> dict[str, Any] | None:
    """How stored launch rows were read; None where nobody said it."""
    found: dict[str, Any] | None = artifacts.ref(ref_of(uri))
    return found


def ref_of(uri: str) -> str:
    return f"seeds/{uri.partition(':')[2]}"


def until(rows: Sequence[Row], now: int, findings: Findings) -> list[Row]:
    """The rows that are not dated after `now` (ms); the others are counted.

    Raises:
        BadConfig: they are too many to be slips.
    """
    kept = [row for row in rows if row.time is None or row.time <= now]
    late = [row for row in rows if row.time is not None and row.time > now]
    if len(late) > MOST_FUTURE * len(rows):
        raise BadConfig(
            f"{findings.source}: {len(late):,} of {len(rows):,} rows are dated after now, such as "
            f"{stamp(late[0].time)}; say how dates are written by --dates, or --time none"
        )
    for row in late:
        findings.leave_out(FUTURE, stamp(row.time))
    findings.kept -= len(late)
    return kept


def stamp(time: int | None) -> str:
    return datetime.fromtimestamp((time or 0) / 1000, UTC).strftime("%Y-%m-%d")


def problems(config: ModelYaml, rows: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Why these launch rows cannot lead to a first release of the model, in words; a row is its
    label and its slices."""
    labels: Counter[str] = Counter()
    slices: Counter[str] = Counter()
    for label, own in rows:
        labels[label] += 1
        slices.update(f"{name}={value}" for name, value in own.items())
    total, share = labels.total(), config.data.test_share
    found = []
    unknown = [label for label in labels if label not in config.task.labels]
    if unknown:
        found.append(
            f"label {unknown[0]!r}"
            + (f" and {len(unknown) - 1} others are" if len(unknown) > 1 else " is")
            + " not among task.labels of model.yaml: add it there, or take the rows out"
        )
    if total < config.data.min_rows:
        found.append(
            f"{total} rows, and data.min_rows asks for {config.data.min_rows}: add rows, or lower "
            "it in model.yaml"
        )
    if total * share < config.gate.min_cases:
        found.append(
            f"about {total * share:.0f} of {total} rows will be held out, and gate.min_cases asks "
            f"for {config.gate.min_cases}: add rows, or lower it in model.yaml"
        )
    for name in config.gate.protected:
        if slices[name] * share < MIN_SLICE_CASES:
            seen = ", ".join(f"{one} {n}" for one, n in slices.most_common(8)) or "no slices"
            found.append(
                f"protected slice {name} has {slices[name]} of {total} rows, and "
                f"{round(MIN_SLICE_CASES / share)} are needed to judge it (a share of "
                f"{share:g} is held out); seen are {seen}: correct gate.protected in model.yaml"
            )
    return found


def rows_in(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Label and slices of each row of a launch file.

    Raises:
        BadConfig: a line is no such row; names it.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append((str(row["label"]), dict(row.get("slices") or {})))
        except (ValueError, KeyError, TypeError) as error:
            raise BadConfig(
                f'{path}, line {number}: expected an object with "text" and "label" ({error!r}); '
                "`driftgate init` writes this file"
            ) from error
    return found
