"""Shadows answer after the heard versions, and cost no request its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from releasing import NOW, until
from router_harness import MODEL, World
from test_router_serving import ask, talk

from driftgate import metrics
from services.router import shadows as shadowing
from services.router.requests import Request
from services.router.shadows import ShadowQueue
from services.router.spool import SpoolFull


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def shed() -> float:
    return sum(
        sample.value
        for metric in metrics.SHADOWS_SHED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["model"] == MODEL
    )


async def reached(found: Any) -> None:
    """Until it is true."""
    async with asyncio.timeout(20):
        while not found():
            await asyncio.sleep(0.01)


def held_until(world: World, digest: str, released: Event) -> Event:
    """A version whose answers take until then; set once it is asked."""
    begun, predict = Event(), world.engine.predict_many

    def held_up(asked: Any) -> Any:
        if digest in asked:
            begun.set()
            assert released.wait(20)
        return predict(asked)

    world.engine.predict_many = held_up  # type: ignore[method-assign]
    return begun


def test_the_heard_answer_is_given_before_the_shadow_is_asked(world: World) -> None:
    """A shadow that hangs keeps no answer; what it says is of the same request and time."""
    slow, released = world.arm(2), Event()
    world.route(1, [world.arm(1, 10_000)], [slow])
    held_until(world, slow["digest"], released)

    async def app(stub: Any, _: Any) -> None:
        reply = await stub.Predict(ask(request_id="r", wait_for_log=False), timeout=20)
        assert reply.version == 1
        released.set()
        await reached(lambda: len(world.read("inferences")) == 2)
        heard, unheard = sorted(world.read("inferences"), key=lambda event: event["role"])
        assert (unheard["role"], unheard["version"]) == ("shadow", 2)
        for name in ("request_id", "time", "epoch", "input"):
            assert heard[name] == unheard[name]

    talk(world, app)


def test_who_answers_beside_tries_what_the_heard_version_failed_on(world: World) -> None:
    """So that what breaks both is not blamed on who was heard."""
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])

    def fails(asked: Any) -> Any:
        raise RuntimeError("odd input")

    world.engine.predict_many = fails  # type: ignore[method-assign]

    def errors() -> list[tuple[int, int, int]]:
        told = list(world.counter.due(time.monotonic(), 0))
        return [(v.version, v.errors, v.shadow_errors) for one in told for v in one.versions]

    async def app(stub: Any, _: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Predict(ask(wait_for_log=False), timeout=20)
        found: list[tuple[int, int, int]] = []

        def both() -> bool:
            found[:] = errors() or found
            return found == [(1, 1, 0), (2, 0, 1)]

        await reached(both)

    talk(world, app)


def test_shadows_that_find_no_room_are_counted_and_every_answer_is_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadowing, "CAPACITY", 3)
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])
    before = shed()

    async def app(stub: Any, _: Any) -> None:
        calls = (stub.Predict(ask(text=f"t{n}", wait_for_log=False)) for n in range(40))
        assert len(await asyncio.gather(*calls)) == 40
        await reached(lambda: len(world.read("inferences")) + shed() - before == 80)

    talk(world, app)
    assert shed() > before


def test_the_shadow_of_a_version_that_has_left_is_counted(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2)
    world.route(1, [one], [two])
    before = shed()
    predict = world.engine.predict_many

    def leaves_meanwhile(asked: Any) -> Any:
        world.engine.unload(two["digest"])
        return predict(asked)

    world.engine.predict_many = leaves_meanwhile  # type: ignore[method-assign]

    async def app(stub: Any, _: Any) -> None:
        await stub.Predict(ask(wait_for_log=False))
        await reached(lambda: shed() == before + 1 and world.read("inferences"))

    talk(world, app)
    assert [event["role"] for event in world.read("inferences")] == ["live"]


def test_a_shadow_that_cannot_be_logged_is_counted_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also beside one that had left before it was asked."""
    one, two, three = world.arm(1, 10_000), world.arm(2), world.arm(3)
    world.route(1, [one], [two, three])
    before, keep, failed = shed(), world.record_of_answers.keep, asyncio.Event()

    async def breaks(logs: Any) -> int:
        if any(event.role == "shadow" for log in logs for event in log.events):
            failed.set()
            raise SpoolFull("the disk is full")
        world.engine.unload(three["digest"])
        return await keep(logs)

    monkeypatch.setattr(world.record_of_answers, "keep", breaks)

    async def app(stub: Any, _: Any) -> None:
        await stub.Predict(ask(wait_for_log=False))
        await failed.wait()
        await world.predictor.all_given()

    talk(world, app)
    assert shed() == before + 2


def ends(world: World, busy: Callable[[], bool], seconds: float) -> None:
    """A router that ends as soon as it is busy so."""

    async def life() -> None:
        running = asyncio.create_task(world.predictor.run())
        await world.predictor.predict(Request(MODEL, "hello", "r", "", {}, NOW))
        await reached(busy)
        await world.predictor.end(running, seconds)

    asyncio.run(life())


def test_shadows_that_are_not_finished_when_the_router_ends_are_counted(world: World) -> None:
    two, released = world.arm(2), Event()
    world.route(1, [world.arm(1, 10_000)], [two])
    begun, before = held_until(world, two["digest"], released), shed()
    ends(world, begun.is_set, seconds=0.0)
    assert shed() == before + 1
    released.set()


def test_shadows_that_are_under_way_when_the_router_ends_are_finished(world: World) -> None:
    two, released = world.arm(2), Event()
    world.route(1, [world.arm(1, 10_000)], [two])
    begun, before = held_until(world, two["digest"], released), shed()

    def busy() -> bool:
        if begun.is_set():
            released.set()
        return released.is_set()

    ends(world, busy, seconds=20.0)
    until(lambda: len(world.read("inferences")) == 2)
    assert shed() == before


def test_shadows_that_wait_when_the_router_ends_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.predictor, "compute_shadows", asyncio.Event().wait)
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])
    before = shed()
    ends(world, lambda: len(world.predictor._shadows) == 1, seconds=0.0)
    assert shed() == before + 1


@pytest.mark.parametrize("seconds", [0.0, 20.0])
def test_shadows_that_are_being_logged_when_the_router_ends_are_finished_or_counted(
    world: World, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])
    before, append, logging, released = shed(), world.spool.append, Event(), Event()

    def slow(records: Any) -> int:
        if len(logged) == 1:
            logging.set()
            assert released.wait(20)
        logged.append(records)
        return append(records)

    logged: list[Any] = []
    monkeypatch.setattr(world.spool, "append", slow)

    def busy() -> bool:
        if logging.is_set() and seconds:
            released.set()
        return logging.is_set()

    ends(world, busy, seconds)
    released.set()
    assert shed() == before + (not seconds)


def test_requests_that_are_not_drawn_get_no_shadow(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)], shadow_share=0.5)

    async def app(stub: Any, _: Any) -> None:
        await asyncio.gather(*(stub.Predict(ask(request_id=f"r{n}")) for n in range(100)))

    talk(world, app)
    roles = [event["role"] for event in world.read("inferences")]
    assert roles.count("live") == 100
    assert 30 < roles.count("shadow") < 70


def test_while_requests_wait_shadows_get_their_share_of_the_time_and_no_more() -> None:
    queue: ShadowQueue = ShadowQueue()
    assert not queue.may_go(live_waits=False)
    for _ in range(100):
        queue.add(None)  # type: ignore[arg-type]
    assert queue.may_go(live_waits=False)
    assert not queue.may_go(live_waits=True)
    spent = 0.0
    for _ in range(1000):  # a second of heard answers, of 10 ms each
        queue.earn(0.01)
        if queue.may_go(live_waits=True):
            queue.spend(0.03, 1)
            spent += 0.03
    assert spent == pytest.approx(shadowing.SHARE * 10, rel=0.05)


def test_of_slow_shadows_fewer_are_computed_at_once() -> None:
    """A request that comes meanwhile waits for them."""
    queue = ShadowQueue()
    for _ in range(100):
        queue.add(None)  # type: ignore[arg-type]
    taken = []
    for seconds_each in (0.01, 0.04, 3.0, 0.01, 0.0, 0.0):
        taken.append(len(queue.take()))
        queue.spend(seconds_each * taken[-1], taken[-1])
    assert taken == [8, 8, 2, 1, 8, 8]
