"""The promoter over a bus and the store's engine: evidence in, records out, crashes between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
import releasing
import writing_world
from releasing import NOW

from bench.parts.decisions import faults
from driftgate import metrics
from driftgate.artifacts import Artifacts
from driftgate.audit import broken_links
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import StoreUnavailable
from driftgate.events import DAY_MS, AuditEntry, Rollout, RoutingAck, ServingCounts
from driftgate.health import Health, log_for
from driftgate.runtime import Runtime
from driftgate.runtime.loop import Shift
from driftgate.store import Store, migrate
from driftgate.topology import PROMOTER, READS, lag
from services.console import order_status
from services.console.order_status import OrderStatus
from services.promoter.canary_analysis import Evidence
from services.promoter.evidence import Reader
from services.promoter.ledger import Trial
from services.promoter.repos import RepoCache
from services.promoter.service import Promoter

M = "promoted"
LIVE_MS = 10_000  # between two ticks of a live clock
MINUTE_MS = 60_000


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


class Harness:
    """A promoter, restarted at will, and everything around it."""

    def __init__(self, folder: Path, store: Store, codec: Codec) -> None:
        self.folder, self.store = folder, store
        self.bus, self.codec = MemoryBus(), codec
        self.bus.ensure(codec.topics.by_name.values())
        self.topics = releasing.Topics(self.bus, codec)
        self.artifacts = Artifacts(f"file://{folder / 'artifacts'}")
        self.repo = releasing.publish_repo(folder / "repo", self.artifacts, M)
        for table in ("inferences", "outcomes", "clock"):
            store.command(f"TRUNCATE TABLE {table}")
        self.rows, self.now, self.starts = 0, NOW, 0
        self.start()

    def start(self) -> None:
        """As after SIGKILL: nothing is left but what stands on the bus and in the artifacts."""
        self.starts += 1
        cache = RepoCache(self.artifacts, self.folder / f"cache-{self.starts}")
        self.health = Health(PROMOTER)
        service = Promoter(Reader(lambda: self.store), cache, self.health).service()
        runtime = Runtime(service, self.bus, self.codec, "0", log_for(PROMOTER), self.health)
        self.shift = Shift(runtime)
        self.consumer = self.bus.consumer(
            service.topics(), PROMOTER, f"{PROMOTER}-0", self.shift, exclusive=True
        )
        self.shift.step(self.consumer)

    def work(self) -> None:
        """Until all that stands on its topics has been handled."""
        releasing.until(self.caught_up, 20)

    def caught_up(self) -> bool:
        self.shift.step(self.consumer)
        ends = self.bus.ends(READS[PROMOTER])
        return not lag(PROMOTER, self.codec.topics, ends, self.bus.committed(PROMOTER))

    def tell(self, topic: str, *events: dict[str, Any]) -> None:
        self.topics.send(topic, *events)
        self.work()

    def verdict(self, version: int, result: str = "pass", **more: Any) -> dict[str, Any]:
        uri = self.artifacts.put_json(version)
        return releasing.verdict(M, self.repo, version, uri, self.now, result) | more

    def passes(self, version: int, **more: Any) -> None:
        self.tell("verdicts", self.verdict(version, **more))

    def tries_another_repo(self, folder: Path) -> None:
        """Version 1 is champion, and version 2 is loading, under a model repo of its own."""
        self.passes(1)
        self.acknowledged()
        other = releasing.publish_repo(folder, self.artifacts, M, "watch_days: 3")
        self.passes(2, repo_hash=other)

    def tries(self, version: int, **more: Any) -> None:
        """A version passes, and is in its first stage."""
        self.passes(version, **more)
        self.acknowledged()

    def counts(self, started: str = "once", failed: int = 0) -> None:
        """A router tells of 100 requests that both versions tried, and how often version 2 failed
        as a shadow."""
        digests, both = {"digest": ""}, {1: (100, 0, 0, 0), 2: (0, 0, 100 - failed, failed)}
        names = ("answers", "errors", "shadow_answers", "shadow_errors")
        versions = [
            digests | {"version": v} | dict(zip(names, did, strict=True)) for v, did in both.items()
        ]
        told = {"router": "router-0", "started": started, "model": M, "time": self.now}
        told |= {"epoch": self.newest("routing")["epoch"], "versions": versions}
        self.tell("serving.counts", told)

    def counted(self) -> tuple[ServingCounts, ...]:
        """The counts that the promoter holds."""
        assert self.shift.engine is not None
        return tuple(self.shift.engine.views[ServingCounts].values())

    def acks(self, *routers: str, status: str = "serving", epoch: int = 0) -> list[dict[str, Any]]:
        at = epoch or self.newest("routing")["epoch"]
        return [
            releasing.ack(M, at, status, router, self.now) for router in routers or ("router-0",)
        ]

    def acknowledged(self, *routers: str, status: str = "serving") -> None:
        self.tell("routing.acks", *self.acks(*routers, status=status))

    def ticked(self, time: int) -> dict[str, Any]:
        self.now = time
        self.store.append("clock", [releasing.clock_row(time, self.now)])
        ends = self.bus.ends(["verdicts", "commands", "routing.acks"])
        positions = {str(position): offset for position, offset in ends.items()}
        return {"world": M, "time": time, "positions": positions}

    def tick(self, day: float) -> None:
        """A tick of a world."""
        self.tell("clock", self.ticked(NOW + int(day * DAY_MS)))

    def live(self, ms: int, *renewing: str, status: str = "serving") -> None:
        """Time passes as on a live system, and these routers renew their leases."""
        for passed in range(LIVE_MS, ms + 1, LIVE_MS):
            self.tell("clock", self.ticked(self.now + LIVE_MS))
            if renewing and passed % MINUTE_MS == 0:
                self.acknowledged(*renewing, status=status)

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

    def dead_letters(self, topic: str) -> list[dict[str, Any]]:
        name = f"{topic}.dlq"
        return [self.codec.decode(name, record.value) for record in self.bus.read_all([name])]

    def lose(self, topic: str) -> None:
        """A crash kept the last record of a topic back."""
        next(log for position, log in self.bus.logs.items() if position.topic == topic).pop()

    def lose_repo(self) -> None:
        """The artifact of the model repo in force is gone, and the promoter has no copy."""
        digest = self.newest("rollouts")["repo_hash"]
        for blob in (self.folder / "artifacts").rglob(digest):
            blob.unlink()
        self.start()


@pytest.fixture
def harness(tmp_path: Path, store: Store) -> Harness:
    return Harness(tmp_path, store, Codec.load(Settings().schemas))


def play(harness: Harness, after_each: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """A release, a good challenger, a spoilt one, a bad one taken back after its promotion, and a
    rollback by an operator. `after_each` comes between any two events."""
    acts: list[Any] = [
        lambda: harness.passes(1),
        harness.acknowledged,
        lambda: harness.passes(2),
        harness.acknowledged,
        lambda: (harness.pairs(0.5, 1, 2, 10, "ab"), harness.tick(1)),
        harness.acknowledged,
        lambda: (harness.pairs(1.5, 1, 2, 20, "bb"), harness.tick(2)),
        harness.acknowledged,
        lambda: harness.passes(3, result="fail"),
        lambda: (harness.pairs(2.5, 1, 2, 120, "bb"), harness.tick(3)),
        harness.acknowledged,
        lambda: (harness.pairs(3.5, 1, 2, 15, "ba"), harness.tick(4)),
        harness.acknowledged,
        lambda: harness.tick(5),
        lambda: harness.tell("commands", releasing.command(M, "rollback")),
    ]
    for act in acts:
        act()
        after_each()
    return harness.log()


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


def test_a_story_is_told_by_the_audit(harness: Harness) -> None:
    log = play(harness)
    assert harness.decisions() == STORY
    states = by_epoch(log["rollouts"])
    assert [(r["champion"], r["stage"]) for r in states.values()] == [
        (1, "idle"),
        (1, "loading"),
        (1, "shadow"),
        (1, "half"),
        (2, "full"),
        (1, "idle"),
    ]
    assert [r["epoch"] for r in log["routing"]] == list(states)
    assert faults([*map(Rollout.of, log["rollouts"])]) == []
    assert broken_links(map(AuditEntry.of, log["audit"])) == []


def test_the_audit_reproduces_every_decision(harness: Harness) -> None:
    play(harness)
    harness.passes(5)
    harness.acknowledged("router-0", "router-1", status="refused")
    entries = harness.log()["audit"]
    assert {entry["decision"] for entry in entries} >= {"refusal", "refused"}
    for entry in entries:
        again = releasing.replayed(entry)
        found = {decision.name: decision.summary for decision in again.decisions}
        assert found[entry["decision"]] == entry["words"]
        assert again.state.record().as_dict() == json.loads(entry["result"])["state"]


def test_a_restart_between_any_two_events_changes_nothing(harness: Harness, tmp_path: Path) -> None:
    log = play(harness)
    other = Harness(tmp_path / "other", harness.store, harness.codec)
    assert play(other, other.start) == log


def handled_again(harness: Harness, committed: dict[Any, int]) -> None:
    """A crash before the commit: everything since then is handled again."""
    harness.bus.groups[PROMOTER] = dict(committed)
    harness.start()
    harness.work()


def test_what_is_handled_twice_is_done_once(harness: Harness) -> None:
    acts: list[Any] = [
        lambda: harness.passes(1),
        harness.acknowledged,
        lambda: harness.passes(2),
        harness.acknowledged,
        lambda: (harness.acknowledged(), harness.pairs(0.5, 1, 2, 40, "bb"), harness.tick(1)),
        lambda: harness.tell("commands", releasing.command(M, "pause", 1)),
        lambda: harness.tell("commands", releasing.command(M, "rollback", 2)),
        lambda: harness.tell("commands", releasing.command(M, "rollback", 3)),
    ]
    before: list[dict[Any, int]] = []
    for act in acts:
        before.append(dict(harness.bus.groups[PROMOTER]))
        act()
        log = harness.log()
        handled_again(harness, before[-1])
        assert harness.log() == log
    assert harness.decisions()[-2:] == [("rollback", 2), ("ignore", 1)]
    handled_again(harness, before[0])
    states = by_epoch(harness.log()["rollouts"])
    stages = ["idle", "loading", "shadow", "half", "half", "idle"]
    assert [(epoch, state["stage"]) for epoch, state in states.items()] == [*enumerate(stages, 1)]
    assert harness.decisions() == releasing.decisions(log["audit"])


def test_what_was_ignored_is_not_obeyed_when_it_comes_again_after_a_crash(
    harness: Harness,
) -> None:
    harness.passes(1)
    committed = dict(harness.bus.groups[PROMOTER])
    harness.tell("commands", releasing.command(M, "promote"))
    harness.passes(2)
    log = harness.log()
    handled_again(harness, committed)
    assert harness.log() == log
    assert harness.decisions() == [("start", 1), ("ignore", None), ("start", 2)]
    assert harness.newest("rollouts")["stage"] == "loading"


@pytest.mark.parametrize(("kind", "passed"), [("pause", True), ("promote", False)])
def test_who_gave_a_command_finds_what_came_of_it_in_the_audit(
    harness: Harness, kind: str, passed: bool
) -> None:
    harness.passes(1)
    harness.tell("commands", releasing.command(M, kind, 7))
    told = AuditEntry.of(harness.newest("audit"))
    status = order_status.step(OrderStatus(M, "c-7"), told)
    assert (status.passed, status.summary) == (passed, told.words)


def test_what_changes_nothing_counts_as_no_stage_and_sends_no_routing(harness: Harness) -> None:
    harness.passes(1)
    counted = metrics.STAGES.labels(M, "idle")
    before, sent = counted._value.get(), harness.topics.read("routing", M)
    harness.tell("commands", releasing.command(M, "promote"))
    assert (counted._value.get(), harness.topics.read("routing", M)) == (before, sent)
    assert len(harness.topics.read("rollouts", M)) == 2


def test_a_version_that_waited_starts_at_a_tick_over_a_restart(
    harness: Harness, tmp_path: Path
) -> None:
    harness.passes(1)
    harness.acknowledged()
    harness.passes(2)
    harness.acknowledged()
    harness.tell("commands", releasing.command(M, "pause", 1))
    other = releasing.publish_repo(tmp_path / "other", harness.artifacts, M, base="/bases/other")
    harness.passes(3, repo_hash=other)
    assert harness.newest("rollouts")["challenger"] == 2
    harness.start()
    harness.tell("commands", releasing.command(M, "rollback", 2))
    harness.tick(1.1)
    state = harness.newest("rollouts")
    assert (state["challenger"], state["repo_hash"], state["waiting"]) == (3, other, "")
    assert json.loads(state["versions"]["3"])["base"] == "/bases/other"
    assert harness.decisions()[-3:] == [("wait", 3), ("rollback", 2), ("start", 3)]
    for entry in harness.log()["audit"]:
        again = releasing.replayed(entry)
        assert again.state.record().as_dict() == json.loads(entry["result"])["state"]


def by_epoch(states: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The newest state of each epoch: one that decides nothing may follow."""
    return {state["epoch"]: state for state in states}


def test_a_rejection_that_is_handled_again_is_told_once_whatever_came_meanwhile(
    harness: Harness,
) -> None:
    harness.passes(1)
    harness.passes(2)
    committed = dict(harness.bus.groups[PROMOTER])
    harness.passes(3, result="fail")
    harness.topics.send("routing.acks", *harness.acks())
    handled_again(harness, committed)
    assert harness.decisions().count(("reject", 3)) == 1


def test_a_rollback_is_obeyed_while_the_store_is_away_and_a_rollout_waits_for_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.passes(1)
    harness.acknowledged()
    harness.passes(2)
    harness.acknowledged()

    def away(*_: Any) -> Evidence:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "look", away)
        harness.topics.send("clock", harness.ticked(NOW + DAY_MS))
        harness.start()
        for _ in range(5):
            harness.shift.step(harness.consumer)
        assert harness.health.detail["waiting"].startswith("clock-0")
        harness.topics.send("commands", releasing.command(M, "rollback"))
        for _ in range(5):
            harness.shift.step(harness.consumer)
        assert harness.newest("rollouts")["challenger"] is None
        assert len(harness.topics.read("routing", M)) == 4
        assert not harness.caught_up()
    harness.work()
    assert harness.decisions()[-1] == ("rollback", 2)
    assert harness.dead_letters("clock") == []


def test_a_store_that_fails_for_one_model_stops_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("another", M):
        uri = harness.artifacts.put_json(1)
        for version in (1, 2):
            verdict = releasing.verdict(model, harness.repo, version, uri, NOW)
            harness.tell("verdicts", verdict | {"adapter_digest": str(version)})
        harness.tell("routing.acks", releasing.ack(model, 2))
        harness.tell("routing.acks", releasing.ack(model, 3))
    harness.pairs(0.5, 1, 2, 40, "bb")
    real, failures = Reader.look, iter(range(2))

    def failing(reader: Reader, trial: Trial, *given: Any) -> Evidence:
        if trial.model == "another" and next(failures, None) is not None:
            raise StoreUnavailable("restarting")
        return real(reader, trial, *given)

    monkeypatch.setattr(Reader, "look", failing)
    harness.topics.send("clock", harness.ticked(NOW + DAY_MS))
    harness.shift.step(harness.consumer)
    assert harness.decisions()[-1] == ("advance", 2)
    harness.work()
    assert [entry["decision"] for entry in harness.topics.read("audit", "another")][-1] == "hold"
    assert harness.decisions().count(("advance", 2)) == 2


def test_a_missing_model_repo_stops_the_ticks_of_its_model_alone(
    harness: Harness, tmp_path: Path
) -> None:
    gone = releasing.publish_repo(tmp_path / "gone", harness.artifacts, "another")
    for version in (1, 2):
        for model, repo in ((M, harness.repo), ("another", gone)):
            uri = harness.artifacts.put_json(version)
            harness.tell("verdicts", releasing.verdict(model, repo, version, uri, NOW))
            harness.tell("routing.acks", releasing.ack(model, version))
    harness.acknowledged()
    for blob in (harness.folder / "artifacts").rglob(gone):
        blob.unlink()
    harness.start()
    harness.pairs(0.5, 1, 2, 40, "bb")
    harness.tick(1)
    harness.tick(2)
    assert harness.newest("rollouts")["stage"] == "half"
    told = [entry["decision"] for entry in harness.topics.read("audit", "another")]
    assert told == ["start", "start", "advance", "dead-letter"]
    assert harness.dead_letters("clock") == []


def test_a_rollback_is_obeyed_though_the_challengers_model_repo_is_gone(
    harness: Harness, tmp_path: Path
) -> None:
    harness.tries_another_repo(tmp_path / "gone")
    harness.acknowledged()
    harness.lose_repo()
    harness.tell("commands", releasing.command(M, "rollback"))
    assert harness.newest("rollouts")["repo_hash"] == harness.repo
    assert harness.newest("routing")["repo_hash"] == harness.repo
    entry = harness.newest("audit")
    assert releasing.replayed(entry).state.summary == entry["words"]


def test_a_router_that_was_scaled_away_blocks_nothing_once_its_lease_has_ended(
    harness: Harness,
) -> None:
    harness.passes(1)
    harness.live(MINUTE_MS, "router-0", "router-1")
    harness.passes(2)
    harness.acknowledged("router-0")
    harness.live(2 * MINUTE_MS, "router-0")  # router-1 is no more
    assert harness.newest("rollouts")["stage"] == "loading"
    assert harness.newest("audit")["words"] == "router-1 did not acknowledge it yet"
    harness.start()
    harness.live(2 * MINUTE_MS, "router-0")
    assert harness.newest("rollouts")["stage"] == "shadow"


def test_routers_that_were_scaled_away_long_ago_are_forgotten(harness: Harness) -> None:
    harness.passes(1)
    harness.acknowledged("router-0", "router-1")
    for hour in range(1, 33):
        harness.tick(hour / 24)
        harness.acknowledged("router-0")
    assert harness.shift.engine is not None
    assert list(harness.shift.engine.views[RoutingAck]) == [("router-0", M)]
    harness.passes(2)
    harness.acknowledged("router-0")
    assert harness.newest("rollouts")["stage"] == "shadow"


def test_a_clock_that_stood_still_ends_no_lease(harness: Harness) -> None:
    harness.passes(1)
    harness.live(MINUTE_MS, "router-0", "router-1")
    harness.passes(2)
    harness.tell("routing.acks", *harness.acks("router-1", status="refused"))
    harness.tell("clock", harness.ticked(harness.now + DAY_MS))
    harness.tell("routing.acks", *harness.acks("router-1", status="refused"))
    harness.live(LIVE_MS)
    assert harness.newest("rollouts")["challenger"] == 2  # router-0 may serve it yet
    harness.acknowledged("router-0")
    assert harness.newest("rollouts")["stage"] == "shadow"


def test_a_router_that_cannot_load_a_version_is_named_once_and_the_others_serve_it(
    harness: Harness,
) -> None:
    harness.passes(1)
    harness.live(MINUTE_MS, "router-0", "router-1")
    harness.passes(2)
    harness.acknowledged("router-0", status="refused")
    harness.live(3 * MINUTE_MS, "router-0", status="refused")
    harness.acknowledged("router-1")
    entries = harness.topics.read("audit", M)
    assert [e["version"] for e in entries if e["decision"] == "refusal"] == [2]
    state = harness.newest("rollouts")
    assert (state["stage"], state["quarantined"]) == ("shadow", [])
    assert "router-0 refuses it: corrupt" in state["words"]


def test_a_base_that_no_router_can_load_costs_the_champion_nothing(
    harness: Harness, tmp_path: Path
) -> None:
    harness.passes(1)
    harness.live(MINUTE_MS, "router-0", "router-1")
    other = releasing.publish_repo(tmp_path / "other", harness.artifacts, M, base="/bases/other")
    harness.passes(2, repo_hash=other, base="/bases/other", base_digest="o" * 64)
    r = harness.newest("routing")
    arms = {arm["version"]: arm["base"] for arm in r["arms"] + r["shadows"]}
    assert arms == {1: "all-MiniLM-L6-v2", 2: "/bases/other"}
    assert (r["base"], r["repo_hash"]) == ("all-MiniLM-L6-v2", other)
    harness.acknowledged("router-0", "router-1", status="refused")
    state, routing = harness.newest("rollouts"), harness.newest("routing")
    assert (state["champion"], state["challenger"], state["quarantined"]) == (1, None, [])
    assert (state["repo_hash"], routing["repo_hash"]) == (harness.repo, harness.repo)
    assert [(a["version"], a["base"], a["weight"]) for a in routing["arms"]] == [
        (1, "all-MiniLM-L6-v2", 10_000)
    ]
    harness.acknowledged("router-0", "router-1", status="refused")  # whatever they say of version 1
    assert harness.newest("rollouts") == state
    assert harness.decisions()[-1] == ("refusal", 1)


def test_acknowledgements_make_no_dead_letters_while_the_model_repo_is_gone(
    harness: Harness, tmp_path: Path
) -> None:
    harness.tries_another_repo(tmp_path / "gone")
    harness.lose_repo()
    for _ in range(3):
        harness.acknowledged("router-0", "router-1")
    assert harness.dead_letters("routing.acks") == []
    assert harness.newest("rollouts")["stage"] == "loading"


def test_model_repos_that_no_state_names_are_not_kept(harness: Harness, tmp_path: Path) -> None:
    harness.passes(1)
    other = releasing.publish_repo(tmp_path / "other", harness.artifacts, M, base="/bases/other")
    harness.passes(2, repo_hash=other)
    cache = harness.folder / f"cache-{harness.starts}"
    assert {path.name for path in cache.iterdir()} == {harness.repo, other}
    harness.tell("commands", releasing.command(M, "rollback"))
    assert {path.name for path in cache.iterdir()} == {harness.repo}
    harness.passes(3, repo_hash=other, result="fail")
    assert {path.name for path in cache.iterdir()} == {harness.repo}


def old_record(harness: Harness, record: dict[str, Any]) -> bytes:
    """A `rollouts` record as it was written before schema version 2."""
    first = harness.codec.schemas.versions("rollout")[0]
    buffer = BytesIO()
    buffer.write(first.header)
    fastavro.schemaless_writer(buffer, first.schema, record)
    return buffer.getvalue()


def test_a_state_of_before_goes_on_and_its_champion_keeps_its_base(
    harness: Harness, tmp_path: Path
) -> None:
    record = {
        "model": M,
        "epoch": 7,
        "champion": 1,
        "challenger": None,
        "stage": "idle",
        "previous": None,
        "since": NOW,
        "paused": False,
        "quarantined": ["bad"],
        "versions": {"1": json.dumps({"digest": "d1", "uri": "sha256:d1"})},
        "repo_hash": harness.repo,
        "words": "as it was",
        "time": NOW,
    }
    harness.bus.producer().send("rollouts", M.encode(), old_record(harness, record))
    harness.start()
    harness.tick(0.1)
    assert harness.newest("routing")["epoch"] == 7
    other = releasing.publish_repo(tmp_path / "other", harness.artifacts, M, base="/bases/other")
    harness.passes(2, repo_hash=other, base="/bases/other")
    (arm,) = harness.newest("routing")["arms"]
    assert (arm["version"], arm["digest"], arm["base"]) == (1, "d1", "all-MiniLM-L6-v2")
    harness.tell("commands", releasing.command(M, "rollback"))
    assert harness.newest("rollouts")["repo_hash"] == harness.repo


def test_health_says_what_is_tried(harness: Harness) -> None:
    harness.passes(1)
    assert harness.health.detail.get("activity") is None
    harness.passes(2)
    assert harness.health.detail["activity"] == f"{M}@2 in loading"
    harness.acknowledged()
    harness.start()
    assert harness.health.detail["activity"] == f"{M}@2 in shadow"


def test_routing_that_a_crash_kept_back_is_sent_with_the_event_or_the_next_tick(
    harness: Harness,
) -> None:
    harness.passes(1)
    kept = harness.topics.read("routing", M)
    committed = dict(harness.bus.groups[PROMOTER])
    for lead in (lambda: handled_again(harness, {}), lambda: harness.tick(0.1)):
        harness.lose("routing")
        harness.bus.groups[PROMOTER] = dict(committed)
        harness.start()
        lead()
        assert harness.topics.read("routing", M) == kept
    assert len(harness.topics.read("rollouts", M)) == 1


def test_routing_that_came_alone_is_overtaken_by_the_next_epoch(harness: Harness) -> None:
    harness.passes(1)
    committed = dict(harness.bus.groups[PROMOTER])
    harness.passes(2)
    harness.lose("rollouts")
    handled_again(harness, committed)
    assert harness.newest("routing")["epoch"] == harness.newest("rollouts")["epoch"] == 3
    assert harness.newest("rollouts")["challenger"] == 2
    assert harness.decisions() == [("start", 1), ("start", 2)]


def test_routing_that_came_alone_is_overtaken_though_nothing_is_decided_again(
    harness: Harness,
) -> None:
    harness.passes(1)
    harness.passes(2)
    harness.lose("rollouts")
    harness.start()
    harness.tick(0.1)
    state, routing = harness.newest("rollouts"), harness.newest("routing")
    assert (state["epoch"], state["challenger"]) == (3, None)
    assert (routing["epoch"], routing["shadows"]) == (3, [])


def test_a_hold_is_told_once_a_day_for_each_reason(harness: Harness) -> None:
    harness.passes(1)
    harness.passes(2)
    harness.acknowledged()
    for day in (1, 1.5, 1.9, 2):
        harness.tick(day)
        harness.start()
    assert harness.decisions()[3:] == [("hold", 2), ("hold", 2)]


# ---------------------------------------------------------------- the fast lane


def test_errors_of_an_earlier_trial_take_no_version_back_that_is_tried_again(
    harness: Harness,
) -> None:
    harness.passes(1)
    harness.tries(2)
    harness.counts(failed=7)
    harness.tell("commands", releasing.command(M, "abort"))
    harness.tries(2, verdict_id="once more")
    harness.counts(failed=6)
    harness.start()
    harness.counts(failed=7)
    assert harness.newest("rollouts")["stage"] == "shadow"
    harness.counts(failed=40)
    assert harness.decisions()[-1] == ("rollback", 2)
    told = harness.newest("audit")
    assert [c["epoch"] for c in json.loads(told["inputs"])["counts"]] == [6]
    assert releasing.replayed(told).decisions[0].summary == told["words"]


def test_errors_of_all_stages_of_a_trial_are_added_up(harness: Harness) -> None:
    harness.passes(1)
    harness.tries(2)
    harness.acknowledged()
    harness.counts(failed=7)
    harness.pairs(0.5, 1, 2, 40, "bb")
    harness.tick(1)
    assert harness.newest("rollouts")["stage"] == "half"
    harness.start()
    harness.counts(failed=7)
    assert harness.decisions()[-1] == ("rollback", 2)


def test_counts_that_no_trial_needs_are_forgotten_at_a_tick(harness: Harness) -> None:
    harness.passes(1)
    harness.tries(2)
    harness.counts()
    harness.tell("commands", releasing.command(M, "abort"))
    harness.tries(2, verdict_id="once more")
    harness.counts("one-process")
    harness.counts("another")
    harness.live(LIVE_MS)
    assert [one.started for one in harness.counted()] == ["one-process", "another"]
    harness.tell("commands", releasing.command(M, "abort", 2))
    harness.start()
    harness.live(LIVE_MS)
    assert harness.counted() == ()


def test_a_command_for_a_model_that_nobody_released_is_a_dead_letter(harness: Harness) -> None:
    harness.tell("commands", releasing.command("nobody", "rollback"))
    harness.tell("commands", releasing.command("nobody", "retrain"))
    (letter,) = harness.dead_letters("commands")
    assert letter["reason"] == "unknown_model"


@pytest.mark.parametrize("model", [M, "nobody"])
def test_erase_is_refused_in_words(harness: Harness, model: str) -> None:
    harness.passes(1)
    harness.tell("commands", releasing.command(model, "erase"))
    (letter,) = harness.dead_letters("commands")
    assert "erasure does not exist yet, and nothing was erased" in letter["message"]
    assert harness.decisions() == [("start", 1)]


@pytest.mark.parametrize("wrong", ["no prompt", "of another model"])
def test_a_command_of_a_prompt_that_the_repo_has_not_is_a_dead_letter(
    harness: Harness, tmp_path: Path, wrong: str
) -> None:
    harness.passes(1)
    if wrong == "no prompt":
        repo = releasing.publish_repo(tmp_path / "other", harness.artifacts, M, "watch_days: 3")
    else:
        repo = writing_world.publish_repo(tmp_path / "other", harness.artifacts)
    epoch = harness.newest("routing")["epoch"]
    harness.tell("commands", releasing.command(M, "prompt") | {"args": {"repo_hash": repo}})
    assert harness.newest("routing")["epoch"] == epoch
    (letter,) = harness.dead_letters("commands")
    assert f"repo_hash: got '{repo}', expected that of a model repo of {M}" in letter["message"]


def test_a_verdict_under_a_repo_that_nobody_stored_is_a_dead_letter(harness: Harness) -> None:
    harness.passes(1, repo_hash="0" * 64)
    (letter,) = harness.dead_letters("verdicts")
    assert letter["message"].startswith("repo_hash: got '000000")
    harness.passes(1)
    harness.tick(1)
    assert harness.decisions() == [("start", 1)]


def test_a_version_whose_repo_nobody_stored_does_not_wait_and_stops_no_rollout(
    harness: Harness,
) -> None:
    harness.passes(1)
    harness.tries(2)
    harness.tell("commands", releasing.command(M, "pause"))
    harness.passes(3, repo_hash="0" * 64)
    (letter,) = harness.dead_letters("verdicts")
    assert letter["message"].startswith("repo_hash: got '000000")
    harness.tell("commands", releasing.command(M, "resume", 2))
    harness.pairs(0.1, 1, 2, 40, "ba")
    harness.tick(0.2)
    assert harness.decisions()[-1] == ("rollback", 2)


def test_poison_on_what_it_reads_stops_no_start(harness: Harness) -> None:
    harness.passes(1)
    for topic in ("rollouts", "routing", "routing.acks", "clock"):
        harness.bus.producer().send(topic, b"k", b"poison")
    harness.start()
    harness.passes(2)
    assert harness.newest("rollouts")["challenger"] == 2
