"""A world on a paced clock, against a router and a bus that fail now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.bus_memory import MemoryBus
from driftgate.bus_tools import events, publish
from driftgate.codec import Codec
from driftgate.errors import RouterUnavailable
from driftgate.events import DAY_MS, Command, Feedback, Routing, Tick
from driftgate.health import log_for
from driftgate.labelled.rows import Row
from driftgate.router_pb import router_pb2
from services.console.worlds_cli import pace_of
from services.simulator import paced, play
from services.simulator.demo import EXAMPLE
from services.simulator.feedback_model import FeedbackProfile
from services.simulator.paced import PacedPlayer
from services.simulator.play import Day, Drill
from services.simulator.quiescence import NotQuiescentError
from services.simulator.router_calls import RequestRefusedError
from services.simulator.session import notes
from services.simulator.world import START, World

MODEL = "support-triage"
DAYS, PER_DAY = 6, 20
DAY_SECONDS = 0.1
PACE = DAY_MS / 1000 / DAY_SECONDS
DEADLINE_SECONDS = 60


def nothing(_: Any) -> None:
    return


@dataclass
class Router:
    """Answers `refund`, after `before`, which may raise."""

    before: Callable[[Any], None] = nothing
    closing: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    def predict(self, request: Any) -> Any:
        self.asked.append(request.request_id)
        self.before(request)
        return router_pb2.PredictReply(label="refund", version=1)

    def close(self) -> None:
        self.closing.set()


@dataclass
class Quiescent:
    """Nothing is ever behind, except in the end where `behind` says so."""

    behind: str = ""
    calls: int = 0
    log: Any = field(default_factory=lambda: log_for("simulate"))

    def of_all(self) -> None:
        self.calls += 1
        if self.calls > 1 and self.behind:
            raise NotQuiescentError(self.behind)


def world() -> World:
    launch = (Row("money back", "refund", START - DAY_MS), Row("where", "delivery", START - 1))
    step = DAY_MS // PER_DAY
    days = tuple(
        tuple(Row(f"{d} {n}", "refund", START + d * DAY_MS + n * step) for n in range(PER_DAY))
        for d in range(DAYS)
    )
    return World("w", launch, days, START)


@pytest.fixture
def bus(codec: Codec) -> MemoryBus:
    """A launch leads to a version there."""
    found = MemoryBus()
    found.ensure(codec.topics.by_name.values())
    texts = {"base": "b", "base_digest": "", "salt": "", "sticky_by": "subject", "repo_hash": ""}
    routing = Routing(model=MODEL, epoch=1, arms=(), shadows=(), time=START, **texts)
    publish(found.producer(), codec, [routing])
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "TICK_SECONDS", 0.01)


@pytest.fixture
def played(
    bus: MemoryBus, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., PacedPlayer]:
    """Plays the world, and gives the player."""

    def play_it(router: Router, **kwargs: Any) -> PacedPlayer:
        monkeypatch.setattr(play, "RouterCalls", lambda *_: router)
        repo = model_repo.read(EXAMPLE)
        users = (FeedbackProfile(share=1.0, delay_hours=12, changed=0),)
        given = {"quiescence": Quiescent(), "users": users, "pace": PACE} | kwargs
        player = PacedPlayer(
            world(), repo, "sha256:0", bus, codec, Artifacts("memory://paced"), "r", **given
        )
        player.play()
        return player

    return play_it


def test_every_request_and_what_is_due_is_sent_while_time_runs(
    played: Callable[..., PacedPlayer], bus: MemoryBus, codec: Codec
) -> None:
    router, days = Router(), list[Day]()
    drills = (Drill(4, "shuffle-labels:all"), Drill(2, "shuffle-labels:language=es"))
    player = played(router, watch=days.append, drills=drills)
    assert len(set(router.asked)) == len(router.asked) == DAYS * PER_DAY
    assert [day.number for day in days] == list(range(DAYS))
    assert len(player.ledger.truths()) == DAYS * PER_DAY

    launched, *running, last = events(bus, codec, Tick)
    assert (launched.time, launched.pace, last.pace) == (START, 0, 0)
    assert {tick.pace for tick in running} == {PACE}
    times = [tick.time for tick in (launched, *running, last)]
    assert times == sorted(times)
    assert last.time >= player.world.end_of(DAYS - 1)

    users = [found for found in events(bus, codec, Feedback) if found.reviewer is None]
    feedback = [found.feedback_id for found in users]
    assert len(feedback) == len(set(feedback))
    late = player.ledger.due(last.time + 100 * DAY_MS)
    left = {found.feedback_id for found in late if found.reviewer is None}
    assert set(feedback) | left == {f"labels-{request_id}" for request_id in router.asked}
    assert all(found.time <= running[-1].time for found in events(bus, codec, Feedback))

    ordered = [command.command_id for command in events(bus, codec, Command)]
    assert ordered == [f"{MODEL}-{name}" for name in ("launch", "drill-2", "drill-4")]


def test_a_bus_that_was_away_gets_everything_once_it_is_back(
    played: Callable[..., PacedPlayer], bus: MemoryBus, codec: Codec
) -> None:
    def outage(day: Day) -> None:
        bus.down = day.number in (1, 2)

    player = played(Router(), watch=outage, drills=[Drill(3, "shuffle-labels:all")])
    assert player.outages > 0
    assert [command.command_id for command in events(bus, codec, Command)] == [
        f"{MODEL}-launch",
        f"{MODEL}-drill-3",
    ]
    assert not player.ledger.due(list(events(bus, codec, Tick))[-2].time)
    assert f"{player.outages} ticks could not be written: Kafka was away" in list(notes(player))


def test_what_the_router_holds_up_is_sent_late_and_counted(
    played: Callable[..., PacedPlayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "LATE_SECONDS", DAY_SECONDS / 2)
    passed = threading.Event()

    def hold(_: Any) -> None:
        assert passed.wait(DEADLINE_SECONDS)

    def watch(day: Day) -> None:
        if day.number == 2:
            passed.set()

    router = Router(hold)
    player = played(router, watch=watch)
    assert len(player.ledger.truths()) == DAYS * PER_DAY
    assert player.ledger.late > 0
    assert player.ledger.latest_seconds >= DAY_SECONDS
    assert any("requests were sent late, by" in note for note in notes(player))


def test_a_refused_request_is_counted_and_the_world_goes_on(
    played: Callable[..., PacedPlayer],
) -> None:
    def refuse(request: Any) -> None:
        if request.text.startswith("2 "):  # the whole third day
            raise RequestRefusedError(f"request {request.request_id}: no")

    player = played(Router(refuse))
    assert len(player.ledger.refused) == PER_DAY
    assert len(player.ledger.truths()) == (DAYS - 1) * PER_DAY
    assert not any("got no answer" in note for note in notes(player))


def test_a_router_that_never_comes_back_ends_no_world_but_time_is_up(
    played: Callable[..., PacedPlayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "OVERTIME_SECONDS", DAY_SECONDS)
    router = Router()

    def away(request: Any) -> None:
        if not request.text.startswith("0 "):
            assert router.closing.wait(DEADLINE_SECONDS)
            raise RouterUnavailable("away")

    router.before = away
    player = played(router)
    assert len(player.ledger.truths()) == PER_DAY
    lost = (DAYS - 1) * PER_DAY
    assert f"{lost} requests got no answer before time was up" in list(notes(player))


def test_what_is_not_done_when_time_is_up_is_said(played: Callable[..., PacedPlayer]) -> None:
    player = played(Router(), quiescence=Quiescent("after 900 s: trainer is behind by 1 on r-0"))
    told = [note for note in notes(player) if note.startswith("at the end")]
    assert told == [
        "at the end the system was not done: after 900 s: trainer is behind by 1 on r-0"
    ]


def test_a_fault_of_ours_ends_the_world_and_leaves_no_clock_running(
    played: Callable[..., PacedPlayer], bus: MemoryBus, codec: Codec
) -> None:
    def fault(_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        played(Router(fault))
    assert list(events(bus, codec, Tick))[-1].pace == 0


def test_twenty_four_weeks_take_half_an_hour_unless_a_pace_is_asked() -> None:
    assert pace_of(True, None) == 24 * 7 * 86_400 / 1800
    assert [pace_of(False, None), pace_of(False, 90.0), pace_of(True, 90.0)] == [None, 90.0, 90.0]
