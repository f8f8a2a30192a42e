"""`driftgate`, the operators' command.

A command's module is imported when the command is called, and none for `--help`: the clients of
Kafka, the store and the models take seconds to import, which most commands do not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

BEGIN, MODEL, WATCH, MACHINE, WORLDS = (
    "Declare and train a model",
    "Steer a model",
    "See what happens",
    "The system on this machine",
    "Play a world",
)


class Entry(NamedTuple):
    """A command: its function or Typer app as module:name, and its line in the list of help."""

    name: str
    where: str
    panel: str
    says: str


COMMANDS = (
    Entry(
        "init",
        "init_cli:init",
        BEGIN,
        "Writes a model repo: model.yaml, evals, and the launch file that goes with them.",
    ),
    Entry(
        "import",
        "import_cli:app",
        BEGIN,
        "Imports what OpenAI's files, Langfuse or TensorZero hold: launch data and events.",
    ),
    Entry("check", "check_cli:check", BEGIN, "Reads a model repo and says what is wrong with it."),
    Entry("apply", "model_cli:apply", BEGIN, "Puts a model repo in force."),
    Entry("retrain", "model_cli:retrain", BEGIN, "Asks for a new version now."),
    Entry("ask", "ask_cli:ask", BEGIN, "Asks a model, as an app would, and prints its answer."),
    Entry(
        "eval", "eval_cli:evaluate", BEGIN, "Runs a model repo's gate on an adapter, as CI would."
    ),
    Entry(
        "export",
        "export_cli:export",
        BEGIN,
        "Writes a version into a folder: adapter, held-out rows, dataset card and model card.",
    ),
    Entry(
        "promote",
        "steer_cli:promote",
        MODEL,
        "Sends the challenger to full traffic at once, without waiting for evidence.",
    ),
    Entry(
        "approve",
        "steer_cli:approve",
        MODEL,
        "Lets a stage of the rollout begin that waits for approval.",
    ),
    Entry(
        "prompt",
        "prompt_cli:prompt",
        MODEL,
        "Puts a model repo in force, and its prompt at once: for the versions that serve already.",
    ),
    Entry("pause", "steer_cli:pause", MODEL, "Holds the rollout where it is."),
    Entry("resume", "steer_cli:resume", MODEL, "Lets the rollout go on."),
    Entry(
        "abort",
        "steer_cli:abort",
        MODEL,
        "Ends the rollout: the challenger leaves, and may be tried again.",
    ),
    Entry("rollback", "steer_cli:rollback", MODEL, "Takes a version back and quarantines it."),
    Entry("quarantine", "steer_cli:quarantine", MODEL, "Keeps a version from being tried."),
    Entry("release", "steer_cli:release", MODEL, "Takes a version out of quarantine."),
    Entry(
        "rollout",
        "rollout_cli:rollout",
        WATCH,
        "How far a rollout is, what speaks for and against the version, and what is missing.",
    ),
    Entry(
        "triggers",
        "triggers_cli:app",
        WATCH,
        "What asks for a new version of a model.",
    ),
    Entry("audit", "model_cli:audit", WATCH, "Every decision about a model, in words."),
    Entry(
        "traffic",
        "traffic_cli:traffic",
        WATCH,
        "Live answers, confidence, latency, and how much of what is known is right.",
    ),
    Entry(
        "drift",
        "drift_cli:drift",
        WATCH,
        "How each monitored stream stands: reference, bar, newest mean, and evidence.",
    ),
    Entry(
        "clusters",
        "clusters_cli:new_clusters",
        WATCH,
        "Groups of inputs that hardly came before: their words, their share, and examples.",
    ),
    Entry(
        "backtest",
        "backtest_cli:backtest",
        WATCH,
        "What these monitors would have told, and when: replays stored answers and feedback.",
    ),
    Entry("review", "review_cli:app", WATCH, "People look at a random sample of answers."),
    Entry(
        "feedback",
        "feedback_cli:feedback",
        WATCH,
        "Who gives feedback to which answers, and whether that is as declared.",
    ),
    Entry(
        "subject",
        "subject_cli:subject",
        WATCH,
        "How many rows of a model are about a person, and the hash that finds them.",
    ),
    Entry("dlq", "dlq_cli:app", WATCH, "Dead letters: records that could not be handled."),
    Entry("schema", "schemas_cli:app", WATCH, "Versions of the events' schemas."),
    Entry(
        "up",
        "stack_cli:up",
        MACHINE,
        "Starts Kafka, ClickHouse's engine, Ray and the services on this machine.",
    ),
    Entry(
        "status",
        "stack_cli:status",
        MACHINE,
        "Health of each part, how far each service has read, the system's time, and what is "
        "declared of models and not watched.",
    ),
    Entry("down", "stack_cli:down", MACHINE, "Stops everything; what was stored stays."),
    Entry(
        "demo",
        "worlds_cli:demo",
        WORLDS,
        "The whole loop on a world, unattended: from installation to a page.",
    ),
    Entry(
        "simulate",
        "worlds_cli:simulate",
        WORLDS,
        "Plays a world of labelled text against the running stack (started with --clock world).",
    ),
)
BY_NAME = {entry.name: entry for entry in COMMANDS}

STATUSES = (
    "Exit status: 0 done; 1 the answer is no (the gate failed, a part is unhealthy); 2 what was "
    "given cannot be used (option, file, model); 3 the system did not answer, try again; 70 a "
    "fault of driftgate; 130 interrupted. More in docs/command-line.md."
)


class LazyCommands(TyperGroup):
    """Lists commands from `COMMANDS`, and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            entry.name: TyperCommand(entry.name, help=entry.says, rich_help_panel=entry.panel)
            for entry in COMMANDS
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(BY_NAME[name]) if name and found else None, rest


def load(entry: Entry) -> Any:
    """The command itself.

    Raises:
        typer.Exit: an extra is not installed that the command needs; it was said.
    """
    module, _, name = entry.where.partition(":")
    try:
        found = getattr(import_module(f"services.console.{module}"), name)
    except ModuleNotFoundError as error:
        from services.console.terminal import explain, fail

        raise fail(*explain(error)) from error
    if isinstance(found, typer.Typer):
        return get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command(entry.name)(found)
    return get_command(alone)


app = typer.Typer(
    cls=LazyCommands,
    help="Keeps fine-tuned models alive.",
    epilog=STATUSES,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def driftgate() -> None:
    """Makes `app` a group although no command is registered here."""
