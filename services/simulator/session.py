"""One world played from beginning to end: read, declare, play, count, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, DriftgateError, Retriable, nearest, shown
from driftgate.events import DAY_MS
from driftgate.health import Log
from driftgate.model_repo import ModelRepo
from driftgate.scaffold import launch
from driftgate.store import Store
from driftgate.tasks import task_of
from services.simulator import scoring
from services.simulator.display import Display
from services.simulator.facts import Facts, collect
from services.simulator.feedback_model import FeedbackProfile
from services.simulator.lacking import lacking
from services.simulator.lineage import Followed, followed
from services.simulator.paced import PacedPlayer
from services.simulator.play import (
    Day,
    Drill,
    Player,
    PlayFailedError,
    PlayStoppedError,
    launch_rows,
)
from services.simulator.profiles import differences
from services.simulator.quiescence import Quiescence
from services.simulator.reasons import read_reasons, with_reasons
from services.simulator.report import Cause, write_report
from services.simulator.scoring import Result, Told, false_alarms
from services.simulator.world import World

FALSE_ALARM_WINDOW_MS = 14 * DAY_MS
FALSE_ALARM_TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a world.

    Attributes:
        refused: what the router said of requests that it did not answer.
        notes: how it went, one sentence each.
        truths: what is right, by request.
        feedback: names of the profiles that were played.
        told: of how many answers something was said.
        lacking: what could not be learned or decided for want of evidence, one sentence each.
        measures: what was counted, see `Kind.measures`.
        gain: of the loop over the frozen baseline, on the same requests.
        followed: one edit on its way to a release.
    """

    result: Result
    facts: Facts
    false_alarms: tuple[str, ...]
    drills_stopped: bool
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    truths: Mapping[str, scoring.Truth] = field(default_factory=dict)
    feedback: str = ""
    told: Told = field(default_factory=Told)
    lacking: tuple[str, ...] = ()
    measures: tuple[str, str | None] = ("accuracy", None)
    gain: scoring.Gain | None = None
    followed: Followed | None = None

    @property
    def held(self) -> bool:
        return self.result.held and self.drills_stopped


def play(
    repo_folder: Path,
    world: World,
    settings: Settings,
    report: Path,
    *,
    users: Sequence[FeedbackProfile],
    seed: int,
    pace: float | None = None,
    drills: Sequence[Drill] = (),
    causes: Sequence[Cause] = (),
    reading: Mapping[str, Any] | None = None,
    health: Mapping[str, str] | None = None,
    console: Console,
    on_day: Callable[[Day], None] = lambda _: None,
    look_further: str = "",
) -> Played:
    """Plays a world on a running system and writes the report.

    Args:
        users: how users say what they make of answers; reviewers look at the sample of the repo.
        pace: how many times as fast as the machine's clock; None: a day takes as long as the system
            needs for it.
        on_day: called for each day that is over.
        reading: how the world's file was read, for the dataset card.
        look_further: the commands that a failure's message ends with.

    Raises:
        BadConfig: the world and the model repo, or the system, do not fit.
        PlayFailedError, PlayStoppedError: the world ended early; says why, and how to look further.
        DriftgateError: bus or store are not there.
    """
    check(world, model_repo.read(repo_folder))
    artifacts = Artifacts(settings.artifacts)
    repo, uri = model_repo.publish(repo_folder, artifacts)
    model, gate = repo.config.model, repo.config.gate.min_accuracy
    baseline: dict[int, float] = {}
    title = f"{world.name}: {world.weeks} weeks"
    display = Display(title, len(world.days), gate, console, health or {}, baseline)
    with ExitStack() as open_:
        bus, codec = KafkaBus(settings.kafka), Codec.load(settings.schemas, settings.registry)
        open_.callback(bus.close)
        store = Store.connect(settings.store, settings.database)
        open_.callback(store.close)
        log = open_.enter_context(log_to(settings.state_dir / "log" / "simulate.log"))
        player = (Player if pace is None else partial(PacedPlayer, pace=pace))(
            world=world,
            repo=repo,
            repo_uri=uri,
            bus=bus,
            codec=codec,
            artifacts=artifacts,
            router=settings.router,
            quiescence=Quiescence(bus, codec, waiting=display.waiting, log=log),
            users=users,
            seed=seed,
            drills=drills,
            reading=reading,
        )

        def watch(day: Day) -> None:
            if day.number % 7 == 6:
                with suppress(Retriable):  # the line then lacks a number, and the world goes on
                    answers = collect(store, model).answers
                    judged = scoring.judged(player.ledger.truths(), answers, player.kind)
                    weeks = scoring.by_week(judged)
                    found = {week.week: week.frozen_baseline for week in weeks}
                    baseline.update({n: share for n, share in found.items() if share is not None})
            display.day(day)
            on_day(day)

        player.watch = watch
        with display:
            played_through(player, look_further or f"`driftgate audit {model}`")
        facts = collect(store, model)
        edit = (
            followed(facts, store, artifacts, model) if player.kind.correction == "edit" else None
        )
    played = replace(result_of(player, facts, gate), followed=edit)
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
        notes=played.notes,
        feedback=played.feedback,
        told=played.told,
        lacking=played.lacking,
        measures=played.measures,
        gain=played.gain,
        followed=played.followed,
    )
    return played


def result_of(player: Player, facts: Facts, gate: float) -> Played:
    """What came of a world that was played to its end."""
    judged = tuple(scoring.judged(player.ledger.truths(), facts.answers, player.kind))
    return Played(
        scoring.judge(scoring.by_week(judged), gate),
        facts,
        tuple(alarms(player, facts)),
        drills_stopped(facts, player.drills),
        tuple(player.ledger.refused),
        tuple(notes(player)),
        player.ledger.truths(),
        player.mix.name,
        player.ledger.told(),
        tuple(lacking(facts.audit, player.never_named)),
        player.kind.measures,
        scoring.gain(judged),
    )


def notes(player: Player) -> Iterator[str]:
    """How a world went that was played to its end, where that is worth a sentence."""
    ledger, world = player.ledger, player.world
    yield f"feedback was played as {player.mix.words}"
    yield from differences(player.mix, player.repo.config.feedback)
    if isinstance(player, PacedPlayer):
        yield f"played at {player.pace:,.0f} times the machine's clock"
        late = f", by {ledger.latest_seconds:.1f} s at most" if ledger.late else ""
        yield f"{ledger.late:,} requests were sent late{late}"
        lost = sum(map(len, world.days)) - len(ledger.truths()) - len(ledger.refused)
        if lost:
            yield f"{lost:,} requests got no answer before time was up"
        if player.outages:
            yield f"{player.outages:,} ticks could not be written: Kafka was away"
        if player.behind:
            yield f"at the end the system was not done: {player.behind}"
    if ledger.retries:
        yield f"{ledger.retries:,} calls of the router were made again"


def played_through(player: Player, look_further: str) -> None:
    """Plays; a failure's message ends with the system's reasons, while it can be asked, and with
    commands to `look_further`.

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
    """Checks that a world fits a model, before anything is sent.

    Raises:
        BadConfig: a label of the world is none that the model may answer, or the launch rows cannot
            lead to a first release; says why, and what to do.
    """
    declared = task_of(repo.config.task).outputs
    where = repo.folder / model_repo.MODEL_YAML
    if unknown := [label for label in world.labels if declared and label not in declared]:
        more = f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise BadConfig(
            f"world {world.name}: label {shown(unknown[0])} is not among task.labels of "
            f"{where}{more}: {nearest(unknown[0], list(declared or ()))}"
        )
    problems = launch.problems(repo.config, launch_rows(world, repo.config.model))
    if problems:
        raise BadConfig(
            f"world {world.name}: its launch cannot lead to a version of {where}: "
            f"{'; '.join(problems)}"
        )


def alarms(player: Player, facts: Facts) -> list[str]:
    """False alarms among the drift-fired requests, by the world's own labels."""
    truths = player.ledger.truths()
    right = [
        (a["ms"], a["version"], player.kind.right(a["output"], truths[a["request_id"]].target))
        for a in facts.answers
        if a["role"] == "live" and a["request_id"] in truths
    ]
    reference = {
        verdict["version"]: axis["value"]
        for verdict in facts.verdicts
        for axis in verdict["axes"]
        if (axis["layer"], axis["name"], axis["slice"]) == ("task", "accuracy", "all")
    }
    requests = [
        {"retrain_id": request["retrain_id"], "time": request["ms"]}
        for request in facts.drift_requests
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
