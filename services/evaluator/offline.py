"""Runs a model repo's gate on an adapter, as CI does: no services, no store.

    python -m services.evaluator.offline MODEL_REPO ADAPTER_DIR
        [--champion DIR] [--test FILE.jsonl] [--junit FILE]

Exit status: 0 it passes; 1 it fails; 2 there is too little evidence, or what was given cannot be
used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from driftgate import model_repo
from driftgate.classifier.base import resolve
from driftgate.classifier.serving import Classifier
from driftgate.errors import DriftgateError
from services.evaluator import exam, suites
from services.evaluator.gate import Verdict, judge
from services.evaluator.report import as_junit
from services.evaluator.suites import Suite
from services.evaluator.tables import COLUMNS, cells

STATUS = {"pass": 0, "fail": 1, "insufficient": 2}
COLOURS = {"pass": "green", "fail": "red", "insufficient": "yellow"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    asked = parser().parse_args(arguments)
    try:
        verdict, results = examine(asked.model_repo, asked.adapter, asked.champion, asked.test)
    except DriftgateError as error:
        print(f"driftgate eval: {error}", file=sys.stderr)
        return STATUS["insufficient"]
    if asked.junit:
        asked.junit.parent.mkdir(parents=True, exist_ok=True)
        asked.junit.write_bytes(as_junit(asked.adapter.name, verdict, results))
    show(verdict, asked.test is not None)
    return STATUS[verdict.result]


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="driftgate eval", description=__doc__.split("\n")[0])
    found.add_argument("model_repo", type=Path, help="folder with model.yaml and evals/")
    found.add_argument("adapter", type=Path, help="folder of the version to judge")
    found.add_argument("--champion", type=Path, help="folder of the version to compare it with")
    found.add_argument("--test", type=Path, help="held-out rows, JSON lines with text and label")
    found.add_argument("--junit", type=Path, help="where to write JUnit's XML")
    return found


def examine(
    folder: Path, adapter: Path, champion: Path | None, test: Path | None
) -> tuple[Verdict, list[exam.Result]]:
    """The verdict, and every case with its fate.

    Raises:
        BadConfig, Corrupt: the model repo, the held-out rows or a version cannot be used.
    """
    repo = model_repo.read(folder)
    labels = repo.config.task.labels
    task = suites.held_out(test, labels) if test else Suite("task", ())
    all_suites = (task, *suites.frozen(repo))
    texts = list(dict.fromkeys(text for suite in all_suites for text in suite.texts))
    classifier = Classifier(resolve(repo.config.base.name))
    asked = {"candidate": adapter} | ({"champion": champion} if champion else {})
    for name, files in asked.items():
        classifier.load(name, files)
    said = {name: dict(zip(texts, classifier.predict(name, texts), strict=True)) for name in asked}
    results = exam.results(all_suites, said["candidate"], said.get("champion"))
    return judge(exam.tallies(results), repo.config.gate), results


def show(verdict: Verdict, tested: bool) -> None:
    """A table, and the verdict in words."""
    console = Console()
    table = Table(*COLUMNS)
    for axis in verdict.axes:
        style = None if axis.passed else "yellow" if axis.short else "red"
        table.add_row(*cells(axis), style=style)
    console.print(table)
    colour = COLOURS[verdict.result]
    console.print(f"[bold {colour}]{verdict.result}[/]: it ", end="")
    console.print(verdict.words, markup=False, highlight=False)
    if not tested:
        console.print("give held-out rows with --test FILE.jsonl: without them nothing can pass")


if __name__ == "__main__":
    sys.exit(main())
