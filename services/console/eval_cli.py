"""`driftgate eval`: a model repo's gate on an adapter, as CI runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from driftgate import config
from services.console.terminal import reports_errors

JUDGES = f"{config.PREFIX}JUDGE_"


@reports_errors
def evaluate(
    model_repo: Annotated[
        Path, typer.Argument(metavar="MODEL_REPO", help="folder with model.yaml and evals/")
    ],
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER_DIR", help="folder of the version to judge")
    ],
    champion: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder of the version to compare it with"),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="held-out rows with text and label; ADAPTER_DIR/test.jsonl if absent",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="where to write JUnit's XML")
    ] = None,
) -> None:
    """Runs a model repo's gate on an adapter, as CI would.

    Exit status: 0 it may ship; 1 it may not; 2 there is too little evidence, or what was given
    cannot be used.
    """
    from services.evaluator import offline  # brings torch along

    # CI may hold variables of a stack, which mean nothing here.
    judges = {name: value for name, value in os.environ.items() if name.startswith(JUDGES)}
    status = offline.run(model_repo, adapter, champion, test, junit, config.load(judges))
    raise typer.Exit(status)
