"""`driftgate check`: a module of its own, so that it is quick enough for an editor or a hook."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from driftgate import model_repo, suites, unwatched
from driftgate.errors import BadConfig
from driftgate.model_repo import ModelRepo
from driftgate.scaffold import launch
from driftgate.scaffold.launch import LAUNCH
from driftgate.tasks import task_of
from services.console.terminal import Status, fail, reports_errors, say


@reports_errors
def check(folder: Path) -> None:
    """Reads a model repo and says what is wrong with it.

    Where nothing is wrong it notes what nothing will watch: protected slices without a monitor of
    quality, features that no router logs, slices that no case has."""
    try:
        repo = model_repo.read(folder)
    except BadConfig as error:
        if not (folder / model_repo.MODEL_YAML).is_file():
            raise  # there is nothing that could be checked
        raise fail(str(error), Status.NO) from error
    check_base(repo)
    problems = launch_problems(repo)
    if problems:
        raise fail(f"{folder / LAUNCH}: {'; '.join(problems)}", Status.NO)
    say(f"{repo.config.model}: {task_of(repo.config.task).summary}, all well")
    for note in unwatched_in(repo):
        say(f"note: {note}")


def unwatched_in(repo: ModelRepo) -> list[str]:
    """What the repo declares and nothing will watch, in words."""
    regression, _ = suites.frozen(repo.folder, task_of(repo.config.task), repo.config.gate.waived)
    return list(unwatched.notes(repo.config, regression.cases))


def check_base(repo: ModelRepo) -> None:
    """Passes when versions can be trained on the repo's base, as far as that is known here: a base
    of the hub is fetched when it is first trained on, and the client alone has no torch.

    Raises:
        typer.Exit: they cannot be; said on stderr.
    """
    base, task = repo.config.base, task_of(repo.config.task)
    if not Path(base.name).is_dir() or find_spec("torch") is None:
        return
    try:
        task.adaptable(task.base(base.name, base.sha256 or ""))
    except BadConfig as error:
        raise fail(f"{repo.folder / model_repo.MODEL_YAML}: {error}", Status.NO) from error


def launch_problems(repo: ModelRepo) -> list[str]:
    """Why the launch file beside a model repo, if there is one, cannot lead to a first release."""
    path, task = repo.folder / LAUNCH, task_of(repo.config.task)
    return launch.problems(repo.config, launch.rows_in(path, task.field)) if path.is_file() else []
