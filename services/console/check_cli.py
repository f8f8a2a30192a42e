"""`driftgate check`: a module of its own, so that it is quick enough for an editor or a hook."""

from __future__ import annotations

from pathlib import Path

from driftgate import model_repo
from driftgate.errors import BadConfig
from services.console.terminal import Status, fail, say, told


@told
def check(folder: Path) -> None:
    """Reads a model repo and says what is wrong with it."""
    try:
        repo = model_repo.read(folder)
    except BadConfig as error:
        if not (folder / model_repo.MODEL_YAML).is_file():
            raise  # there is nothing that could be checked
        raise fail(str(error), Status.NO) from error
    say(f"{repo.config.model}: {len(repo.config.task.labels)} labels, all well")
