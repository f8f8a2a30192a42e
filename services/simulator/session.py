"""One world played from beginning to end: read, declare, play, count, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, nearest, shown
from driftgate.events import DAY_MS
from driftgate.model_repo import ModelRepo
from driftgate.store import Store
from services.simulator import scoring
from services.simulator.display import Display
from services.simulator.facts import Facts, collect
from services.simulator.people import Habits
from services.simulator.play import Day, Drill, Player
from services.simulator.report import Cause, write_report
from services.simulator.schedule import World
from services.simulator.scoring import Result, false_alarms
from services.simulator.settle import Settler

FALSE_ALARM_WINDOW_MS = 14 * DAY_MS
FALSE_ALARM_TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a world."""

    result: Result
    facts: Facts
    false_alarms: tuple[str, ...]
    drills_stopped: bool

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
    health: Mapping[str, str] | None = None,
    console: Console,
    on_day: Callable[[Day], None] = lambda _: None,
) -> Played:
    """Plays a world on a running system and writes the report; `on_day` is told of each day.

    Raises:
        DriftgateError: see `check_labels`, `Player.play` and `model_repo.publish`.
    """
    check_labels(world, model_repo.read(repo_folder))
    bus, codec = KafkaBus(settings.kafka), Codec.load(settings.schemas, settings.registry)
    store = Store.connect(settings.store, settings.database)
    artifacts = Artifacts(settings.artifacts)
    repo, uri = model_repo.publish(repo_folder, artifacts)
    one_off: dict[int, float] = {}
    gate = repo.config.gate.min_accuracy
    title = f"{world.name}: {len(world.days) // 7} weeks"
    with Display(title, len(world.days), gate, console, health or {}, one_off) as display:
        settler = Settler(bus, codec, waiting=display.waiting)
        player = Player(
            world, repo, uri, bus, codec, artifacts, settings.router, settler, habits, seed, drills
        )

        def watch(day: Day) -> None:
            if day.number % 7 == 6:
                answers = collect(store, repo.config.model).answers
                for week in scoring.by_week(player.truths, answers):
                    if week.one_off is not None:
                        one_off[week.week] = week.one_off
            display.day(day)
            on_day(day)

        player.watch = watch
        player.play()
    facts = collect(store, repo.config.model)
    result = scoring.judge(scoring.by_week(player.truths, facts.answers), gate)
    played = Played(result, facts, tuple(alarms(player, facts)), drills_stopped(facts, drills))
    write_report(
        report,
        repo.config,
        world,
        result,
        facts,
        held=played.held,
        false_alarms=played.false_alarms,
        causes=causes,
    )
    bus.close()
    store.close()
    return played


def check_labels(world: World, repo: ModelRepo) -> None:
    """Every label of the world must be one that the model may answer.

    Raises:
        BadConfig: one is not; names it and the nearest that is.
    """
    declared = repo.config.task.labels
    unknown = [label for label in world.labels if label not in declared]
    if unknown:
        more = f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise BadConfig(
            f"world {world.name}: label {shown(unknown[0])} is not among task.labels of "
            f"{repo.folder / model_repo.MODEL_YAML}{more}: {nearest(unknown[0], declared)}"
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
    """Whether the harness stopped every rehearsed fault."""
    spoilt = [c for c in facts.candidates if c["drill"]]
    stopped = [v for c in spoilt if (v := facts.verdict(c["version"])) and v["result"] != "pass"]
    return len(stopped) == len(spoilt) == len(drills)
