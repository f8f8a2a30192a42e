"""The router of models that write: gRPC in front, the bus behind, a fake writer inside."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
import releasing
from releasing import NOW
from router_harness import BASE, MODEL
from writing_world import WritingWorld, publish_repo

from driftgate.errors import BadConfig, UpstreamUnavailable
from driftgate.events import Routing
from driftgate.generator.prompt import Prompt
from driftgate.router_pb import router_pb2, router_pb2_grpc
from services.router import writing
from services.router.server import Router, health_checks, listen

SYSTEM = Prompt("Be brief.", "{text}")


@pytest.fixture
def world(tmp_path: Path) -> WritingWorld:
    return WritingWorld(tmp_path)


@asynccontextmanager
async def serving(world: WritingWorld) -> AsyncIterator[Any]:
    server, port = await listen(Router(world.front), await health_checks(), "127.0.0.1:0")
    answering = asyncio.create_task(world.predictor.run())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield router_pb2_grpc.RouterStub(channel)
    await server.stop(0)
    await world.writing.end(5)
    answering.cancel()


def talk(world: WritingWorld, said: Callable[[Any], Awaitable[None]]) -> None:
    async def conversation() -> None:
        async with serving(world) as stub:
            await said(stub)

    asyncio.run(conversation())


def ask(**fields: Any) -> Any:
    named = {"model": MODEL, "text": "hello", "time_ms": NOW, "wait_for_log": True} | fields
    return router_pb2.GenerateRequest(**named)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_text_is_written_logged_and_given(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        reply = await stub.Generate(ask(request_id="r", subject="ana", slices={"language": "es"}))
        assert reply.text
        assert reply.finish_reason in {"stop", "length"}
        (event,) = world.read("inferences")
        assert event["output"] == reply.text
        assert event["request_id"] == reply.request_id == "r"
        assert event["version"] == reply.version == 1
        assert event["prompt"] == reply.prompt == SYSTEM.digest
        assert event["tokens_in"] == reply.tokens_in > 0
        assert event["tokens_out"] == reply.tokens_out
        assert event["tokens"] == reply.tokens_in + reply.tokens_out
        assert event["logprob"] == pytest.approx(reply.logprob)
        assert event["finish_reason"] == reply.finish_reason
        assert 0 <= event["first_token_ms"] <= event["latency_ms"]
        assert event["slices"] == {"language": "es"}
        assert (event["epoch"], event["propensity"], event["role"]) == (1, 1.0, "live")

    talk(world, said)


def test_pieces_are_the_text_and_the_last_one_comes_once_it_is_logged(
    world: WritingWorld,
) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        pieces = [piece async for piece in stub.GenerateStream(ask(request_id="r"))]
        *texts, done = pieces
        assert len(texts) > 1
        assert "".join(piece.text for piece in texts) == done.done.text
        assert [event["output"] for event in world.read("inferences")] == [done.done.text]
        again = await stub.Generate(ask(request_id="r"))
        assert again.text == done.done.text

    talk(world, said)


def test_predict_answers_for_a_model_that_writes_too(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        asked = router_pb2.PredictRequest(
            model=MODEL, text="hello", request_id="r", time_ms=NOW, wait_for_log=True
        )
        reply = await stub.Predict(asked)
        whole = await stub.Generate(ask(request_id="r"))
        assert reply.label == whole.text
        assert 0 < reply.confidence <= 1

    talk(world, said)


def test_an_operators_prompt_is_what_the_model_is_asked_with(world: WritingWorld) -> None:
    kind = Prompt("Be kind.", "Customer: {text}")
    told = {"digest": kind.digest, "system": kind.system, "template": kind.template}
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        before = await stub.Generate(ask(request_id="r"))
        world.route(2, [world.arm(1, 10_000, prompt=told)])
        after = await stub.Generate(ask(request_id="r"))
        assert (before.prompt, after.prompt) == (SYSTEM.digest, kind.digest)
        assert after.tokens_in != before.tokens_in
        routed = await stub.Route(router_pb2.RouteRequest(model=MODEL, request_id="r"))
        assert routed.prompt.digest == kind.digest
        assert (routed.prompt.system, routed.prompt.template) == ("Be kind.", "Customer: {text}")

    talk(world, said)


def test_a_caller_who_goes_away_ends_the_writing_and_leaves_an_event(
    world: WritingWorld,
) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        world.writer.holds_at = 5 + len(world.writer.steps)
        call = stub.GenerateStream(ask(request_id="r"))
        async for piece in call:
            assert piece.text
            break
        (open_,) = world.writing._calls
        call.cancel()
        await until(lambda: open_.left)
        world.writer.may_step.set()
        await until(lambda: bool(world.read("inferences")))
        (event,) = world.read("inferences")
        assert event["finish_reason"] == "cancelled"
        assert event["output"]
        assert event["tokens_out"] < 40
        await until(lambda: not world.writer.busy)

    talk(world, said)


def test_a_caller_who_goes_away_before_the_first_token_leaves_an_event(
    world: WritingWorld,
) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        world.writer.may_step.clear()
        call = stub.Generate(ask(request_id="r"))
        await until(lambda: bool(world.writing._calls))
        call.cancel()
        (open_,) = world.writing._calls
        await until(lambda: open_.left)
        world.writer.may_step.set()
        await until(lambda: bool(world.read("inferences")))
        (event,) = world.read("inferences")
        assert event["finish_reason"] == "cancelled"
        assert event["tokens_out"] <= 1

    talk(world, said)


def test_shadows_write_too_and_nobody_waits_for_them(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])

    async def said(stub: Any) -> None:
        reply = await stub.Generate(ask(request_id="r", wait_for_log=False))
        await until(lambda: len(world.read("inferences")) == 2)
        by_role = {event["role"]: event for event in world.read("inferences")}
        assert by_role["live"]["output"] == reply.text
        assert by_role["shadow"]["version"] == 2
        assert by_role["shadow"]["output"] != reply.text
        assert by_role["shadow"]["prompt"] == SYSTEM.digest

    talk(world, said)


def test_who_waits_for_the_log_finds_the_shadows_there(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])

    async def said(stub: Any) -> None:
        await asyncio.gather(*(stub.Generate(ask(request_id=f"r-{n}")) for n in range(5)))
        assert len(world.read("inferences")) == 10

    talk(world, said)


def test_requests_are_written_side_by_side(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        world.writer.may_step.clear()
        calls = [stub.Generate(ask(request_id=f"r-{n}")) for n in range(8)]
        asked = [asyncio.ensure_future(call) for call in calls]
        await until(lambda: len(world.writing._calls) == 8)
        world.writer.may_step.set()
        await asyncio.gather(*asked)
        assert max(world.writer.steps) == 8

    talk(world, said)


def test_a_long_text_delays_no_model_that_chooses(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)])
    labels = world.home / "labels"
    chooses = super(WritingWorld, world).arm(1, 10_000)
    repo = releasing.publish_repo(labels, world.artifacts, "chooses")
    world.topics.send(
        "routing",
        releasing.routing("chooses", repo, 1, [chooses], [], base="base-b"),
    )
    world.look()

    async def said(stub: Any) -> None:
        world.writer.may_step.clear()
        writes = asyncio.ensure_future(stub.Generate(ask(request_id="r")))
        await until(lambda: bool(world.writing._calls))
        asked = router_pb2.PredictRequest(model="chooses", text="x", time_ms=NOW)
        assert (await stub.Predict(asked)).label
        assert not writes.done()
        with pytest.raises(grpc.aio.AioRpcError, match="Predict answers for this one"):
            await stub.Generate(ask(model="chooses"))
        world.writer.may_step.set()
        await writes

    talk(world, said)


def test_what_breaks_an_engine_fails_what_is_open_and_nothing_after(
    world: WritingWorld,
) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        world.writer.fails = RuntimeError("out of memory")
        with pytest.raises(grpc.aio.AioRpcError, match=r"routed-model@1 cannot answer.*memory"):
            await stub.Generate(ask(request_id="r"))
        world.writer.fails = None
        assert (await stub.Generate(ask(request_id="s"))).text
        (told,) = world.counter.due(10.0**9, NOW)
        assert (told.versions[0].errors, told.versions[0].answers) == (1, 1)

    talk(world, said)


def test_an_outage_of_who_computes_is_told_and_blamed_on_no_version(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        world.writer.fails = UpstreamUnavailable("the server is away")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Generate(ask())
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        world.writer.fails = None
        assert (await stub.Generate(ask())).text
        assert not [told for told in world.counter.due(10.0**9, NOW) if told.versions[0].errors]

    talk(world, said)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"text": " "}, "text"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 2.0}, "top_p"),
        ({"stop": [""]}, "stop"),
        ({"stop": [f"{n}" for n in range(17)]}, "stop"),
        ({"text": "a" * 20_001}, "text"),
    ],
)
def test_what_cannot_be_asked_names_the_field(
    world: WritingWorld, fields: dict[str, Any], why: str
) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Generate(ask(**fields))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert why in (refused.value.details() or "")
        assert (await stub.Generate(ask())).text

    talk(world, said)


def test_a_request_says_how_it_wants_its_text_within_what_is_declared(
    world: WritingWorld,
) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        short = await stub.Generate(ask(request_id="r", max_new_tokens=3))
        assert (short.tokens_out, short.finish_reason) == (3, "length")
        declared = await stub.Generate(ask(request_id="r", max_new_tokens=4_000))
        assert declared.tokens_out <= 40
        other = await stub.Generate(ask(request_id="r", stop=[declared.text[2]]))
        assert declared.text.startswith(other.text)
        assert len(other.text) <= 2

    talk(world, said)


def test_a_version_that_is_swapped_meanwhile_costs_no_request(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        open_: list[Any] = []
        for epoch in range(2, 12):
            open_ += [asyncio.ensure_future(stub.Generate(ask())) for _ in range(3)]
            record = [world.arm(epoch % 3 + 1, 10_000)]
            await asyncio.to_thread(world.route, epoch, record)
        replies = await asyncio.gather(*open_)
        assert all(reply.text for reply in replies)
        assert len(world.read("inferences")) == 30

    talk(world, said)


def test_a_full_queue_is_told(world: WritingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        world.writer._queue, world.writer._places = 0, 1
        world.writer.may_step.clear()
        first = asyncio.ensure_future(stub.Generate(ask()))
        await until(lambda: bool(world.writer._begun))
        refused = asyncio.ensure_future(stub.Generate(ask()))
        world.writer.may_step.set()
        replies = await asyncio.gather(first, refused, return_exceptions=True)
        codes = [r.code() for r in replies if isinstance(r, grpc.aio.AioRpcError)]
        assert codes in ([], [grpc.StatusCode.RESOURCE_EXHAUSTED])

    talk(world, said)


def test_shadows_that_wait_are_bounded(
    world: WritingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "CAPACITY", 2)
    monkeypatch.setattr(writing, "SHADOWS_BESIDE", 0)
    monkeypatch.setattr(writing, "SHADOWS", 0)
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])

    async def said(stub: Any) -> None:
        for _ in range(5):
            await stub.Generate(ask(wait_for_log=False))
        assert len(world.writing._shadows) == 2

    talk(world, said)


@pytest.mark.parametrize("wait_for_log", [False, True])
@pytest.mark.parametrize("breaks", ["the question", "the writing"])
def test_shadows_try_what_breaks_who_is_heard(
    world: WritingWorld, breaks: str, wait_for_log: bool
) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])

    def refuses(*_: Any) -> Any:
        raise BadConfig("the chat template refuses a system prompt")

    async def said(stub: Any) -> None:
        if breaks == "the question":
            world.writer.prompt = refuses
        else:
            world.writer.fails = RuntimeError("out of memory")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot answer"):
            await stub.Generate(ask(request_id="r", wait_for_log=wait_for_log))
        await until(lambda: not world.writing._under_way)
        (told,) = world.counter.due(10.0**9, NOW)
        errors = {one.version: (one.errors, one.shadow_errors) for one in told.versions}
        assert errors == {1: (1, 0), 2: (0, 1)}

    talk(world, said)


def test_an_answer_is_logged_however_long_its_shadows_write(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2, base="base-b")])

    async def said(stub: Any) -> None:
        slow = world.writers["base-b"]
        slow.may_step.clear()
        call = asyncio.ensure_future(stub.Generate(ask(request_id="r")))
        await until(lambda: bool(world.read("inferences")))
        call.cancel()
        slow.may_step.set()

    talk(world, said)


def test_an_engine_that_serves_nobody_any_more_is_forgotten(world: WritingWorld) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2, base="base-b")])

    async def said(stub: Any) -> None:
        await stub.Generate(ask())
        world.route(2, [world.arm(2, 10_000, base="base-b")])
        await stub.Generate(ask())
        left = weakref.ref(world.writers.pop(BASE))

        def gone() -> bool:
            gc.collect()
            return left() is None

        await until(gone)

    talk(world, said)


def test_as_many_shadows_write_at_once_as_may_be_it_several_of_a_request(
    world: WritingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SHADOWS_BESIDE", 0)
    monkeypatch.setattr(writing, "SHADOWS", 2)
    world.route(1, [world.arm(1, 10_000)], [world.arm(n) for n in (2, 3, 4)])

    async def said(stub: Any) -> None:
        calls = [stub.Generate(ask(request_id=f"r-{n}", wait_for_log=False)) for n in range(2)]
        await asyncio.gather(*calls)
        await until(lambda: len(world.read("inferences")) == 8)
        assert max(world.writer.steps) == 3

    talk(world, said)


def test_a_shadow_that_is_unloaded_while_it_waits_is_no_failure(world: WritingWorld) -> None:
    shadow = world.arm(2, base="base-b")
    world.route(1, [world.arm(1, 10_000)], [shadow])
    engine, free = world.writers["base-b"], Event()
    thread = world.versions.thread(engine)

    async def said(stub: Any) -> None:
        thread.submit(free.wait, 20)
        thread.submit(engine.unload, shadow["digest"])
        await stub.Generate(ask(wait_for_log=False))
        await until(lambda: engine in world.writing._decoders)
        free.set()
        await until(lambda: not world.writing._under_way)
        (told,) = world.counter.due(10.0**9, NOW)
        assert sum(one.shadow_errors for one in told.versions) == 0

    talk(world, said)


def test_a_version_that_waits_to_be_unloaded_holds_up_no_other_model(
    world: WritingWorld,
) -> None:
    world.route(1, [world.arm(1, 10_000)], [world.arm(2)])
    thread: Any = world.versions.thread(world.writer)
    free = Event()
    thread.submit(free.wait, 60)
    chooses = super(WritingWorld, world).arm(1, 10_000)
    repo = releasing.publish_repo(world.home / "labels", world.artifacts, "chooses")
    other = releasing.routing("chooses", repo, 1, [chooses], [], base="base-b")
    with ThreadPoolExecutor(2) as loads:
        try:
            record = Routing.of(world.record(2, [world.arm(1, 10_000)]))
            waits = loads.submit(world.versions.serve, record)
            releasing.until(thread._work_queue.qsize)
            loads.submit(world.versions.serve, Routing.of(other)).result(20)
            assert not waits.done()
        finally:
            free.set()
    assert world.writer.resident() == {world.arm(1)["digest"]}


def test_a_model_repo_without_a_prompt_in_the_record_says_it_itself(
    world: WritingWorld,
) -> None:
    world.repo = publish_repo(world.home / "another", world.artifacts, "Be exact.")
    world.route(1, [world.arm(1, 10_000)])

    async def said(stub: Any) -> None:
        reply = await stub.Generate(ask())
        assert reply.prompt == Prompt("Be exact.", "{text}").digest

    talk(world, said)
    assert BASE in world.writers
