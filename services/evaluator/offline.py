"""Runs a model repo's gate on an adapter, as CI does: no services, no store."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from driftgate import suites
from driftgate.engines import Engines
from driftgate.errors import DriftgateError
from driftgate.model_repo import read
from driftgate.suites import Suite
from driftgate.tasks import task_of
from services.evaluator import exam, weighting
from services.evaluator.gate import GateResult, judge
from services.evaluator.report import as_junit
from services.evaluator.tables import COLUMNS, cells

STATUS = {"pass": 0, "fail": 1, "insufficient": 2}
COLOURS = {"pass": "green", "fail": "red", "insufficient": "yellow"}


def run(
    model_repo: Path, adapter: Path, champion: Path | None, test: Path | None, junit: Path | None
) -> int:
    """Prints the table and the verdict, and returns the exit status: 0 it passes; 1 it fails;
    2 there is too little evidence, or what was given cannot be used."""
    rows = test or held_out_beside(adapter)
    try:
        verdict, results = examine(model_repo, adapter, champion, rows)
        if junit:
            junit.parent.mkdir(parents=True, exist_ok=True)
            junit.write_bytes(as_junit(adapter.name, verdict, results))
    except (DriftgateError, OSError) as error:
        print(f"driftgate eval: {error}", file=sys.stderr)
        return STATUS["insufficient"]
    show(verdict, rows)
    return STATUS[verdict.result]


def held_out_beside(adapter: Path) -> Path | None:
    """The held-out rows that `driftgate export` writes beside an adapter."""
    path = adapter / suites.TEST
    return path if path.is_file() else None


def examine(
    folder: Path, adapter: Path, champion: Path | None, test: Path | None
) -> tuple[GateResult, list[exam.Result]]:
    """The verdict, and every case with its fate.

    Raises:
        BadConfig, Corrupt: the model repo, the held-out rows or a version cannot be used.
    """
    repo = read(folder)
    task = task_of(repo.config.task)
    held_out = suites.held_out(test, task) if test else Suite("task", ())
    all_suites = (held_out, *suites.frozen(folder, task, repo.config.gate.waived))
    texts = list(dict.fromkeys(text for suite in all_suites for text in suite.texts))
    engine = Engines().of(task.kind, repo.config.base.name)
    asked = {"candidate": adapter} | ({"champion": champion} if champion else {})
    for name, files in asked.items():
        engine.load(name, files)
    answers = task.answers(engine, dict.fromkeys(asked, texts))
    said = {name: dict(zip(texts, found, strict=True)) for name, found in answers.items()}
    results = exam.results(all_suites, said["candidate"], said.get("champion"), task)
    config = repo.config
    rows = weighting.Dataset()
    weighing = weighting.weigh(held_out.cases, config.feedback, rows, config.gate)
    return judge(exam.tallies(results, weighing), config.gate, weighing.on), results


def show(verdict: GateResult, rows: Path | None) -> None:
    """A table, the verdict in words, and what held-out rows it rests on."""
    console = Console()
    table = Table(*COLUMNS)
    for axis in verdict.axes:
        style = None if axis.passed else "yellow" if axis.short else "red"
        table.add_row(*cells(axis), style=style)
    console.print(table)
    colour = COLOURS[verdict.result]
    console.print(f"[bold {colour}]{verdict.result}[/]: it ", end="")
    console.print(verdict.summary, markup=False, highlight=False)
    console.print(rested_on(rows), markup=False, highlight=False, soft_wrap=True)


def rested_on(rows: Path | None) -> str:
    """Which held-out rows were asked, or how to get some."""
    if rows:
        return f"held-out rows: {rows}"
    return (
        "there are no held-out rows, and without them nothing can pass: give some with "
        f"--test FILE.jsonl, or `driftgate export` the version, which writes its {suites.TEST}"
    )
