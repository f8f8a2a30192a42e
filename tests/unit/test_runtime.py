"""What the runtime promises a service, with a bus in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from driftgate.audit import broken_links
from driftgate.bus import Position, Record
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.errors import (
    BadConfig,
    BadInput,
    BusUnavailable,
    Corrupt,
    RegistryUnavailable,
    StoreUnavailable,
)
from driftgate.events import AnyEvent, AuditEntry, Command, Model, RoutingAck, Tick
from driftgate.health import Health, log_for
from driftgate.runtime import AuditDraft, Handler, Runtime, Service, View, Views
from driftgate.runtime.engine import Engine
from driftgate.runtime.loop import Shift

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")


def declared(model: str, repo_hash: str = "1", time: int = 1) -> Model:
    return Model(model=model, repo_hash=repo_hash, repo_uri="", actor="", time=time)


def ordered(model: str, kind: str = "pause", time: int = 1) -> Command:
    return Command.of({"command_id": "c", "model": model, "kind": kind, "actor": "a", "time": time})


def ack(model: str, epoch: int = 1) -> RoutingAck:
    return RoutingAck(router="r", model=model, epoch=epoch, status="serving", digests=(), time=1)


def answer(event: Any, views: Any, now: int) -> list[AnyEvent]:
    return [ack(event.model)]


@dataclass
class System:
    """A bus, and one replica of a service on it."""

    service: Service
    bus: MemoryBus = field(default_factory=MemoryBus)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.bus.ensure(CODEC.topics.by_name.values())

    def write(self, *events: AnyEvent) -> None:
        for event in events:
            self.bus.producer().send(*CODEC.record(event))

    def tick(self, time: int, before: Mapping[str, int] | None = None, pace: float = 0.0) -> None:
        self.write(Tick(world="w", time=time, positions=before or {}, pace=pace))

    def start(self) -> Engine:
        health, log = Health(self.service.name), log_for(self.service.name)
        engine = Engine(self.service, self.bus, CODEC, log, health, monotonic=lambda: self.at)
        self.starts = engine.begin()
        return engine

    def poll(self, engine: Engine, *topics: str) -> None:
        """Gives the engine all there is, topic after topic, and lets it work."""
        committed = self.bus.committed("svc")
        for topic in topics or self.service.topics():
            for record in self.bus.read_all([topic]):
                start = self.starts.get(record.position, committed.get(record.position, 0))
                if record.offset >= max(start, engine.order.reached.get(record.position, 0)):
                    engine.add(record)
        engine.order.reached = dict(self.bus.ends(self.service.topics()))
        engine.advance()

    def run(self) -> Engine:
        """The service starts, handles all there is, and commits."""
        engine = self.start()
        self.poll(engine)
        self.bus.groups["svc"].update(engine.settle())
        return engine

    def sent(self, topic: str) -> list[AnyEvent]:
        return [CODEC.event(topic, record.value) for record in self.bus.read_all([topic])]


def service(**handlers: Callable[..., Iterable[Any]] | Handler) -> Service:
    kinds = {"models": Model, "commands": Command, "tick": Tick}
    table = {
        kinds[name]: h if isinstance(h, Handler) else Handler(h) for name, h in handlers.items()
    }
    return Service(name="svc", handlers=table)


def test_what_a_record_leads_to_is_sent_before_its_position_may_be_committed() -> None:
    system = System(service(models=answer))
    system.write(declared("a"))
    engine = system.start()
    system.poll(engine)
    assert [event.model for event in system.sent("routing.acks")] == ["a"]
    assert engine.settle() == {Position("models", 0): 1}
    assert engine.settle() == {}


def test_bad_input_becomes_a_dead_letter_and_the_next_record_is_handled() -> None:
    def refuse_a(event: Model, views: Any, now: int) -> list[AnyEvent]:
        if event.model == "a":
            raise BadInput("unhandled", "model", "a", "anything but a")
        return [ack(event.model)]

    system = System(service(models=refuse_a))
    system.write(declared("a"), declared("b"))
    engine = system.run()
    (dead,) = system.sent("models.dlq")
    assert dead.message == "model: got 'a', expected anything but a"
    assert dead.value == CODEC.value(declared("a"))
    assert [event.model for event in system.sent("routing.acks")] == ["b"]
    assert engine.settle() == {}


def test_malformed_records_are_left_to_ingest_logger() -> None:
    system = System(service(models=answer))
    system.bus.producer().send("models", b"a", b"not avro")
    system.run()
    assert system.bus.committed("svc") == {Position("models", 0): 1}
    assert system.sent("models.dlq") == []


@pytest.mark.parametrize("error", [ZeroDivisionError("odd"), Corrupt("the files are not theirs")])
def test_what_nobody_foresaw_ends_as_a_dead_letter_with_an_entry_in_the_audit(
    error: Exception,
) -> None:
    tries: list[str] = []

    def fail(event: Model, views: Any, now: int) -> list[AnyEvent]:
        tries.append(event.model)
        if event.model == "a":
            raise error
        return [ack(event.model)]

    system = System(service(models=fail))
    system.write(declared("a"), declared("b"))
    for _ in range(2):  # a crash before the commit repeats it all, and tells nothing twice
        system.poll(system.start())
    assert [event.model for event in system.sent("routing.acks")][-1] == "b"
    assert str(error) in system.sent("models.dlq")[0].message
    (entry,) = system.sent("audit")
    assert (entry.model, entry.decision) == ("a", "dead-letter")
    expected = 3 if isinstance(error, ZeroDivisionError) else 1
    assert tries.count("a") == 2 * expected


def test_what_the_bus_refuses_for_good_becomes_a_dead_letter_and_stops_no_other() -> None:
    def tell(event: Model, views: Any, now: int) -> list[Any]:
        draft = AuditDraft(
            model=event.model,
            decision="noted",
            inputs={},
            result={},
            summary="",
            time=now,
            cause=event.as_dict(),
        )
        if event.actor == "large":  # too large an entry, after one that is told
            return [draft, replace(draft, cause=1, inputs={"all": event.repo_uri * 4})]
        if event.actor == "larger":
            return [draft, replace(ack(event.model), reason=event.repo_uri * 4)]
        return [draft, ack(event.model)]

    long = "x" * 3_000_000
    system = System(service(models=tell))
    system.write(
        declared("a"),
        replace(declared("a"), actor="large", repo_uri=long),
        replace(declared("a"), actor="larger", repo_uri=long),
        declared("a", time=2),
        declared("b"),
    )
    system.run()
    assert [event.model for event in system.sent("routing.acks")] == ["a", "a", "b"]
    assert [len(letter.value) > 3_000_000 for letter in system.sent("models.dlq")] == [True, True]
    entries = system.sent("audit")
    assert [e.decision for e in entries if e.model == "a"].count("dead-letter") == 2
    assert broken_links(entries) == []
    assert max(len(entry.inputs) for entry in entries) < 20_000


def test_an_outage_is_waited_for_and_holds_up_its_own_partition_alone() -> None:
    away = True

    def needs_the_store(event: Model, views: Any, now: int) -> Model:
        if away:
            raise StoreUnavailable("the store is away")
        return event

    system = System(service(models=Handler(answer, needs_the_store), commands=answer))
    system.write(declared("a"), declared("b"))
    system.tick(10, {"models-0": 2})
    system.write(ordered("c", time=20))
    engine = system.start()
    for _ in range(50):
        system.poll(engine)
        system.at += 10
    assert [event.model for event in system.sent("routing.acks")] == ["c"]
    assert engine.settle() == {Position("commands", 0): 1, Position("clock", 0): 1}
    away = False
    system.poll(engine)
    first, *rest = [event.model for event in system.sent("routing.acks")]
    assert (first, set(rest), len(rest)) == ("c", {"a", "b"}, 2)
    assert system.sent("models.dlq") == []


def store_of_a(state: dict[str, bool]) -> Callable[[Any, Any, int], Any]:
    """Reads from a store that is away for model a."""

    def gather(part: Any, views: Any, now: int) -> Any:
        if state["away"] and part.model == "a":
            raise StoreUnavailable("the store is away")
        return part

    return gather


def test_a_model_that_waits_at_a_tick_holds_up_no_other_model_and_not_the_time() -> None:
    state, seen = {"away": True}, []

    def note(part: Model, views: Any, now: int) -> list[AnyEvent]:
        seen.append((part.model, part.time, now))
        return []

    def each(tick: Tick, views: Any) -> list[Model]:
        return [declared(model, time=tick.time) for model in ("a", "b")]

    system = System(service(tick=Handler(note, store_of_a(state), each)))
    for time in (10, 20, 30):
        system.tick(time)
    engine = system.start()
    for _ in range(5):
        system.poll(engine)
        system.at += 10
    assert seen == [("b", 10, 10), ("b", 20, 20), ("b", 30, 30)]
    assert engine.now == 30
    assert engine.settle() == {Position("clock", 0): 2}  # the newest tick comes again for a
    assert "clock-0 a" in engine.health.detail["waiting"]
    state["away"] = False
    system.poll(engine)
    assert seen[3:] == [("a", 30, 30)]
    assert engine.settle() == {Position("clock", 0): 3}
    assert engine.health.detail["waiting"] is None


def test_a_record_that_waits_holds_up_what_is_of_its_model_and_nothing_else() -> None:
    state = {"away": True}
    system = System(service(models=Handler(answer, store_of_a(state))))
    system.write(declared("c"), declared("a", "1"), declared("b"), declared("a", "2"))
    engine = system.run()
    assert [event.model for event in system.sent("routing.acks")] == ["c", "b"]
    assert system.bus.committed("svc") == {Position("models", 0): 1}
    system.write(declared("b"))
    system.poll(engine)
    assert engine.settle() == {}
    state["away"], system.at = False, 10
    system.poll(engine)
    assert [event.model for event in system.sent("routing.acks")] == ["c", "b", "b", "a", "a"]
    assert engine.settle() == {Position("models", 0): 5}


def test_a_model_that_waited_and_is_no_more_waits_no_longer() -> None:
    models = ["a", "b"]

    def each(tick: Tick, views: Any) -> list[Model]:
        return [declared(model) for model in models]

    system = System(service(tick=Handler(answer, store_of_a({"away": True}), each)))
    system.tick(10)
    engine = system.run()
    assert engine.health.detail["waiting"]
    models.remove("a")
    system.at = 10
    engine.advance()
    assert engine.health.detail["waiting"] is None
    assert engine.settle() == {Position("clock", 0): 1}


def test_nothing_of_a_partition_that_went_is_handled() -> None:
    state = {"away": True}
    system = System(service(models=Handler(answer, store_of_a(state))))
    system.write(declared("a"))
    engine = system.run()
    state["away"], system.at = False, 10
    engine.drop([Position("models", 0)])
    engine.advance()
    assert (engine.settle(), system.sent("routing.acks")) == ({}, [])


def test_a_partition_that_is_full_holds_up_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgate.runtime.order.HIGH_WATER", 1)
    system = System(service(models=Handler(answer, store_of_a({"away": True})), commands=answer))
    system.write(declared("a"), declared("a"), declared("a"))
    system.tick(10, {"models-0": 3})
    engine = system.start()
    for record in [*system.bus.read_all(["models"])][:2]:
        engine.add(record)
    engine.advance()
    assert engine.order.full(Position("models", 0))
    engine.add(*system.bus.read_all(["clock"]))
    engine.advance()
    assert engine.now == 10


def test_work_is_committed_though_there_is_more() -> None:
    def slow(event: Any, views: Any, now: int) -> list[AnyEvent]:
        system.at += 1
        return []

    system = System(service(models=slow, tick=slow))
    for time in range(1, 11):
        system.write(declared("a"))
        system.tick(time, {"models-0": time})
    engine = system.start()
    system.poll(engine)
    positions = dict(engine.settle())
    assert 0 < positions[Position("models", 0)] < 10
    while system.at < 100 and positions[Position("clock", 0)] < 10:
        engine.advance()
        positions |= engine.settle()
    assert positions == {Position("models", 0): 10, Position("clock", 0): 10}


def test_models_whose_store_is_slow_to_fail_do_not_use_up_all_the_time() -> None:
    def gather(part: Model, views: Any, now: int) -> Model:
        if part.model != "good":
            system.at += 30  # longer than the back-off
            raise StoreUnavailable("no answer in time")
        return part

    system = System(service(models=Handler(answer, gather)))
    system.write(*(declared(f"bad{n}") for n in range(4)))
    engine = system.start()
    system.poll(engine)
    for _ in range(10):
        engine.advance()
    system.write(declared("good"))
    system.poll(engine)
    engine.advance()
    assert [event.model for event in system.sent("routing.acks")] == ["good"]


def test_parts_of_ticks_that_are_slow_to_fail_keep_no_record_from_its_turn() -> None:
    away = {"models": True, "tick": True}

    def gather(kind: str, seconds: float, event: Any, views: Any, now: int) -> Any:
        if away[kind]:
            system.at += seconds  # longer than the back-off
            raise StoreUnavailable("no answer in time")
        return event

    system = System(
        service(
            models=Handler(answer, partial(gather, "models", 0)),
            tick=Handler(
                answer, partial(gather, "tick", 30), lambda t, v: [declared("a"), declared("b")]
            ),
        )
    )
    system.write(declared("c"))
    engine = system.start()
    system.poll(engine)
    system.tick(10)
    system.poll(engine)
    away["models"] = False
    for _ in range(10):
        engine.advance()
    assert [event.model for event in system.sent("routing.acks")] == ["c"]


def test_what_comes_faster_than_it_is_handled_is_read_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("driftgate.runtime.order.READ_AHEAD", 3)

    def slow(event: Any, views: Any, now: int) -> list[AnyEvent]:
        system.at += 1
        return []

    system = System(service(models=slow))
    system.write(*(declared("a") for _ in range(9)))
    engine = system.run()
    assert engine.order.full(Position("models", 0))
    engine.advance()
    assert not engine.order.full(Position("models", 0))


def test_a_tick_that_cannot_be_decoded_is_not_committed_before_one_that_waits() -> None:
    system = System(
        service(tick=Handler(answer, store_of_a({"away": True}), lambda t, v: [declared("a")]))
    )
    system.tick(10)
    system.bus.producer().send("clock", b"w", b"not avro")
    assert system.run().settle() == {}
    assert system.bus.committed("svc") == {}


def test_a_tick_comes_after_what_lies_before_it_and_before_all_else() -> None:
    seen: list[str] = []

    def note(event: Any, views: Any, now: int) -> list[AnyEvent]:
        seen.append(f"{getattr(event, 'model', 'tick')}@{now}")
        return []

    system = System(service(models=note, commands=note, tick=note))
    system.write(declared("a", time=5))
    system.tick(10, {"models-0": 1, "commands-0": 0})
    system.write(declared("b", time=15), ordered("c", time=16))
    system.tick(20, {"models-0": 2, "commands-0": 1})
    system.write(declared("d", time=25))
    for topics in (("models", "commands", "clock"), ("clock", "commands", "models")):
        seen.clear()
        system.poll(system.start(), *topics)
        assert seen[:2] == ["a@5", "tick@10"]
        assert sorted(seen[2:4]) == ["b@10", "c@10"]
        assert seen[4:] == ["tick@20", "d@20"]


def test_a_tick_waits_for_records_that_are_not_polled_yet() -> None:
    seen: list[str] = []

    def note(event: Any, views: Any, now: int) -> list[AnyEvent]:
        seen.append(getattr(event, "model", "tick"))
        return []

    system = System(service(models=note, tick=note))
    system.write(declared("a"), declared("b"))
    system.tick(10, {"models-0": 2})
    engine = system.start()
    (first, _) = system.bus.read_all(["models"])
    engine.add(first)
    engine.add(*system.bus.read_all(["clock"]))
    engine.order.reached = {Position("models", 0): 1, Position("clock", 0): 1}
    engine.advance()
    assert seen == ["a"]
    engine.order.reached = {Position("models", 0): 2, Position("clock", 0): 1}
    engine.advance()  # nothing stands at offset 1 any more: the topic was compacted
    assert seen == ["a", "tick"]


def test_a_tick_that_two_clocks_wrote_passes_time_once() -> None:
    times: list[int] = []
    system = System(service(tick=lambda event, views, now: times.append(now) or []))
    for time in (10, 10, 5, 20):
        system.tick(time)
    engine = system.run()
    assert times == [10, 20]
    assert [*engine.views.ticks] == [10, 20]


def test_a_restart_changes_neither_the_time_nor_the_ticks_before_it() -> None:
    seen: list[tuple[int, list[int]]] = []

    def note(event: Command, views: Any, now: int) -> list[AnyEvent]:
        seen.append((now, [*views.ticks]))
        return []

    system = System(service(commands=note))
    for time in (10, 20, 20):
        system.tick(time)
    system.write(ordered("a", time=3))
    engine = system.run()
    system.write(ordered("b", time=3))
    system.run()
    assert seen == [(20, [10, 20])] * 2
    assert engine.clock.now() == 20
    system.tick(50)
    system.write(ordered("c", time=3))
    system.run()
    assert seen[-1] == (50, [10, 20, 50])


def test_what_was_sent_is_observed_and_the_start_too() -> None:
    seen: list[Any] = []
    observed = Service(
        name="svc",
        handlers={Model: Handler(answer)},
        views=(View(RoutingAck, own=True),),
        observe=lambda sent, views: seen.append(([*sent], [*views[RoutingAck]])),
    )
    system = System(observed)
    system.write(declared("a"))
    system.run()
    system.run()
    assert seen == [([], []), ([ack("a")], ["a"]), ([], ["a"])]


def test_a_part_of_an_event_that_fails_stops_no_other() -> None:
    def each(tick: Tick, views: Any) -> list[Model]:
        return [declared(model, time=tick.time) for model in ("a", "b", "c")]

    def gather(part: Model, views: Any, now: int) -> Model:
        if part.model == "a":
            raise BadInput("unhandled", "repo_hash", "x", "a stored model repo")
        if part.model == "b":
            raise KeyError("odd")
        return part

    system = System(service(tick=Handler(answer, gather, each)))
    system.tick(10)
    system.tick(20)
    system.run()
    assert [event.model for event in system.sent("routing.acks")] == ["c", "c"]
    entries = system.sent("audit")
    assert [entry.model for entry in entries] == ["a", "b"]  # once for each cause, not each tick
    assert system.sent("clock.dlq") == []


def test_views_hold_the_newest_event_of_each_key_and_follow() -> None:
    known: list[str] = []

    def look(event: Command, views: Any, now: int) -> list[AnyEvent]:
        known.append(views[Model][event.model].repo_hash)
        return []

    watching = Service(name="svc", handlers={Command: Handler(look)}, views=(View(Model),))
    system = System(watching)
    system.write(declared("a", "1"), declared("b", "1"), declared("a", "2"), ordered("a"))
    engine = system.start()
    system.poll(engine, "commands")
    system.poll(engine, "models")  # history: passed over
    system.write(declared("a", "3"), ordered("a"))
    engine.add(list(system.bus.read_all(["commands"]))[-1])
    engine.add(list(system.bus.read_all(["models"]))[-1])  # known at once, before the command
    engine.advance()
    assert known == ["2", "3"]


def test_a_view_forgets_at_a_tick_what_is_of_no_use() -> None:
    views = Views([View(Model, keep=lambda model, views: model.time >= views.ticks[-1])])
    for name, time in (("a", 5), ("b", 9)):
        views.put(declared(name, time=time))
    held = views[Model]
    assert set(held) == {"a", "b"}
    views.tick(7)
    assert set(held) == {"b"}


def test_what_a_service_sends_is_in_its_own_view_at_once() -> None:
    def count(event: Model, views: Any, now: int) -> list[AnyEvent]:
        before = views[RoutingAck].get(event.model)
        return [ack(event.model, before.epoch + 1 if before else 1)]

    counting = Service(
        name="svc", handlers={Model: Handler(count)}, views=(View(RoutingAck, own=True),)
    )
    system = System(counting)
    system.write(declared("a"), declared("a"), declared("b"))
    system.run()
    system.write(declared("a"))
    system.run()
    assert [(e.model, e.epoch) for e in system.sent("routing.acks")] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
        ("a", 3),
    ]


def test_an_audit_entry_is_told_once_whoever_decides_again() -> None:
    def decide(event: Model, views: Any, now: int) -> list[Any]:
        return [
            AuditDraft(
                model=event.model,
                decision="noted",
                inputs=event.as_dict(),
                result={},
                summary="noted",
                time=now,
            ),
            ack(event.model),
        ]

    system = System(service(models=decide))
    system.write(declared("a"), declared("b"), declared("a"))
    system.poll(system.start())
    system.poll(system.start())  # after a kill before the commit
    entries = system.sent("audit")
    assert all(isinstance(entry, AuditEntry) for entry in entries)
    assert [entry.model for entry in entries] == ["a", "b"]
    assert [entry.previous_hash for entry in entries] == ["", ""]


@dataclass
class Kept:
    """A memory that can be full."""

    count: int = 0
    kept: tuple[int, Mapping[Position, int]] = (0, field(default_factory=dict))  # type: ignore[assignment]
    full: bool = False

    def __post_init__(self) -> None:
        self.kept = (0, {})

    def restore(self) -> Mapping[Position, int]:
        self.count, positions = self.kept
        return positions

    def keep(self, positions: Mapping[Position, int]) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.kept = (self.count, dict(positions))


def test_a_service_goes_on_from_its_memory_whatever_the_group_committed() -> None:
    memory = Kept()

    def count(event: Model, views: Any, now: int) -> list[AnyEvent]:
        memory.count += 1
        return [ack(event.model, memory.count)]

    system = System(Service(name="svc", handlers={Model: Handler(count)}, memory=memory))
    system.write(declared("a"), declared("a"))
    system.run()
    memory.full = True
    system.write(declared("a"))
    engine = system.start()
    system.poll(engine)
    assert engine.settle() == {}  # not kept, so not committed
    memory.full = False
    system.poll(system.start())  # killed before there was room again
    assert [event.epoch for event in system.sent("routing.acks")] == [1, 2, 3, 3]


def test_a_replica_that_another_has_replaced_sends_and_keeps_nothing() -> None:
    def replaced() -> None:
        raise BusUnavailable("another one works")

    memory = Kept()
    for decide, fails in ((answer, True), (lambda event, views, now: [], False)):
        table = {Model: Handler(decide)}
        system = System(Service(name="svc", handlers=table, memory=memory))
        system.write(declared("a"))
        engine = system.start()
        engine.fence = replaced
        with pytest.raises(BusUnavailable):
            system.poll(engine)
            assert not fails
            engine.settle()
        assert (system.sent("routing.acks"), memory.kept) == ([], (0, {}))


def test_what_is_no_part_of_a_memory_is_read_from_the_beginning() -> None:
    """Another replica, with a memory of its own, may have committed."""
    memory = Kept()
    system = System(Service(name="svc", handlers={Model: Handler(answer)}, memory=memory))
    system.write(declared("a"), declared("b"))
    system.bus.groups["svc"][Position("models", 0)] = 1
    system.start()
    assert system.starts == {Position("models", 0): 0, Position("clock", 0): 0}
    memory.kept = (2, {Position("models", 0): 2})
    system.start()
    assert system.starts == {Position("models", 0): 2, Position("clock", 0): 0}


def test_a_service_begins_with_what_it_remembers() -> None:
    memory = Kept()

    def begin(views: Any) -> list[AnyEvent]:
        return [ack("a", memory.count)]

    memory.kept = (7, {Position("models", 0): 0})
    system = System(Service(name="svc", handlers={}, begin=begin, memory=memory))
    system.start()
    assert [event.epoch for event in system.sent("routing.acks")] == [7]


def test_a_handler_knows_where_its_event_lies() -> None:
    places: list[tuple[Position, int]] = []

    def note(event: Any, views: Any, now: int) -> list[AnyEvent]:
        places.append(views.place)
        return []

    system = System(service(models=note, tick=note))
    system.write(declared("a"), declared("b"))
    system.tick(10, {"models-0": 2})
    system.run()
    assert places == [*((Position("models", 0), n) for n in (0, 1)), (Position("clock", 0), 0)]


def test_every_replica_begins_with_the_newest_of_each_key() -> None:
    seen: list[tuple[str, str]] = []

    def note(event: Model, views: Any, now: int) -> list[AnyEvent]:
        seen.append((event.model, event.repo_hash))
        return []

    following = Service(
        name="svc", handlers={Model: Handler(note)}, views=(View(Model),), every_replica=True
    )
    system = System(following)
    system.write(declared("a", "1"), declared("b", "1"), declared("a", "2"))
    for time in (1, 2, 3):
        system.tick(time)
    engine = system.start()
    engine.advance()
    assert seen == [("b", "1"), ("a", "2")]
    assert system.starts == {Position("models", 0): 3, Position("clock", 0): 2}
    system.write(declared("b", "2"))
    system.poll(engine)
    assert seen[2:] == [("b", "2")]
    assert engine.clock.now() == 3


def test_every_replica_knows_the_time_from_its_first_answer_on() -> None:
    """A request of today is not held to yesterday's time while the last tick is still to come."""
    system = System(Service(name="svc", handlers={}, every_replica=True))
    for time in (1, 2, 3):
        system.tick(time)
    assert system.start().clock.now() == 3


def test_offsets_that_no_record_stands_at_are_settled_too() -> None:
    """As where a topic was compacted, or its retention ended."""
    system = System(service(models=answer))
    system.write(declared("a"))
    engine = system.start()
    system.poll(engine)
    engine.order.reached = {Position("models", 0): 7}
    assert engine.settle() == {Position("models", 0): 7}


def test_each_replica_that_reads_everything_has_an_audit_chain_of_its_own() -> None:
    def fail(event: Model, views: Any, now: int) -> list[AnyEvent]:
        raise ZeroDivisionError

    failing = Service(
        name="svc", handlers={Model: Handler(fail)}, views=(View(Model),), every_replica=True
    )
    system = System(failing)
    system.write(declared("a"))
    for replica in ("0", "1"):
        engine = Engine(failing, system.bus, CODEC, log_for("svc"), Health("svc"), replica=replica)
        engine.begin()
        engine.advance()
    entries = system.sent("audit")
    assert [(entry.service, entry.previous_hash) for entry in entries] == [
        ("svc-0", ""),
        ("svc-1", ""),
    ]


def test_every_replica_begins_with_what_it_handles() -> None:
    seen: list[Any] = []

    def note(event: Model, views: Any, now: int) -> list[AnyEvent]:
        seen.append(event.model)
        return []

    system = System(
        Service(
            name="svc",
            handlers={Model: Handler(note)},
            views=(View(Model), View(RoutingAck, own=True)),
            every_replica=True,
        )
    )
    system.write(declared("a"), ack("a"))
    engine = system.start()
    engine.advance()
    assert seen == ["a"]
    assert engine.settle().keys() == {Position("models", 0)}


def test_a_schema_that_appears_while_running_is_read(tmp_path: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "schemas"
    shutil.copytree(Path(__file__).resolve().parents[2] / "schemas", folder)
    writer = Codec.load(folder)
    system = System(service(models=answer))
    schema = json.loads((folder / "model" / "v1.avsc").read_text())
    schema["fields"].append({"name": "team", "type": "string", "default": "", "doc": "Whose."})
    reading = Codec.load(folder)
    engine = Engine(
        system.service, system.bus, reading, log_for("svc"), Health("svc"), monotonic=lambda: 0.0
    )
    engine.begin()
    writer.registry.add("model", json.dumps(schema))
    value = writer.encode("models", declared("a").as_dict() | {"team": "red"})
    engine.add(Record("models", 0, 0, b"a", value))
    engine.advance()
    assert [event.model for event in system.sent("routing.acks")] == ["a"]


def test_a_replica_whose_name_another_process_took_sends_nothing_more() -> None:
    system = System(service(models=answer))
    health, log = Health("svc"), log_for("svc")
    shift = Shift(Runtime(system.service, system.bus, CODEC, "0", log, health))
    consumer = system.bus.consumer(["models", "clock"], "svc", "svc-0", shift, exclusive=True)
    system.write(declared("a"))
    shift.step(consumer)
    assert shift.engine is not None
    system.bus.consumer(["models", "clock"], "svc", "svc-0", exclusive=True)
    with pytest.raises(BusUnavailable):
        shift.engine.send([ack("b")])
    assert [event.model for event in system.sent("routing.acks")] == ["a"]


@pytest.mark.parametrize(
    "wrong",
    [
        BadConfig("401: expected http://USER:PASSWORD@host:port"),
        FileNotFoundError("registry.lock"),
        ValueError("not enough values to unpack"),
    ],
)
def test_a_registry_that_is_wrong_is_waited_for(
    wrong: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(service(models=answer, commands=answer))
    unknown = b"\0" + (99_999).to_bytes(4) + b"body"
    system.bus.producer().send("models", b"a", unknown)
    system.write(declared("b"), ordered("c"))
    refresh = type(CODEC.registry).refresh

    def fails(registry: Any, schema_id: int | None = None) -> bool:
        raise wrong

    monkeypatch.setattr(type(CODEC.registry), "refresh", fails)
    engine = system.run()
    assert [event.model for event in system.sent("routing.acks")] == ["c"]
    assert system.bus.committed("svc") == {Position("commands", 0): 1}
    monkeypatch.setattr(type(CODEC.registry), "refresh", refresh)
    assert engine.health.detail["waiting"].startswith("models-0, tried ")
    system.at = 10
    system.poll(engine)
    assert [event.model for event in system.sent("routing.acks")] == ["c", "b"]
    assert engine.settle() == {Position("models", 0): 2}
    assert engine.health.detail["waiting"] is None


def test_a_registry_that_is_away_stops_neither_time_nor_other_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looking = Service(
        name="svc",
        handlers={Command: Handler(answer), Tick: Handler(lambda *_: [])},
        views=(View(Model),),
    )
    system = System(looking)
    unknown = b"\0" + (99_999).to_bytes(4) + b"body"
    engine = system.start()
    system.bus.producer().send("models", b"a", unknown)
    system.bus.producer().send("clock", b"w", unknown)
    system.write(declared("b"), ordered("c"))
    refresh = type(CODEC.registry).refresh

    def fails(registry: Any, schema_id: int | None = None) -> bool:
        raise RegistryUnavailable("no answer")

    monkeypatch.setattr(type(CODEC.registry), "refresh", fails)
    system.poll(engine)
    assert [event.model for event in system.sent("routing.acks")] == ["c"]
    assert engine.settle() == {Position("commands", 0): 1}
    monkeypatch.setattr(type(CODEC.registry), "refresh", refresh)
    system.tick(10)
    system.at = 10
    system.poll(engine)
    system.poll(engine)
    assert (engine.now, [*engine.views[Model]]) == (10, ["b"])
    assert engine.settle() == {Position("models", 0): 2, Position("clock", 0): 2}


def test_a_replica_that_was_replaced_while_it_began_sends_nothing() -> None:
    def begin(views: Any) -> list[AnyEvent]:
        system.bus.consumer(["models", "clock"], "svc", "svc-0", exclusive=True)
        return [ack("a")]

    system = System(Service(name="svc", handlers={Model: Handler(answer)}, begin=begin))
    system.bus.groups["svc"][Position("clock", 0)] = 7
    shift = Shift(Runtime(system.service, system.bus, CODEC, "0", log_for("svc"), Health("svc")))
    consumer = system.bus.consumer(["models", "clock"], "svc", "svc-0", shift, exclusive=True)
    with pytest.raises(BusUnavailable):
        shift.step(consumer)
    assert (system.sent("routing.acks"), shift.engine) == ([], None)
    assert system.bus.committed("svc") == {Position("clock", 0): 7}
