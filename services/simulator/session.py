"""One world played from beginning to end: read, declare, play, count, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, DriftgateError, nearest, shown
from driftgate.events import DAY_MS
from driftgate.health import Log
from driftgate.model_repo import ModelRepo
from driftgate.scaffold import launch
from driftgate.store import Store
from services.simulator import scoring
from services.simulator.display import Display
from services.simulator.facts import Facts, collect
from services.simulator.people import Habits
from services.simulator.play import (
    Day,
    Drill,
    Player,
    PlayFailedError,
    PlayStoppedError,
    launch_rows,
)
from services.simulator.reasons import read_reasons, with_reasons
from services.simulator.report import Cause, write_report
from services.simulator.scoring import Result, false_alarms
from services.simulator.settle import Settler
from services.simulator.world import World

FALSE_ALARM_WINDOW_MS = 14 * DAY_MS
FALSE_ALARM_TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a world. refused: what the router said of requests that it did not answer."""

    result: Result
    facts: Facts
    false_alarms: tuple[str, ...]
    drills_stopped: bool
    refused: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        return self.result.held and self.drills_stopped


def play(
    repo_folder: Path,
    world: World,
    settings: Settings,
    report: Path,
    *,
    habits: Habits,
    seed: int,
    drills: Sequence[Drill] = (),
    causes: Sequence[Cause] = (),
    reading: Mapping[str, Any] | None = None,
    health: Mapping[str, str] | None = None,
    console: Console,
    on_day: Callable[[Day], None] = lambda _: None,
    look_further: str = "",
) -> Played:
    """Plays a world on a running system and writes the report; `on_day` is told of each day;
    `reading` says how the world's file was read, for the dataset card; `look_further` are the
    commands that a failure's message ends with.

    Raises:
        BadConfig: the world and the model repo, or the system, do not fit.
        PlayFailedError, PlayStoppedError: the world ended early; says why, and how to look further.
        DriftgateError: bus or store are not there.
    """
    check(world, model_repo.read(repo_folder))
    artifacts = Artifacts(settings.artifacts)
    repo, uri = model_repo.publish(repo_folder, artifacts)
    model, gate = repo.config.model, repo.config.gate.min_accuracy
    one_off: dict[int, float] = {}
    title = f"{world.name}: {world.weeks} weeks"
    display = Display(title, len(world.days), gate, console, health or {}, one_off)
    with ExitStack() as open_:
        bus, codec = KafkaBus(settings.kafka), Codec.load(settings.schemas, settings.registry)
        open_.callback(bus.close)
        store = Store.connect(settings.store, settings.database)
        open_.callback(store.close)
        log = open_.enter_context(log_to(settings.state_dir / "log" / "simulate.log"))
        settler = Settler(bus, codec, waiting=display.waiting, log=log)
        player = Player(
            world=world,
            repo=repo,
            repo_uri=uri,
            bus=bus,
            codec=codec,
            artifacts=artifacts,
            router=settings.router,
            settler=settler,
            habits=habits,
            seed=seed,
            drills=drills,
            reading=reading,
        )

        def watch(day: Day) -> None:
            if day.number % 7 == 6:
                weeks = scoring.by_week(player.truths, collect(store, model).answers)
                one_off.update({w.week: w.one_off for w in weeks if w.one_off is not None})
            display.day(day)
            on_day(day)

        player.watch = watch
        with display:
            played_through(player, look_further or f"`driftgate audit {model}`")
        facts = collect(store, model)
    played = outcome(player, facts, gate)
    write_report(
        report,
        repo.config,
        world,
        played.result,
        facts,
        held=played.held,
        false_alarms=played.false_alarms,
        causes=causes,
        refused=played.refused,
    )
    return played


def outcome(player: Player, facts: Facts, gate: float) -> Played:
    """What came of a world that was played to its end."""
    return Played(
        scoring.judge(scoring.by_week(player.truths, facts.answers), gate),
        facts,
        tuple(alarms(player, facts)),
        drills_stopped(facts, player.drills),
        tuple(player.refused),
    )


def played_through(player: Player, look_further: str) -> None:
    """Plays; a failure is told together with the system's reasons, while it can be asked, and with
    what a user may `look_further` with.

    Raises:
        BadConfig: see `Player.play`.
        PlayFailedError: the world ended early, and would again.
        PlayStoppedError: something was away, or too slow.
    """
    try:
        player.play()
    except BadConfig:
        raise
    except DriftgateError as error:
        found = read_reasons(player.bus, player.codec, player.model)
        ended = PlayStoppedError if error.retriable else PlayFailedError
        raise ended(f"{with_reasons(error, found)}\nTo look further: {look_further}") from error


@contextmanager
def log_to(path: Path) -> Iterator[Log]:
    """A log in a file: the screen is the display's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        yield structlog.wrap_logger(
            structlog.WriteLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.JSONRenderer(default=str),
            ],
        )


def check(world: World, repo: ModelRepo) -> None:
    """Holds a world against a model before anything is sent.

    Raises:
        BadConfig: a label of the world is none that the model may answer, or the launch rows cannot
            lead to a first release; says why, and what to do.
    """
    declared = repo.config.task.labels
    where = repo.folder / model_repo.MODEL_YAML
    unknown = [label for label in world.labels if label not in declared]
    if unknown:
        more = f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise BadConfig(
            f"world {world.name}: label {shown(unknown[0])} is not among task.labels of "
            f"{where}{more}: {nearest(unknown[0], declared)}"
        )
    problems = launch.problems(repo.config, launch_rows(world, repo.config.model))
    if problems:
        raise BadConfig(
            f"world {world.name}: its launch cannot lead to a version of {where}: "
            f"{'; '.join(problems)}"
        )


def alarms(player: Player, facts: Facts) -> list[str]:
    """False alarms among the drift-fired requests, by the world's own labels."""
    right = [
        (a["ms"], a["version"], a["output"] == player.truths[a["request_id"]].label)
        for a in facts.answers
        if a["role"] == "live" and a["request_id"] in player.truths
    ]
    reference = {
        verdict["version"]: axis["value"]
        for verdict in facts.verdicts
        for axis in verdict["axes"]
        if (axis["layer"], axis["name"], axis["slice"]) == ("task", "accuracy", "all")
    }
    requests = [
        {"retrain_id": r["retrain_id"], "time": r["ms"]}
        for r in facts.requests
        if r["reason"] == "drift"
    ]
    return false_alarms(requests, right, reference, FALSE_ALARM_WINDOW_MS, FALSE_ALARM_TOLERANCE)


def drills_stopped(facts: Facts, drills: Sequence[Drill]) -> bool:
    """Whether no rehearsed fault got through: each candidate was stopped by the harness, or the
    trainer refused to make one, as of too few rows."""
    spoilt = [c for c in facts.candidates if c["drill"]]
    stopped = [v for c in spoilt if (v := facts.verdict(c["version"])) and v["result"] != "pass"]
    asked = [request["retrain_id"] for request in facts.requests if request["drill"]]
    refused = [
        entry
        for entry in facts.audit
        if (entry["service"], entry["decision"]) == ("trainer", "refuse")
        and any(entry["words"].startswith(f"{name}:") for name in asked)
    ]
    return len(stopped) == len(spoilt) and len(spoilt) + len(refused) == len(drills)
