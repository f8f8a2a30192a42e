"""`driftgate prompt`: how a model is asked, changed without training."""

from __future__ import annotations

from pathlib import Path

from driftgate import model_repo
from driftgate.errors import BadConfig
from driftgate.tasks import task_of
from services.console.model_cli import ASKED, CommandId, Reason, awaited, put_in_force
from services.console.order_status import OrderStatus
from services.console.orders import order
from services.console.steer_cli import ANSWER_SECONDS
from services.console.terminal import HERE, State, Status, fail, reaching, reports_errors, say


@reports_errors
def prompt(
    folder: Path, reason: Reason = ASKED, command_id: CommandId = None, state: State = HERE
) -> None:
    """Puts a model repo in force, and its prompt at once: for the versions that serve already.

    Exit 1: the prompt that serves was not changed.
    """
    task = task_of(model_repo.read(folder).config.task)
    if task.prompt is None:
        raise BadConfig(f"{folder}: a model of kind {task.kind} is asked without a prompt")
    found, repo = put_in_force(folder, state)
    model, args = repo.config.model, {"repo_hash": repo.hash}
    command_id = order(found, model, "prompt", reason, args, command_id=command_id)
    status = OrderStatus(model, command_id, options=reaching(state))
    status = awaited(found, status, ANSWER_SECONDS, {})
    if not status.passed:
        raise fail(f"the prompt that serves was not changed: {status.summary}", Status.NO)
    say(f"inputs of {model} become prompt {task.prompt.digest[:12]}")
