"""Any file of dated answers as the events of one version: a row is an answer, and what is known of
it. Its first rows measure the reference that the rest is held against. Pure but for `read`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driftgate.drift.observations import Observation, Word
from driftgate.drift.replay import Event
from driftgate.errors import BadConfig, nearest, shown
from driftgate.events import HOUR_MS, RetrainRequest, Verdict
from driftgate.feedback_profiles import Profile
from driftgate.labelled import dates, files
from driftgate.labelled.findings import Findings
from driftgate.labelled.kinds import table_of
from driftgate.labelled.reading import too_much_lost
from driftgate.labelled.roles import clock_column, profile
from driftgate.labelled.rows import Asked
from driftgate.labelled.table import Table
from driftgate.labelled.table_rows import findings_of
from driftgate.model_repo import ModelYaml
from driftgate.reference import measure
from driftgate.signals import Answer, Reference
from driftgate.slices import ALL
from driftgate.tasks import task_of
from services.console.backtest_rows import Reader, without_role

ROLES: Mapping[str, Sequence[str]] = {
    "time": ("time", "timestamp", "date", "created_at"),
    "output": ("output", "prediction", "predicted", "predicted_label", "answer", "label"),
    "expected": ("expected", "label", "target", "truth"),
    "correct": ("correct", "was_correct", "is_correct"),
    "confidence": ("confidence", "score", "probability"),
    "told": ("told", "feedback_time", "labelled_at"),
}
"""What a column is taken for by its name, unless the user says so."""
NO_TIME = "it has no time that can be read"
FUTURE = "its time lies in the future"
NOT_TOLD = "told is no time, or lies in the future, so the answer's own counts"
CLOCK = "time of day"
LOOKED_AT = 200  # rows that tell a time of day from a date
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


def read(
    path: Path, columns: Mapping[str, str], config: ModelYaml, asked: Asked, now: int
) -> Answers:
    """
    Args:
        columns: names by role, as far as the user says so.
        now: ms; what lies further ahead than clocks go wrong was not answered then.

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
    return of_table(table_of(found[0], asked), columns, config, asked, now)


def of_table(
    table: Table, columns: Mapping[str, str], config: ModelYaml, asked: Asked, now: int
) -> Answers:
    """
    Raises:
        BadConfig: see `read`; or too many rows are left out.
    """
    role = roles(table, columns)
    newest = now + config.data.ahead_hours * HOUR_MS
    times, how = moments(table, role["time"], asked)
    if CLOCK in role:
        times = dates.with_clock(times, table.columns[role[CLOCK]])
    kept, findings = dated(table, times, newest)
    check_kept(findings, role, asked)
    reader = Reader(table, role, task_of(config.task), without_role(table, role, config))
    answers = [reader.answer(at) for _, at in kept]
    told, unread = told_of(table, role, asked, newest)
    known = [max(time, told[at] or time) for time, at in kept]
    reader.odd[NOT_TOLD] = sum(at in unread for _, at in kept)
    notes = [*findings.notes, *findings.screen, *findings.lost_lines()]
    notes += [f"column {role[name]} is {name}" for name in role] + [f"times: {how}"]
    notes += [*reader.columns.lines, *doubt(role, columns)]
    notes += [f"{n:,} rows: {why}" for why, n in reader.odd.items() if n]
    return Answers(answers, [time for time, _ in kept], known, notes)


def dated(
    table: Table, times: Sequence[int | None], newest: int
) -> tuple[list[tuple[int, int]], Findings]:
    """Times, ms, with their rows, in order, and what is left out."""
    findings, kept = findings_of(table), []
    for at, time in enumerate(times):
        if time is not None and time <= newest:
            kept.append((time, at))
        else:
            findings.leave_out(NO_TIME if time is None else FUTURE, table.where(at))
    return sorted(kept), findings


def doubt(role: Mapping[str, str], columns: Mapping[str, str]) -> Iterator[str]:
    """A label is the truth in most files."""
    is_guess = role["output"].lower() == "label" and "output" not in columns
    if is_guess and not {"expected", "correct"} & role.keys():
        yield (
            f"column {role['output']} is taken for the answer, since there is no other; where it "
            "is what would have been right, name the answer by --column output=NAME"
        )


def check_kept(findings: Findings, role: Mapping[str, str], asked: Asked) -> None:
    """
    Raises:
        BadConfig: too many rows are left out.
    """
    lost = too_much_lost(findings, asked.left_out)
    if lost is None:
        return
    remedies = {
        NO_TIME: f"column {shown(role['time'])} is taken for the time: expected dates such as "
        "2026-01-05T14:30, or another column by --column time=NAME",
        FUTURE: "say by --dates how they are written",
    }
    raise BadConfig(f"{lost.words}; {remedies.get(lost.cause, 'mend the file')}")


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
        free = [by_name[one] for one in usual if one in by_name]
        if name == "time":  # the day, where a time of day stands beside it
            free.sort(key=lambda column: is_clock(table.columns.get(column, [])[:LOOKED_AT]))
        if name not in found and (column := next((c for c in free if c not in found.values()), "")):
            found[name] = column
    for name in ("time", "output"):
        if name not in found:
            raise BadConfig(
                f"{table.source}: no column is the {name}: expected one of "
                f"{', '.join(ROLES[name])}, or --column {name}=NAME; it has "
                f"{', '.join(table.names)}"
            )
    profiles = {name: profile(name, cells) for name, cells in table.columns.items()}
    clock = clock_column(profiles, found["time"], set(found.values()), {})
    return found | ({CLOCK: clock} if clock else {})


def is_clock(cells: Sequence[Any]) -> bool:
    """Whether its cells are times of day."""
    return any(map(dates.plain, cells)) and None not in dates.times_of_day(cells)


def moments(table: Table, column: str, asked: Asked) -> tuple[list[int | None], str]:
    """The times of a column, ms, and how they were read."""
    if column in table.moments:
        return table.moments[column], "by their type"
    found = dates.read(table.columns[column], f"{table.source}, column {column}", asked.dates)
    return found.times, found.how


def told_of(
    table: Table, role: Mapping[str, str], asked: Asked, newest: int
) -> tuple[list[int | None], set[int]]:
    """When it was known whether answers are right, ms; and the rows where what stands there is no
    time up to `newest`."""
    if "told" not in role:
        return [None] * len(table), set()
    found, _ = moments(table, role["told"], asked)
    found = [time if time is not None and time <= newest else None for time in found]
    cells = table.cells(role["told"])
    return found, {at for at, cell in enumerate(cells) if dates.plain(cell) and found[at] is None}


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
    return measure(found.answers[:rows], {ALL, *config.slices}, task_of(config.task))


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
