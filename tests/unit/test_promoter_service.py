"""The promoter over a bus and the store's engine: evidence in, records out, crashes between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import releasing
from releasing import NOW

from driftgate.artifacts import Artifacts
from driftgate.audit import Audit, broken_links
from driftgate.bus import Position
from driftgate.bus_memory import MemoryBus
from driftgate.clock import WorldClock
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BusUnavailable, StoreUnavailable
from driftgate.events import DAY_MS
from driftgate.health import Health, log_for
from driftgate.runner import Runner
from driftgate.store import Store, migrate
from services.promoter import evidence, handler
from services.promoter.handler import Promoter
from services.promoter.judge import Pairs

M = "promoted"
TOPICS = ["verdicts", "commands", "routing.acks"]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    made = Store.in_process()  # the engine is one per process, its databases are many
    made.command("CREATE DATABASE promoter_unit")
    made.command("USE promoter_unit")
    migrate(made, Settings().schemas / "store")
    yield made
    made.command("USE default")
    made.command("DROP DATABASE promoter_unit")
    made.close()


class Desk:
    """A promoter, restarted at will, and everything around it."""

    def __init__(self, folder: Path, store: Store, codec: Codec) -> None:
        self.folder, self.store = folder, store
        self.bus, self.codec = MemoryBus(), codec
        self.bus.ensure(codec.topics.by_name.values())
        self.topics = releasing.Topics(self.bus, codec)
        self.artifacts = Artifacts(f"file://{folder / 'artifacts'}")
        self.repo = releasing.publish_repo(folder / "repo", self.artifacts, M)
        for table in ("inferences", "outcomes"):
            store.command(f"TRUNCATE TABLE {table}")
        self.rows = 0
        self.start()

    def start(self) -> None:
        clock = WorldClock()
        audit = Audit.resume("promoter", self.bus, self.codec)
        log, health = log_for("promoter"), Health("promoter")
        self.promoter = Promoter(
            self.bus, self.codec, self.store, self.artifacts, self.folder / "cache", clock, audit,
            health,
        )  # fmt: skip
        settings = Settings(clock="world", state_dir=self.folder)
        self.runner = Runner(
            "promoter", settings, self.bus, self.codec, clock, self.promoter.handle, TOPICS, log,
            health,
        )  # fmt: skip
        self.producer = self.bus.producer()
        self.runner.send(self.producer, self.promoter.resume())
        self.consumer = self.bus.consumer([*TOPICS, "clock"], "promoter", "promoter-0")

    def tell(self, topic: str, event: dict[str, Any]) -> None:
        self.topics.send(topic, event)
        self.runner.step(self.consumer, self.producer)

    def passes(self, version: int, day: float = 0, result: str = "pass") -> None:
        uri = self.artifacts.put_json(version)
        time = NOW + int(day * DAY_MS)
        self.tell("verdicts", releasing.verdict(M, self.repo, version, uri, time, result))

    def acknowledged(self, status: str = "serving") -> None:
        self.tell("routing.acks", releasing.ack(M, self.newest("routing")["epoch"], status))

    def tick(self, day: float, polled: bool = True) -> None:
        self.topics.send("clock", {"world": M, "time": NOW + int(day * DAY_MS), "positions": {}})
        if polled:
            self.runner.step(self.consumer, self.producer)

    def pairs(self, day: float, old: int, new: int, count: int, right: str) -> None:
        """`count` labelled requests; `right` says what old and new answer where b is right."""
        time = NOW + int(day * DAY_MS)
        answers, outcomes = [], []
        for _ in range(count):
            self.rows += 10
            request, outputs = f"r{self.rows}", {old: right[0], new: right[1]}
            answers += releasing.answer_rows(M, request, outputs, time, self.rows)
            outcomes.append(releasing.outcome_row(M, request, "b", time, self.rows))
        self.store.append("inferences", answers)
        self.store.append("outcomes", outcomes)

    def newest(self, topic: str) -> dict[str, Any]:
        return self.topics.read(topic, M)[-1]

    def decisions(self) -> list[tuple[str, int | None]]:
        return releasing.decisions(self.topics.read("audit", M))

    def log(self) -> dict[str, Any]:
        return {topic: self.topics.read(topic, M) for topic in ("rollouts", "routing", "audit")}


@pytest.fixture
def desk(tmp_path: Path, store: Store) -> Desk:
    return Desk(tmp_path, store, Codec.load(Settings().schemas))


def play(desk: Desk, after_each: Any = lambda: None) -> dict[str, Any]:
    """A release, a good challenger, a spoilt one, a bad one taken back after its promotion, and a
    rollback by an operator. `after_each` comes between any two events."""
    acts: list[Any] = [
        lambda: desk.passes(1),
        desk.acknowledged,
        lambda: desk.passes(2),
        desk.acknowledged,
        lambda: (desk.pairs(0.5, 1, 2, 10, "ab"), desk.tick(1)),
        desk.acknowledged,
        lambda: (desk.pairs(1.5, 1, 2, 20, "bb"), desk.tick(2)),
        desk.acknowledged,
        lambda: desk.passes(3, 2, "fail"),
        lambda: (desk.pairs(2.5, 1, 2, 10, "bb"), desk.tick(3)),
        desk.acknowledged,
        lambda: (desk.pairs(3.5, 1, 2, 15, "ba"), desk.tick(4)),
        desk.acknowledged,
        lambda: desk.tick(5),
        lambda: desk.tell("commands", releasing.command(M, "rollback")),
    ]
    for act in acts:
        act()
        after_each()
    return desk.log()


STORY = [
    ("start", 1),
    ("start", 2),
    ("advance", 2),
    ("hold", 2),
    ("advance", 2),
    ("reject", 3),
    ("advance", 2),
    ("rollback", 2),
    ("ignore", 1),
]


def test_a_story_is_told_by_the_audit(desk: Desk) -> None:
    log = play(desk)
    assert desk.decisions() == STORY
    assert [(r["champion"], r["stage"]) for r in log["rollouts"]] == [
        (1, "idle"),
        (1, "loading"),
        (1, "shadow"),
        (1, "half"),
        (2, "full"),
        (1, "idle"),
    ]
    assert [r["epoch"] for r in log["routing"]] == [r["epoch"] for r in log["rollouts"]]
    assert broken_links(log["audit"]) == []


def test_the_audit_reproduces_every_decision(desk: Desk) -> None:
    for entry in play(desk)["audit"]:
        again = releasing.replayed(entry)
        assert again.decision.name == entry["decision"]
        assert again.decision.words == entry["words"]
        assert again.state.event() == json.loads(entry["result"])["state"]


def test_a_restart_between_any_two_events_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    log = play(desk)
    other = Desk(tmp_path / "other", desk.store, desk.codec)
    assert play(other, other.start) == log


def test_a_record_handled_twice_is_done_once(desk: Desk) -> None:
    acts: list[Any] = [
        lambda: desk.passes(1),
        desk.acknowledged,
        lambda: desk.passes(2),
        desk.acknowledged,
        lambda: (desk.pairs(0.5, 1, 2, 40, "bb"), desk.tick(1)),
        lambda: desk.tell("commands", releasing.command(M, "pause", 1)),
        lambda: desk.tell("commands", releasing.command(M, "rollback", 2)),
        lambda: desk.tell("commands", releasing.command(M, "rollback", 3)),
    ]
    for act in acts:
        committed = dict(desk.bus.groups["promoter"])
        act()
        log = desk.log()
        desk.bus.groups["promoter"] = committed  # a crash before the commit
        desk.start()
        desk.runner.step(desk.consumer, desk.producer)
        assert desk.log() == log
    assert desk.decisions()[-2:] == [("rollback", 2), ("ignore", 1)]


def before_a_border(desk: Desk) -> None:
    """Version 2 is in shadow, and the next day's tick will bring it further."""
    desk.passes(1)
    desk.passes(2)
    desk.acknowledged()
    desk.pairs(0.5, 1, 2, 40, "bb")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_tick_comes_before_a_verdict_of_its_time_whichever_is_polled_first(
    desk: Desk, tmp_path: Path, restarted: bool
) -> None:
    before_a_border(desk)
    desk.tick(1)
    desk.passes(3, 1)
    other = Desk(tmp_path / "other", desk.store, desk.codec)
    before_a_border(other)
    if restarted:
        other.tick(1, polled=False)
        other.start()
    other.consumer.pause([Position("clock", 0)])
    if not restarted:
        other.tick(1)
    other.passes(3, 1)
    other.consumer.resume([Position("clock", 0)])
    other.runner.step(other.consumer, other.producer)
    assert other.log() == desk.log()
    assert desk.decisions()[-2:] == [("advance", 2), ("supersede", 3)]


def test_a_tick_that_was_looked_up_for_a_bad_event_is_told_with_the_next(desk: Desk) -> None:
    before_a_border(desk)
    desk.consumer.pause([Position("clock", 0)])
    desk.tick(1)
    uri = desk.artifacts.put_json(1)
    desk.tell("verdicts", releasing.verdict(M, "0" * 64, 3, uri, NOW + DAY_MS))
    desk.consumer.resume([Position("clock", 0)])
    desk.runner.step(desk.consumer, desk.producer)
    assert desk.decisions()[-1] == ("advance", 2)
    assert desk.newest("rollouts")["stage"] == "half"


def test_a_rejection_that_is_handled_again_is_told_once_whatever_came_meanwhile(
    desk: Desk,
) -> None:
    desk.passes(1)
    desk.passes(2)
    committed = dict(desk.bus.groups["promoter"])
    desk.passes(3, result="fail")
    desk.topics.send("routing.acks", releasing.ack(M, desk.newest("routing")["epoch"]))
    desk.bus.groups["promoter"] = committed  # a crash before the commit
    desk.start()
    desk.runner.step(desk.consumer, desk.producer)
    assert desk.decisions().count(("reject", 3)) == 1


def test_health_says_what_is_tried(desk: Desk) -> None:
    desk.passes(1)
    assert desk.promoter.health.detail.get("activity") is None
    desk.passes(2)
    assert desk.promoter.health.detail["activity"] == f"{M}@2 in loading"
    desk.acknowledged()
    desk.start()
    assert desk.promoter.health.detail["activity"] == f"{M}@2 in shadow"


def test_routing_that_a_crash_kept_back_is_sent_at_the_start(desk: Desk) -> None:
    desk.passes(1)
    desk.acknowledged()
    kept = desk.topics.read("routing", M)
    log = next(log for p, log in desk.bus.logs.items() if p.topic == "routing")
    log.clear()
    desk.start()
    assert desk.topics.read("routing", M) == kept
    desk.start()
    assert desk.topics.read("routing", M) == kept


def test_routing_that_came_alone_is_overtaken_by_the_next_epoch(desk: Desk) -> None:
    desk.passes(1)
    desk.passes(2)
    log = next(log for p, log in desk.bus.logs.items() if p.topic == "rollouts")
    log.pop()
    desk.bus.groups.clear()
    desk.start()
    desk.runner.step(desk.consumer, desk.producer)
    assert desk.newest("routing")["epoch"] == desk.newest("rollouts")["epoch"] == 3
    assert desk.newest("rollouts")["challenger"] == 2


def test_a_hold_is_told_when_its_reason_is_new(desk: Desk) -> None:
    desk.passes(1)
    desk.passes(2)
    desk.acknowledged()
    for day in (1, 2, 3):
        desk.tick(day)
        desk.start()
    assert desk.decisions() == [("start", 1), ("start", 2), ("advance", 2), ("hold", 2)]


def test_a_command_for_a_model_that_nobody_released_is_a_dead_letter(desk: Desk) -> None:
    desk.tell("commands", releasing.command("nobody", "rollback"))
    desk.tell("commands", releasing.command("nobody", "retrain"))
    (letter,) = [
        desk.codec.decode("commands.dlq", r.value) for r in desk.bus.read_all(["commands.dlq"])
    ]
    assert letter["reason"] == "unknown_model"


def test_a_verdict_under_a_repo_that_nobody_stored_is_a_dead_letter(desk: Desk) -> None:
    uri = desk.artifacts.put_json(1)
    desk.tell("verdicts", releasing.verdict(M, "0" * 64, 1, uri, NOW))
    assert len(list(desk.bus.read_all(["verdicts.dlq"]))) == 1
    desk.passes(1)
    desk.tick(1)
    assert desk.decisions() == [("start", 1)]


def test_a_store_that_fails_between_two_models_costs_no_decision(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.passes(1)
    desk.passes(2)
    desk.acknowledged()
    desk.pairs(0.5, 1, 2, 40, "bb")
    other = replace(desk.promoter.states[M], model="other")
    desk.promoter.states["other"] = other
    real = evidence.pairs
    calls = iter([None, StoreUnavailable("restarting")])

    def failing(*given: Any) -> Pairs:
        if error := next(calls, None):
            raise error
        return real(*given)

    monkeypatch.setattr(handler.evidence, "pairs", failing)
    desk.tick(1)
    assert desk.decisions()[-1] == ("advance", 2)
    assert desk.newest("rollouts")["stage"] == "half"


def test_poison_on_what_it_remembers_stops_no_start(desk: Desk) -> None:
    desk.passes(1)
    for topic in ("rollouts", "routing", "routing.acks", "clock"):
        desk.bus.producer().send(topic, b"k", b"poison")
    desk.start()
    assert desk.promoter.states[M].champion == 1


def test_pairs_are_requests_that_both_answered_with_a_label_that_is_known_by_then(
    desk: Desk,
) -> None:
    def found(until: float = 2, since: float = 0) -> Pairs:
        times = (NOW + int(day * DAY_MS) for day in (since, until))
        return evidence.pairs(desk.store, M, 1, 2, *times)

    assert found() == Pairs()
    for right in ("bb", "ba", "ab", "aa"):
        desk.pairs(1, 1, 2, 1, right)
    assert found() == Pairs(1, 1, 1, 1)
    assert (found(0.5), found(2, 1.5)) == (Pairs(), Pairs())
    rows = releasing.answer_rows(M, "r10", {1: "b", 2: "b"}, NOW + DAY_MS, 9000)
    desk.store.append("inferences", rows)  # a client that tried twice
    desk.store.append("inferences", releasing.answer_rows(M, "x", {1: "b"}, NOW, 9010))
    desk.store.append("outcomes", [releasing.outcome_row(M, "x", "b", NOW, 9010)])
    assert found() == Pairs(1, 1, 1, 1)
    desk.store.append(  # a later correction: not known before it came
        "outcomes", [releasing.outcome_row(M, "r10", "a", NOW + 3 * DAY_MS, 9020)]
    )
    assert found(3) == Pairs(0, 1, 1, 2)


def test_a_bus_that_is_down_loses_nothing(desk: Desk) -> None:
    desk.passes(1)
    desk.bus.down = True
    with pytest.raises(BusUnavailable):
        desk.consumer.poll(0)
    desk.bus.down = False
    desk.start()
    assert desk.promoter.states[M].champion == 1
