"""Any file of dated answers as the events of one version: a row is an answer, and what is known of
it. Its first rows measure the reference that the rest is held against. Pure but for `read`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driftgate.drift.observations import Observation, Word
from driftgate.drift.replay import Event
from driftgate.errors import BadConfig, nearest, shown
from driftgate.events import RetrainRequest, Verdict
from driftgate.feedback_profiles import Profile
from driftgate.labelled import dates, files
from driftgate.labelled.findings import Findings
from driftgate.labelled.kinds import table_of
from driftgate.labelled.reading import mostly_lost, unexpected
from driftgate.labelled.rows import Asked
from driftgate.labelled.table import Table
from driftgate.labelled.table_rows import findings_of
from driftgate.model_repo import ModelYaml
from driftgate.reference import measure
from driftgate.signals import Answer, Reference
from driftgate.tasks import Task, task_of

ROLES: Mapping[str, Sequence[str]] = {
    "time": ("time", "timestamp", "date", "created_at"),
    "output": ("output", "prediction", "predicted", "answer", "label"),
    "expected": ("expected", "label", "target", "truth"),
    "correct": ("correct", "was_correct", "is_correct"),
    "confidence": ("confidence", "score", "probability"),
    "told": ("told", "feedback_time", "labelled_at"),
}
"""What a column is taken for by its name, unless the user says so."""
YES, NO = {"true", "1", "1.0", "yes", "y", "t"}, {"false", "0", "0.0", "no", "n", "f"}
NO_TIME = "it has no time that can be read"
# A column of words with more values than this is no slice.
VALUES = 1000
LABELS: Profile = "labels"


@dataclass
class Answers:
    """What a file holds, in the order of time.

    Attributes:
        told: when it was known whether an answer is right, ms; by place.
        notes: what was left out, and how columns were read.
    """

    answers: list[Answer]
    times: list[int]
    told: list[int]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.answers)


def read(path: Path, columns: Mapping[str, str], config: ModelYaml, asked: Asked) -> Answers:
    """
    Args:
        columns: names by role, as far as the user says so.

    Raises:
        BadConfig: it cannot be read, or lacks a column; names it and what was expected. Or
            `asked.dates` is no order of dates.
    """
    if asked.dates:
        dates.check_order(asked.dates)
    found, _ = files.contents(path)
    if len(found) != 1:
        raise BadConfig(
            f"{path}: holds {len(found)} files, expected one with a row for each answer"
        )
    return of_table(table_of(found[0], asked), columns, config, asked)


def of_table(table: Table, columns: Mapping[str, str], config: ModelYaml, asked: Asked) -> Answers:
    """
    Raises:
        BadConfig: see `read`; or too many rows are left out.
    """
    role = roles(table, columns)
    times, how = moments(table, role["time"], asked)
    told, _ = moments(table, role["told"], asked) if "told" in role else (times, "")
    rest = [name for name in table.columns if name not in role.values()]
    reader = Reader(table, role, task_of(config.task), rest)
    findings = findings_of(table)
    for at, time in enumerate(times):
        if time is None:
            findings.leave_out(NO_TIME, table.where(at))
    check_kept(findings, role, asked)
    kept = sorted((time, at) for at, time in enumerate(times) if time is not None)
    answers = [reader.answer(at) for _, at in kept]
    notes = [*findings.notes, *findings.screen, *findings.lost_lines()]
    notes += [f"column {role[name]} is {name}" for name in role] + [f"times: {how}"]
    notes += [f"slices: {', '.join(reader.slices)}"] if reader.slices else []
    notes += [f"features: {', '.join(reader.features)}"] if reader.features else []
    notes += [f"{n:,} rows: {why}" for why, n in reader.odd.items()]
    known = [max(time, told[at] or time) for time, at in kept]
    return Answers(answers, [time for time, _ in kept], known, notes)


def check_kept(findings: Findings, role: Mapping[str, str], asked: Asked) -> None:
    """
    Raises:
        BadConfig: too many rows are left out.
    """
    if sum(one.rows for one in unexpected(findings).values()) <= asked.left_out * findings.rows:
        return
    cause, words = mostly_lost(findings)
    remedy = "mend the file"
    if cause == NO_TIME:
        remedy = (
            f"column {shown(role['time'])} is taken for the time: expected dates such as "
            "2026-01-05T14:30, or another column by --column time=NAME"
        )
    raise BadConfig(f"{words}; {remedy}")


def roles(table: Table, columns: Mapping[str, str]) -> dict[str, str]:
    """Which column is what.

    Raises:
        BadConfig: a column is named that is not there, or there is none that is needed.
    """
    for name, column in columns.items():
        if name not in ROLES:
            raise BadConfig(f"--column {name}={column}: {nearest(name, list(ROLES))}")
        if column not in table.names:
            raise BadConfig(f"--column {name}={column}: {nearest(column, table.names)}")
    found = dict(columns)
    by_name = {name.lower(): name for name in table.names}
    for name, usual in ROLES.items():
        free = (by_name[one] for one in usual if one in by_name)
        if name not in found and (column := next((c for c in free if c not in found.values()), "")):
            found[name] = column
    for name in ("time", "output"):
        if name not in found:
            raise BadConfig(
                f"{table.source}: no column is the {name}: expected one of "
                f"{', '.join(ROLES[name])}, or --column {name}=NAME; it has "
                f"{', '.join(table.names)}"
            )
    return found


def moments(table: Table, column: str, asked: Asked) -> tuple[list[int | None], str]:
    """The times of a column, ms, and how they were read."""
    if column in table.moments:
        return table.moments[column], "by their type"
    found = dates.read(table.columns[column], f"{table.source}, column {column}", asked.dates)
    return found.times, found.how


@dataclass
class Reader:
    """Makes an answer of a row.

    Attributes:
        slices, features: columns that are neither; told by what stands in them.
        odd: what could not be read, and how often.
    """

    table: Table
    role: Mapping[str, str]
    task: Task
    rest: Sequence[str]
    slices: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for name in self.rest:
            cells = [text for cell in self.table.columns[name] if (text := dates.plain(cell))]
            if cells and all(number(cell) is not None for cell in cells):
                self.features.append(name)
            elif cells and len(set(cells)) <= min(VALUES, len(cells) // 2):
                self.slices.append(name)

    def cell(self, role: str, at: int) -> str:
        """Empty where there is none."""
        column = self.role.get(role)
        return dates.plain(self.table.columns[column][at]) if column else ""

    def answer(self, at: int) -> Answer:
        """
        Raises:
            BadConfig: the model has no such output, or nobody can tell whether it was right.
        """
        output = self.cell("output", at)
        if self.task.outputs is not None and output not in self.task.outputs:
            raise BadConfig(
                f"{self.table.where(at)}: {self.role['output']} is {shown(output)}: "
                f"{nearest(output, list(self.task.outputs))}"
            )
        return Answer(
            output,
            self.finite("confidence", self.cell("confidence", at)),
            {n: x for n in self.features if (x := self.finite(n, self.of(n, at))) is not None},
            {n: value for n in self.slices if (value := self.of(n, at))},
            error=self.error(at, output),
        )

    def of(self, name: str, at: int) -> str:
        return dates.plain(self.table.columns[name][at])

    def finite(self, what: str, text: str) -> float | None:
        """A number; None where there is none that can be used, which is counted."""
        x = number(text)
        if text and (x is None or not math.isfinite(x)):
            self.odd[f"{what} is no finite number, and does not count"] += 1
            return None
        return x

    def error(self, at: int, output: str) -> float | None:
        """
        Raises:
            BadConfig
        """
        if correct := self.cell("correct", at).lower():
            if correct not in YES | NO:
                raise BadConfig(
                    f"{self.table.where(at)}: {self.role['correct']} is {shown(correct)}: expected "
                    "true or false"
                )
            return float(correct in NO)
        expected = self.cell("expected", at)
        return float(expected != output) if expected else None


def number(text: str) -> float | None:
    """NaN is a number here; None where it is none at all."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def as_told(config: ModelYaml) -> ModelYaml:
    """What a file says of an answer is there whatever was answered, as with profile `labels`."""
    return config.model_copy(
        update={"feedback": config.feedback.model_copy(update={"profile": [LABELS]})}
    )


def measured(found: Answers, rows: int, config: ModelYaml) -> Reference:
    """What the first `rows` measure, which are the held-out cases of its version 1.

    Raises:
        BadConfig: no row follows on them.
    """
    if len(found) < 2:
        raise BadConfig(
            f"the file holds {len(found)} answer, expected two or more: the first ones measure the "
            "reference, and the rest is replayed"
        )
    if not 0 < rows < len(found):
        raise BadConfig(
            f"--reference {rows}: expected a number of rows from 1 to {len(found) - 1}, since of "
            f"{len(found):,} the rest is replayed"
        )
    slices = {"all", *config.gate.protected, *(s for m in config.monitors for s in m.slices)}
    return measure(found.answers[:rows], slices, task_of(config.task))


def events(found: Answers, rows: int, model: str, reference: Reference) -> list[Event]:
    """What follows on the first `rows`, which measured the reference."""
    begin = found.times[rows]
    said: list[Event] = [launch(model, begin), verdict(model, begin, reference)]
    seen = observations(found, range(rows, len(found)))
    return sorted([*said, *seen], key=lambda event: event.time)


def observations(found: Answers, places: Iterable[int]) -> Iterator[Observation]:
    for at in places:
        answer, time, name = found.answers[at], found.times[at], f"row-{at}"
        yield Observation("answer", name, 1, time, answer, "file", at)
        if answer.error is not None:
            word = Word(name, "review", 1 - answer.error, found.told[at])
            yield Observation("outcome", name, 1, found.told[at], answer, "file", at, word, time)


def launch(model: str, time: int) -> RetrainRequest:
    return RetrainRequest(
        retrain_id=f"{model}:launch", model=model, reason="launch", actor="file", time=time
    )


def verdict(model: str, time: int, reference: Reference) -> Verdict:
    """What the gate would have said of the version, as far as monitors look at it."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("adapter_digest", "adapter_uri", "repo_hash", "report_uri"), ""
    )
    return Verdict(
        verdict_id=f"{model}@1",
        model=model,
        version=1,
        retrain_id=f"{model}:launch",
        result="pass",
        axes=(),
        reference=reference,
        words="measured on the first rows",
        time=time,
        **nothing,
    )
