"""The launch file: the labelled rows that a model's first version learns from, one JSON object a
line, and beside it the card that says where they come from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftgate.errors import BadConfig, shown
from driftgate.labelled.rows import Row
from driftgate.model_repo import ModelYaml
from driftgate.slices import inside
from driftgate.split import held_out
from driftgate.suites import MIN_SLICE_CASES, text_of
from driftgate.tasks import Task, task_of

if TYPE_CHECKING:  # fsspec takes longer than all of `driftgate check`
    from driftgate.artifacts import Artifacts
    from driftgate.labelled.table_rows import Labelled

LAUNCH = "launch.jsonl"
CARD_SUFFIX = ".card.json"
FUTURE = "its date lies in the future"
MOST_FUTURE = 0.2
MOST_SEEN = 8


def lines(rows: Iterable[Row], target: str = "label") -> bytes:
    """JSON lines with id, text, label or what the task calls its `target`, time (ms), subject,
    slices and, where there is one, the rejected answer."""
    written = (
        {
            target if name == "label" else name: value
            for name, value in asdict(row).items()
            if name != "rejected" or value is not None
        }
        for row in rows
    )
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in written)


def write(
    folder: Path, rows: Sequence[Row], reading: Mapping[str, Any], target: str = "label"
) -> Path:
    """Writes the launch file of a model repo, and its card."""
    path, data = folder / LAUNCH, lines(rows, target)
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
    try:
        found = json.loads(card.read_bytes())
        unchanged = hashlib.sha256(path.read_bytes()).hexdigest() == found["sha256"]
        return dict(found["reading"]) if unchanged else None
    except (ValueError, KeyError, TypeError):  # no card of ours
        return None


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


def until(labelled: Labelled, now: int) -> list[int]:
    """The places of rows that are not dated after `now` (ms); the others are counted as left out.

    Raises:
        BadConfig: they are too many to be slips.
    """
    times, findings = labelled.times, labelled.findings
    late = [place for place, time in enumerate(times) if time is not None and time > now]
    if len(late) > MOST_FUTURE * len(labelled):
        raise BadConfig(
            f"{labelled.places[late[0]]}: {len(late):,} of {len(labelled):,} rows are dated after "
            f"now, such as {stamp(times[late[0]])}; say how dates are written by --dates, or use "
            "--time none"
        )
    for place in late:
        findings.leave_out(FUTURE, labelled.places[place])
    findings.kept -= len(late)
    return [place for place, time in enumerate(times) if time is None or time <= now]


def stamp(time: int | None) -> str:
    return datetime.fromtimestamp((time or 0) / 1000, UTC).strftime("%Y-%m-%d")


def problems(config: ModelYaml, rows: Iterable[Row]) -> list[str]:
    """Why these launch rows cannot lead to a first release of the model, in words. The split is
    the trainer's own, so what is counted here is what the gate will get."""
    found = list(rows)
    share, gate = config.data.test_share, config.gate
    tested = [row for row in found if held_out(person(row), share)]
    told = list(unusable(found, task_of(config.task)))
    if len(found) < config.data.min_rows:
        told.append(
            f"{len(found)} rows, and data.min_rows asks for {config.data.min_rows}: add rows, or "
            "lower it in model.yaml"
        )
    if len(tested) < gate.min_cases:
        persons = len({person(row) for row in found})
        told.append(
            f"{len(tested)} of {len(found)} rows (of {persons} persons) are held out, and "
            f"gate.min_cases asks for {gate.min_cases}: add rows, or lower it in model.yaml"
        )
    for name in gate.protected:
        cases = sum(inside(row.slices, name) for row in tested)
        if cases < MIN_SLICE_CASES:
            told.append(
                f"protected slice {name} has {sum(inside(row.slices, name) for row in found)} of "
                f"{len(found)} rows, {cases} of them held out, and {MIN_SLICE_CASES} are needed to "
                f"judge it; seen are {seen(found)}: correct gate.protected in model.yaml"
            )
    return told


def unusable(rows: Iterable[Row], task: Task) -> Iterator[str]:
    """What the trainer would leave out, with the first row of each reason."""
    reasons: dict[str, list[Row]] = {}
    for row in rows:
        if (reason := task.unusable(row.label)) is not None:
            reasons.setdefault(reason, []).append(row)
    for reason, found in reasons.items():
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield (
            f"{task.field} {shown(found[0].label)} (row {found[0].id}{more}): {reason}; correct "
            "model.yaml or the rows, or take them out"
        )


def person(row: Row) -> str:
    """Whom a row is about; a row about nobody stands for itself."""
    return row.subject or row.id or row.text


def seen(rows: Iterable[Row]) -> str:
    """The largest slices with their rows."""
    largest = slice_counts(rows).most_common(MOST_SEEN)
    return ", ".join(f"{name} {n}" for name, n in largest) or "no slices"


def slice_counts(rows: Iterable[Row]) -> Counter[str]:
    """Rows of each `name=value`."""
    return Counter(f"{name}={value}" for row in rows for name, value in row.slices.items())


def rows_in(path: Path, target: str = "label") -> list[Row]:
    """The rows of a launch file, whose labels stand under the task's name for a `target`.

    Raises:
        BadConfig: a line is no such row; names it.
    """
    found = []
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            found.append(
                Row(
                    str(said["text"]),
                    str(said[target]),
                    None if said.get("time") is None else int(said["time"]),
                    said.get("subject"),
                    {str(k): str(v) for k, v in (said.get("slices") or {}).items()},
                    str(said.get("id", f"line-{number}")),
                    None if said.get("rejected") is None else str(said["rejected"]),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadConfig(
                f'{path}, line {number}: expected an object with "text" and "{target}", and "id", '
                f'"time" (ms), "subject", "slices" if there are any ({error!r}); `driftgate init` '
                "writes such a file"
            ) from error
    return found
