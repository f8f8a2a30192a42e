"""`driftgate init`: a model repo to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.console.terminal import say, told


@told
def init(
    folder: Path,
    data: Annotated[
        Path | None, typer.Option(help="labelled text, 500 rows or more, to declare a model for")
    ] = None,
) -> None:
    """Writes a model repo: model.yaml and evals."""
    from driftgate import scaffold
    from services.simulator import declare
    from services.simulator.rows import read_rows, with_length_slice
    from services.simulator.schedule import Calendar, build

    if data is None:
        declaration = scaffold.Declaration(
            declare.slug(folder.resolve().name), ["delivery", "refund"]
        )
        scaffold.write(folder, declaration, scaffold.STARTER)
    else:
        world = build(data.stem, with_length_slice(read_rows(data)), Calendar())
        declare.model_repo_for(world, folder, folder.resolve().name)
    say(f"{folder} written. Next: edit model.yaml, then `driftgate apply {folder}`")
