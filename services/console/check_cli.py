"""`driftgate check`: a module of its own, so that it is quick enough for an editor or a hook."""

from __future__ import annotations

from pathlib import Path

from driftgate import model_repo
from driftgate.errors import BadConfig
from driftgate.model_repo import ModelRepo
from driftgate.scaffold import launch
from driftgate.scaffold.launch import LAUNCH
from driftgate.tasks import task_of
from services.console.terminal import Status, fail, reports_errors, say


@reports_errors
def check(folder: Path) -> None:
    """Reads a model repo and says what is wrong with it."""
    try:
        repo = model_repo.read(folder)
    except BadConfig as error:
        if not (folder / model_repo.MODEL_YAML).is_file():
            raise  # there is nothing that could be checked
        raise fail(str(error), Status.NO) from error
    problems = launch_problems(repo)
    if problems:
        raise fail(f"{folder / LAUNCH}: {'; '.join(problems)}", Status.NO)
    say(f"{repo.config.model}: {task_of(repo.config.task).summary}, all well")


def launch_problems(repo: ModelRepo) -> list[str]:
    """Why the launch file beside a model repo, if there is one, cannot lead to a first release."""
    path = repo.folder / LAUNCH
    return launch.problems(repo.config, launch.rows_in(path)) if path.is_file() else []
