"""Answers go out whether Kafka is there or not, and none that was given is lost or doubled."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from releasing import NOW, until
from router_harness import World
from test_router_serving import ask, refused, talk
from test_router_shadows import reached

from driftgate import metrics
from driftgate.bus_memory import MemoryBus, MemoryProducer
from driftgate.errors import BadConfig, BusGaveUp, BusRefused, BusUnavailable
from driftgate.health import log_for
from services.router import predictor as predicting
from services.router.delivery import Delivery
from services.router.spool import PAGE_BYTES, Spool, SpoolFull

LOG = log_for("router")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.delivery.stop(0)  # whatever it still waits for


def logged(world: World) -> Tally[tuple[str, str]]:
    return Tally((event["request_id"], event["role"]) for event in world.read("inferences"))


def asks(count: int, first: int = 0) -> Callable[[Any, Any], Awaitable[None]]:
    async def app(stub: Any, _: Any) -> None:
        for n in range(first, first + count):
            reply = await stub.Predict(ask(request_id=f"r{n}", time_ms=NOW + n, wait_for_log=False))
            assert reply.request_id == f"r{n}"

    return app


def test_answers_go_out_while_kafka_is_away_and_are_replayed_in_order_with_their_times(
    world: World,
) -> None:
    world.route(1, [world.arm(1, 10_000)])
    world.bus.down = True
    talk(world, asks(20))
    world.bus.down = False
    until(lambda: len(world.read("inferences")) == 20)
    events = sorted(world.read("inferences"), key=lambda event: event["time"])
    assert [event["time"] for event in events] == [NOW + n for n in range(20)]
    for position, records in world.bus.logs.items():  # in order within each partition
        if position.topic == "inferences":
            times = [world.codec.decode("inferences", r.value)["time"] for r in records]
            assert times == sorted(times)
    until(lambda: world.spool.count() == 0)


def test_what_a_killed_router_answered_its_successor_sends_once(world: World) -> None:
    """Killed: nothing of the process is left but its folder."""
    world.route(1, [world.arm(1, 10_000)])
    world.bus.down = True
    talk(world, asks(10))
    assert world.spool.count() == 10
    world.delivery.stop(0.0)
    world.spool.close()
    world.bus.down = False
    reopened = Spool(world.state / "spool", 1, LOG)
    successor = Delivery(reopened, world.bus.producer, LOG)
    successor.deliver()
    assert reopened.count() == 0
    successor.deliver()
    assert set(logged(world).values()) == {1}
    assert len(logged(world)) == 10


def test_a_place_is_never_given_twice(tmp_path: Path) -> None:
    """A successor that began anew with them would take new answers for delivered ones."""
    spool = Spool(tmp_path, 1, LOG)
    first = spool.append([("t", b"k", b"v")])
    spool.remove(first)
    spool.close()
    again = Spool(tmp_path, 1, LOG)
    assert again.last() == first
    assert again.append([("t", b"k", b"v")]) == first + 1


def test_a_spool_that_is_full_takes_all_of_a_batch_or_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1, LOG)
    record = ("t", b"k", b"x" * 1000)
    with pytest.raises(SpoolFull):
        spool.append([record] * 2000)
    assert spool.count() == 0
    places = [spool.append([record] * 10) for _ in range(50)]
    assert places == list(range(10, 510, 10))
    with pytest.raises(SpoolFull):
        spool.append([record] * 600)
    assert spool.count() == 500
    spool.remove(places[-1])
    spool.append([record] * 500)
    assert (tmp_path / "events.sqlite").stat().st_size <= 1_000_000


def fill(world: World) -> None:
    """Kafka is away, and the spool full."""
    world.bus.down = True
    for size in (3000, 300, 10):  # to the last byte
        with pytest.raises(SpoolFull):
            while True:
                world.delivery.appended(world.spool.append([("t", b"k", b"x" * size)]))
    until(lambda: world.delivery.away)


def test_a_full_spool_refuses_so_that_an_app_asks_again(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    fill(world)

    async def app(stub: Any, _: Any) -> None:
        code, details = await refused(stub.Predict(ask(request_id="r", wait_for_log=False)))
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "full" in details

    talk(world, app)


def test_a_full_spool_answers_all_the_same_where_it_sheds_and_counts_it(tmp_path: Path) -> None:
    world = World(tmp_path, when_full="shed")
    world.route(1, [world.arm(1, 10_000)])
    fill(world)
    before = metrics.UNLOGGED._value.get()
    talk(world, asks(3))
    assert metrics.UNLOGGED._value.get() == before + 3


def test_where_the_disk_is_full_answers_wait_for_kafka_and_are_refused_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise SpoolFull(str(OSError(errno.ENOSPC, "No space left on device")))

    monkeypatch.setattr(world.spool, "append", full)
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, channel: Any) -> None:
        await asks(3)(stub, channel)
        assert sum(logged(world).values()) == 3
        world.bus.down = True
        code, details = await refused(stub.Predict(ask(request_id="r9", wait_for_log=False)))
        assert (code, "No space left" in details) == (grpc.StatusCode.UNAVAILABLE, True)

    talk(world, app)


@pytest.mark.parametrize("fault", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, "no folder"])
def test_a_router_starts_on_a_full_disk_and_sends_what_it_had_once_there_is_room(
    tmp_path: Path, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.bus.down = True
    world.delivery.appended(world.spool.append([("inferences", b"k", b"before")]))
    world.delivery.stop(0.0)
    world.spool.close()
    world.bus.down = False

    def full(*_: Any, **__: Any) -> Any:
        if fault == "no folder":
            raise OSError(errno.ENOSPC, "No space left on device")
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = fault
        raise error

    with monkeypatch.context() as during:
        during.setattr(*((Path, "mkdir") if fault == "no folder" else (sqlite3, "connect")), full)
        spool = Spool(world.state / "spool", 1, LOG)
        delivery = Delivery(spool, world.bus.producer, LOG)
        delivery.start()
        with pytest.raises(SpoolFull):
            spool.append([("inferences", b"k", b"full")])
        delivery.send_past_spool([("inferences", b"k", b"past")])
    delivery.appended(spool.append([("inferences", b"k", b"after")]))
    until(lambda: spool.count() == 0)
    sent = [record.value for record in world.bus.read_all(["inferences"])]
    assert sent == [b"past", b"before", b"after"]
    delivery.stop(10)


def test_a_spool_that_cannot_be_read_keeps_nothing_from_kafka_that_goes_past_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.route(1, [world.arm(1, 10_000)])
    world.bus.down = True
    world.delivery.appended(world.spool.append([("inferences", b"k", b"v")]))
    until(lambda: world.delivery.away)
    with world.spool._used() as file:
        file.execute("DROP VIEW waiting")  # so that SQLite refuses
    world.bus.down = False
    until(lambda: not world.delivery.away)
    record = ("inferences", b"k", b"past")
    for _ in range(5):
        world.delivery.send_past_spool([record])
    sent = [r.value for r in world.bus.read_all(["inferences"])]
    assert sent == [b"past"] * 5


def test_what_was_not_sent_in_time_is_not_sent_later(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its app was told that it was not kept, and asks again."""
    monkeypatch.setattr("services.router.delivery.AWAY_SECONDS", 0.01)
    delivery = delivery_of(world.bus, Spool(tmp_path / "own", 1, LOG))
    with pytest.raises(BusUnavailable):
        delivery.send_past_spool([("inferences", b"k", b"v")])
    delivery.deliver()
    assert list(world.bus.read_all(["inferences"])) == []


class Flaky(MemoryProducer):
    """Takes records, and acknowledges them when `acknowledges` says so."""

    acknowledges: Iterator[Exception | None] = iter(())

    def flush(self) -> None:
        if error := next(self.acknowledges, None):
            raise error


def delivery_of(bus: MemoryBus, spool: Spool, *acknowledges: Exception | None) -> Delivery:
    answers = iter(acknowledges)

    def connect() -> Flaky:
        producer = Flaky(bus)
        producer.acknowledges = answers
        return producer

    return Delivery(spool, connect, LOG)


def test_an_acknowledgement_that_comes_late_doubles_nothing(world: World, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "own", 1, LOG)
    delivery = delivery_of(world.bus, spool, BusUnavailable("slow"), BusUnavailable("slow"))
    spool.append([("inferences", b"a", b"1"), ("inferences", b"b", b"2")])
    for _ in range(2):
        with pytest.raises(BusUnavailable):
            delivery.deliver()
    assert spool.count() == 2
    delivery.deliver()
    assert spool.count() == 0
    values = [record.value for record in world.bus.read_all(["inferences"])]
    assert sorted(values) == [b"1", b"2"]


def test_what_the_client_gave_up_is_sent_again(world: World, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "own", 1, LOG)
    delivery = delivery_of(world.bus, spool, BusGaveUp("fatal"))
    spool.append([("inferences", b"a", b"1")])
    with pytest.raises(BusGaveUp):
        delivery.deliver()
    delivery.deliver()
    assert spool.count() == 0
    assert {record.value for record in world.bus.read_all(["inferences"])} == {b"1"}


def breaking(monkeypatch: pytest.MonkeyPatch, value: bytes, times: int) -> None:
    """One record fails as nobody foresaw, so often."""
    send, left = MemoryProducer.send, iter(range(times))

    def breaks(self: MemoryProducer, topic: str, key: bytes | None, sent: bytes | None) -> None:
        if sent == value and next(left, None) is not None:
            raise ValueError("unforeseen")
        send(self, topic, key, sent)

    monkeypatch.setattr(MemoryProducer, "send", breaks)


def delivered(delivery: Delivery) -> list[bytes | None]:
    """All that is on Kafka, once the spool was tried for long enough."""
    for _ in range(20):
        with suppress(ValueError):
            delivery.deliver()
    return [record.value for record in MemoryBus.read_all(delivery.connect().bus, ["inferences"])]


def test_what_an_unforeseen_error_kept_from_kafka_is_sent_again_and_nothing_is_doubled(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round of which only some was sent must not pass for delivered."""
    spool = Spool(tmp_path / "own", 1, LOG)
    delivery = delivery_of(world.bus, spool)
    spool.append([("inferences", b"k", str(n).encode()) for n in range(6)])
    breaking(monkeypatch, b"2", times=2)
    assert delivered(delivery) == [str(n).encode() for n in range(6)]
    assert (spool.count(), spool.set_aside()) == (0, [])


@pytest.mark.parametrize("poison", [{0}, {2, 3}, {5}, set(range(6))])
def test_records_that_fail_each_time_are_set_aside_by_name_and_hold_up_no_other(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: set[int]
) -> None:
    spool = Spool(tmp_path / "own", 1, LOG)
    shown: list[Any] = []
    delivery = delivery_of(world.bus, spool)
    delivery.show = shown.append
    send = MemoryProducer.send

    def breaks(self: MemoryProducer, topic: str, key: bytes | None, value: bytes | None) -> None:
        if int(value or b"") in poison:
            raise TypeError("no such value")
        send(self, topic, key, value)

    monkeypatch.setattr(MemoryProducer, "send", breaks)
    spool.append([("inferences", f"r{n}".encode(), str(n).encode()) for n in range(6)])
    for _ in range(50):
        with suppress(TypeError):
            delivery.deliver()
    sent = [record.value for record in world.bus.read_all(["inferences"])]
    assert sorted(sent) == [str(n).encode() for n in range(6) if n not in poison]
    aside = [(f"r{n}", "TypeError('no such value')") for n in sorted(poison)]
    assert (spool.count(), spool.set_aside()) == (0, aside)
    assert metrics.SET_ASIDE._value.get() == len(poison)
    assert shown[-1] == dict(aside[-5:])


def test_a_record_that_fails_holds_up_nothing_that_goes_past_it_and_is_not_lost(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "own", 1, LOG)
    delivery = delivery_of(world.bus, spool)
    breaking(monkeypatch, b"v", times=1)
    spool.append([("inferences", b"k", b"v")])
    past: Future[None] = Future()
    delivery._direct.append(([("inferences", b"k", b"past")], past))
    delivery.deliver()
    assert past.done()
    delivery.deliver()
    assert [record.value for record in world.bus.read_all(["inferences"])] == [b"past", b"v"]


def test_an_outage_sets_nothing_aside(world: World, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "own", 1, LOG)
    delivery = delivery_of(world.bus, spool)
    spool.append([("inferences", b"k", b"v")])
    world.bus.down = True
    for _ in range(20):
        with pytest.raises(BusUnavailable):
            delivery.deliver()
    world.bus.down = False
    delivery.deliver()
    assert [record.value for record in world.bus.read_all(["inferences"])] == [b"v"]
    assert spool.set_aside() == []


def test_what_is_set_aside_stays_over_a_restart_and_is_sent_once_an_operator_says_so(
    world: World, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "own", 64, LOG)
    delivery = delivery_of(world.bus, spool)
    spool.append([("inferences", b"r1", b"x" * 11_000_000), ("inferences", b"r2", b"2")])
    delivery.deliver()
    spool.append([("inferences", b"r3", b"3")])
    spool.close()
    again = Spool(tmp_path / "own", 64, LOG)
    successor = delivery_of(world.bus, again)
    successor.deliver()
    ((key, error),) = again.set_aside()
    assert (key, "too large" in error) == ("r1", True)
    assert [record.value for record in world.bus.read_all(["inferences"])] == [b"2", b"3"]
    again.close()
    with closing(sqlite3.connect(again.path)) as file:
        file.execute("UPDATE events SET value = 'now smaller'")
        file.execute("DELETE FROM set_aside")
        file.commit()
    mended = Spool(tmp_path / "own", 64, LOG)
    delivery_of(world.bus, mended).deliver()
    assert len(list(world.bus.read_all(["inferences"]))) == 3
    assert (mended.count(), mended.set_aside()) == (0, [])


def test_a_disk_that_cannot_note_what_is_set_aside_loses_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "own", 64, LOG)
    delivery = delivery_of(world.bus, spool)
    spool.append([("inferences", b"r1", b"x" * 11_000_000)])
    with monkeypatch.context() as during:

        def full(*_: Any) -> None:
            raise SpoolFull("the disk is full")

        during.setattr(spool, "remove", full)
        with pytest.raises(SpoolFull):
            delivery.deliver()
    spool.append([("inferences", b"r2", b"2")])
    delivery.deliver()
    assert [key for key, _ in spool.set_aside()] == ["r1"]
    assert [record.value for record in world.bus.read_all(["inferences"])] == [b"2"]


def test_the_spool_of_an_older_release_is_sent(world: World, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with closing(sqlite3.connect(tmp_path / "own" / "events.sqlite")) as file:
        file.execute(
            "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL,"
            " key BLOB, value BLOB)"
        )
        file.execute("INSERT INTO events VALUES (7, 'inferences', x'00', x'01')")
        file.commit()
    spool = Spool(tmp_path / "own", 1, LOG)
    delivery_of(world.bus, spool).deliver()
    assert [record.value for record in world.bus.read_all(["inferences"])] == [b"\x01"]
    assert spool.count() == 0


def test_a_client_that_cannot_be_made_stops_delivery_no_longer_than_that(
    world: World, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "own", 1, LOG)
    spool.append([("inferences", b"k", b"v")])
    faults = iter([RuntimeError("no threads")])

    def connect() -> MemoryProducer:
        if fault := next(faults, None):
            raise fault
        return MemoryProducer(world.bus)

    delivery = Delivery(spool, connect, LOG)
    with pytest.raises(RuntimeError, match="no threads"):
        delivery.deliver()
    delivery.deliver()
    assert spool.count() == 0
    assert [record.value for record in world.bus.read_all(["inferences"])] == [b"v"]


@pytest.mark.parametrize(
    ("told", "aside"),
    [
        ([("inferences", b"r1", b"1"), ("inferences", b"r3", b"3")], [1, 3]),
        ([], range(5)),  # nobody knows which
    ],
)
def test_what_the_broker_refuses_of_a_round_is_set_aside_and_counted_once(
    world: World, tmp_path: Path, told: Any, aside: Sequence[int]
) -> None:
    spool = Spool(tmp_path / "own", 64, LOG)
    refused = BusRefused("too large", told)
    delivery = delivery_of(world.bus, spool, BusUnavailable("slow"), refused)
    spool.append([("inferences", f"r{n}".encode(), str(n).encode()) for n in range(5)])
    with pytest.raises(BusUnavailable):
        delivery.deliver()
    assert spool.set_aside() == []
    delivery.deliver()
    assert spool.set_aside() == [(f"r{n}", "too large") for n in aside]
    assert (spool.count(), metrics.SET_ASIDE._value.get()) == (0, len(aside))


def test_what_kafka_refuses_past_the_spool_is_counted_as_dropped(
    world: World, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "own", 1, LOG)
    record = ("inferences", b"r", b"v")
    delivery = delivery_of(world.bus, spool, BusRefused("too large", [record]))
    before = metrics.UNLOGGED._value.get()
    delivery.start()
    delivery.send_past_spool([record])
    delivery.stop(10)
    assert metrics.UNLOGGED._value.get() == before + 1


def test_two_routers_do_not_share_a_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.router.spool.OPEN_SECONDS", 0.1)
    spool = Spool(tmp_path, 1, LOG)
    spool.append([("t", b"k", b"v")])
    with pytest.raises(BadConfig, match=r"events\.sqlite.*locked"):
        Spool(tmp_path, 1, LOG)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(BadConfig, match=r"state.*[Nn]ot a directory"):
        Spool(tmp_path / "state" / "spool", 1, LOG)


def test_a_torn_file_is_set_aside_and_the_router_starts(tmp_path: Path) -> None:
    (tmp_path / "events.sqlite").write_bytes(b"no database, but longer than a header is" * 99)
    spool = Spool(tmp_path, 1, LOG)
    assert spool.append([("t", b"k", b"v")]) == 1
    assert (tmp_path / "events.sqlite.unreadable").exists()


@pytest.mark.parametrize("lost", [range(2, 60), range(40, 60)])
def test_a_file_whose_pages_were_overwritten_is_set_aside_and_the_router_starts(
    tmp_path: Path, lost: range
) -> None:
    """Its header says that nothing is wrong."""
    spool = Spool(tmp_path, 1, LOG)
    spool.append([("t", b"k", b"x" * 1000)] * 300)
    spool.close()
    with (tmp_path / "events.sqlite").open("r+b") as file:
        for page in lost:
            file.seek(page * PAGE_BYTES)
            file.write(b"\xa5" * PAGE_BYTES)
    again = Spool(tmp_path, 1, LOG)
    assert (again.count(), again.append([("t", b"k", b"v")])) == (0, 1)
    assert [record.value for record in again.after(0, 10)] == [b"v"]
    assert (tmp_path / "events.sqlite.unreadable").exists()


def test_others_cannot_read_what_people_wrote(tmp_path: Path) -> None:
    Spool(tmp_path / "spool", 1, LOG)
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_what_is_appended_is_synced(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1, LOG)
    spool.remove(spool.append([("t", b"k", b"v")]))  # which is not
    with spool._used() as file:
        (level,) = file.execute("PRAGMA synchronous").fetchone()
    assert level == 2  # FULL
    assert sqlite3.threadsafety == 3  # a connection may be shared


def test_a_router_that_ends_while_kafka_is_away_leaves_the_rest_for_the_next_start(
    world: World,
) -> None:
    world.bus.down = True
    world.delivery.appended(world.spool.append([("inferences", b"k", b"v")]))
    world.delivery.stop(0.3)
    assert world.delivery._thread is not None
    until(lambda: not world.delivery._thread.is_alive())
    assert world.spool.count() == 1
    world.bus.down = False
    world.start()
    until(lambda: world.spool.count() == 0)
    assert [record.value for record in world.bus.read_all(["inferences"])] == [b"v"]


def test_who_waits_for_the_log_is_answered_once_kafka_has_it(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])

    async def app(stub: Any, _: Any) -> None:
        world.bus.down = True
        waiting = asyncio.ensure_future(stub.Predict(ask(request_id="waits")))
        await stub.Predict(ask(request_id="does-not", wait_for_log=False))
        assert not waiting.done()
        world.bus.down = False
        await waiting
        assert {("waits", "live"), ("waits", "shadow")} <= set(logged(world))

    talk(world, app)


def test_nothing_is_kept_of_calls_that_no_longer_wait_for_the_log(world: World) -> None:
    """Apps ask again and again while Kafka is away."""
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, _: Any) -> None:
        world.bus.down = True
        for n in range(5):
            call = stub.Predict(ask(request_id=f"r{n}"))
            await reached(lambda: world.predictor._settling)
            call.cancel()
            await reached(lambda: not world.predictor._settling)
        assert not world.predictor._under_way
        assert len(world.delivery._awaited) <= 1  # the last one, until somebody waits again
        world.bus.down = False

    talk(world, app)


def test_calls_that_wait_for_the_log_are_bounded_and_hold_up_no_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "CAPACITY", 2)
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, _: Any) -> None:
        world.bus.down = True
        waiting = [asyncio.ensure_future(stub.Predict(ask(request_id=f"r{n}"))) for n in range(2)]
        await reached(lambda: len(world.predictor._settling) == 2)
        code, _details = await refused(stub.Predict(ask(request_id="r2")))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        await stub.Predict(ask(request_id="r3", wait_for_log=False))
        world.bus.down = False
        await asyncio.gather(*waiting)

    talk(world, app)
