"""The router between its two edges: gRPC in front, the bus behind, a fake engine inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from releasing import NOW
from router_harness import BASE, MODEL, World

from driftgate import metrics
from driftgate.engines import Prediction
from driftgate.events import DAY_MS
from driftgate.machine_clock import machine_ms
from driftgate.router_pb import router_pb2, router_pb2_grpc
from services.router import predictor as predicting
from services.router.server import SERVICE, Router, health_checks, listen, show


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Any]:
    """The router behind a gRPC channel."""
    checks = await health_checks()
    server, port = await listen(Router(world.front), checks, "127.0.0.1:0")
    answering = asyncio.create_task(world.predictor.run())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.checks = checks
        yield channel
    answering.cancel()
    await server.stop(0)


def talk(world: World, said: Callable[[Any, Any], Awaitable[None]]) -> None:
    """Runs an app's conversation with the router."""

    async def conversation() -> None:
        async with serving(world) as channel:
            await said(router_pb2_grpc.RouterStub(channel), channel)

    asyncio.run(conversation())


def ask(**fields: Any) -> Any:
    """Unless told otherwise it waits for the log, which is read next."""
    named = {"model": MODEL, "text": "hello", "time_ms": NOW, "wait_for_log": True} | fields
    return router_pb2.PredictRequest(**named)


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details() or ""


def test_an_answer_is_logged_for_every_version_before_it_is_given(world: World) -> None:
    world.route(5, [world.arm(2, 500), world.arm(1, 9500)], [world.arm(2), world.arm(1)])

    async def app(stub: Any, _: Any) -> None:
        reply = await stub.Predict(ask(request_id="r1", subject="ana", slices={"language": "es"}))
        live, shadow = sorted(world.read("inferences"), key=lambda event: event["role"])
        assert (live["role"], shadow["role"]) == ("live", "shadow")
        assert {live["version"], shadow["version"]} == {1, 2}
        assert (reply.request_id, reply.version, reply.digest, reply.label, reply.epoch) == (
            "r1",
            live["version"],
            live["digest"],
            live["output"],
            5,
        )
        assert live["output"] != shadow["output"]
        assert live["propensity"] == (0.05 if live["version"] == 2 else 0.95)
        assert live["features"] == {"words": 1.0, "similarity": 0.5}
        assert (live["subject"], live["slices"]) == ("ana", {"language": "es"})
        assert (live["time"], live["epoch"], live["confidence"]) == (NOW, 5, 0.75)
        assert live["input"] == "hello"

    talk(world, app)


def test_concurrent_requests_share_a_batch_and_each_gets_its_own_answer(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, _: Any) -> None:
        replies = await asyncio.gather(*(stub.Predict(ask(text=f"t{n}")) for n in range(100)))
        assert [reply.label.split(":")[1] for reply in replies] == [f"t{n}" for n in range(100)]
        assert len({reply.request_id for reply in replies}) == 100

    talk(world, app)
    assert len(world.engine.asked) < 50
    assert len(world.read("inferences")) == 100


def test_route_gives_the_choice_alone(world: World) -> None:
    world.route(3, [world.arm(1, 10_000)], [world.arm(2)])

    async def app(stub: Any, _: Any) -> None:
        reply = await stub.Route(router_pb2.RouteRequest(model=MODEL, request_id="r"))
        assert (reply.version, reply.epoch, reply.propensity) == (1, 3, 1.0)
        assert list(reply.shadows) == [2]
        assert reply.adapter_uri == f"sha256:{reply.digest}"

    talk(world, app)
    assert world.read("inferences") == []


def test_statuses_tell_an_app_what_to_do(world: World) -> None:
    async def early(stub: Any, channel: Any) -> None:
        checks = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service=SERVICE)
        assert (await checks.Check(asked)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await refused(stub.Predict(ask())))[0] == grpc.StatusCode.UNAVAILABLE
        world.route(1, [world.arm(1, 10_000)], scope={"language": "en"})
        await show(channel.checks, ready=True)
        assert (await checks.Check(asked)).status == health_pb2.HealthCheckResponse.SERVING
        inside = {"language": "en"}
        for fields, status, words in [
            ({"text": ""}, grpc.StatusCode.INVALID_ARGUMENT, "text: got ''"),
            ({"time_ms": 5}, grpc.StatusCode.INVALID_ARGUMENT, "time_ms: got 5"),
            ({"model": "routed"}, grpc.StatusCode.FAILED_PRECONDITION, "did you mean"),
            ({"slices": {}}, grpc.StatusCode.FAILED_PRECONDITION, "expected 'en'"),
        ]:
            code, details = await refused(stub.Predict(ask(**({"slices": inside} | fields))))
            assert (code, words in details) == (status, True)
        assert (await stub.Predict(ask(slices=inside, request_id="r"))).request_id == "r"

    talk(world, early)
    assert [event["request_id"] for event in world.read("inferences")] == ["r"]


def test_a_full_queue_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "CAPACITY", 2)
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, _: Any) -> None:
        async def one(n: int) -> grpc.StatusCode:
            try:
                await stub.Predict(ask(text=str(n)))
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        codes = await asyncio.gather(*(one(n) for n in range(60)))
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        assert codes.count(grpc.StatusCode.OK) == len(world.read("inferences"))

    talk(world, app)


def test_an_answer_that_cannot_be_computed_is_told_and_the_next_is_given(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, _: Any) -> None:
        world.engine.fail = RuntimeError("out of memory")
        code, details = await refused(stub.Predict(ask()))
        assert code == grpc.StatusCode.INTERNAL
        assert details == f"{MODEL}@1 cannot answer: RuntimeError: out of memory"
        world.engine.fail = None
        assert (await stub.Predict(ask())).version == 1

    talk(world, app)


def failed(role: str) -> float:
    """Answers of the routed model that could not be computed, as its metric counts them."""
    return sum(
        sample.value
        for metric in metrics.FAILED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
        and (sample.labels["model"], sample.labels["role"]) == (MODEL, role)
    )


def test_a_shadow_that_raises_fails_no_live_answer_and_is_counted(world: World) -> None:
    bad, before = world.arm(2), failed("shadow")
    world.route(1, [world.arm(1, 10_000)], [bad])
    world.engine.poison = {bad["digest"]}

    async def app(stub: Any, _: Any) -> None:
        replies = await asyncio.gather(*(stub.Predict(ask(text=f"t{n}")) for n in range(20)))
        assert [reply.label.split(":")[1] for reply in replies] == [f"t{n}" for n in range(20)]

    talk(world, app)
    assert [event["role"] for event in world.read("inferences")] == ["live"] * 20
    assert failed("shadow") == before + 20


def test_a_version_that_raises_fails_only_the_requests_that_it_answers(world: World) -> None:
    """Those of the other version, of another model, and of other texts get their answers."""
    bad = world.arm(2, 5000)
    world.route(1, [bad, world.arm(1, 5000)], [bad, world.arm(1)])
    world.route(1, [world.arm(3, 10_000)], model="another")
    world.engine.poison = {bad["digest"], "poisoned"}

    async def app(stub: Any, _: Any) -> None:
        async def one(n: int) -> tuple[int, grpc.StatusCode]:
            version = await stub.Route(router_pb2.RouteRequest(model=MODEL, request_id=f"r{n}"))
            try:
                await stub.Predict(ask(text=f"t{n}", request_id=f"r{n}"))
            except grpc.aio.AioRpcError as error:
                return version.version, error.code()
            return version.version, grpc.StatusCode.OK

        async def other(text: str) -> grpc.StatusCode:
            call = stub.Predict(ask(text=text, model="another"))
            try:
                await call
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        asked = [one(n) for n in range(20)] + [other("fine"), other("poisoned"), other("good")]
        *found, fine, poisoned, good = await asyncio.gather(*asked)
        assert set(found) == {(1, grpc.StatusCode.OK), (2, grpc.StatusCode.INTERNAL)}
        assert (fine, good) == (grpc.StatusCode.OK, grpc.StatusCode.OK)
        assert poisoned == grpc.StatusCode.INTERNAL

    talk(world, app)
    assert {event["version"] for event in world.read("inferences")} == {1}


@pytest.mark.parametrize(
    "odd",
    [
        Prediction("caf\udce9", 0.5, {}, 1),
        Prediction("a", float("nan"), {}, 1),
        Prediction("a", 0.5, {"similarity": float("inf")}, 1),
    ],
)
def test_an_answer_that_cannot_be_logged_fails_no_other_of_its_batch(
    world: World, odd: Prediction
) -> None:
    """Ingestion could only turn it into a dead letter, if it can be written at all."""
    world.route(1, [world.arm(1, 10_000)])
    predict = world.engine.predict_many

    def answers(asked: Any) -> Any:
        found = predict(asked)
        return {
            name: [
                odd if text == "odd" else one for text, one in zip(asked[name], said, strict=True)
            ]
            for name, said in found.items()
        }

    world.engine.predict_many = answers  # type: ignore[method-assign]
    before = failed("live")

    async def app(stub: Any, _: Any) -> None:
        calls = [stub.Predict(ask(text=text)) for text in ("a", "odd", "b")]
        first, (code, why), second = await asyncio.gather(calls[0], refused(calls[1]), calls[2])
        assert (first.label[-1], second.label[-1]) == ("a", "b")
        assert (code, "it answered with" in why) == (grpc.StatusCode.INTERNAL, True)

    talk(world, app)
    assert len(world.read("inferences")) == 2
    assert failed("live") == before + 1


def test_versions_on_different_bases_answer_side_by_side(world: World) -> None:
    theirs = {"base": "base-b", "base_digest": "b" * 64, "task": "text-classification"}
    two = world.arm(2, 5000, **theirs)
    world.route(1, [two, world.arm(1, 5000)], [two, world.arm(1)])

    async def app(stub: Any, _: Any) -> None:
        replies = await asyncio.gather(*(stub.Predict(ask(text=f"t{n}")) for n in range(20)))
        assert {reply.version for reply in replies} == {1, 2}

    talk(world, app)
    logged = world.read("inferences")
    assert {(e["version"], e["base"], e["base_digest"], e["task"]) for e in logged} == {
        (1, BASE, "", "text-classification"),
        (2, "base-b", "b" * 64, "text-classification"),
    }
    assert {(e["version"], e["role"]) for e in logged} == {
        (version, role) for version in (1, 2) for role in ("live", "shadow")
    }
    calls = [len(engine.asked) for engine in world.engines.values()]
    assert calls[0] == calls[1] < 20  # once a batch for each base


def test_what_time_it_is_says_the_newest_tick_and_the_machine_before_any(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, _: Any) -> None:
        before = machine_ms()
        await stub.Predict(ask(request_id="early", time_ms=0))
        world.tick(NOW, pace=0.0)
        await stub.Predict(ask(request_id="later", time_ms=0))
        times = {event["request_id"]: event["time"] for event in world.read("inferences")}
        assert before <= times["early"] <= machine_ms()
        assert times["later"] == NOW
        code, _ = await refused(stub.Predict(ask(time_ms=NOW + 2 * DAY_MS)))
        assert code == grpc.StatusCode.INVALID_ARGUMENT

    talk(world, app)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_answers_under_both_of_its_names(world: World, version: str) -> None:
    """ghz asks for v1 alone, and for the method that it is to call. What is listed can also be
    described."""
    name = f"grpc.reflection.{version}.ServerReflection"

    async def said(_: Any, channel: Any) -> None:
        info = channel.stream_stream(
            f"/{name}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )

        async def one(**asked: str) -> Any:
            (reply,) = [r async for r in info([reflection_pb2.ServerReflectionRequest(**asked)])]
            return reply

        listed = (await one(list_services="")).list_services_response.service
        names = {service.name for service in listed}
        assert {SERVICE, name, "grpc.health.v1.Health"} <= names
        for each in names:
            described = await one(file_containing_symbol=each)
            files = described.file_descriptor_response.file_descriptor_proto
            found = [FileDescriptorProto.FromString(file) for file in files]
            assert each in {f"{f.package}.{s.name}" for f in found for s in f.service}
        method = await one(file_containing_symbol=f"{SERVICE}.Predict")
        assert method.file_descriptor_response.file_descriptor_proto
        unknown = await one(file_containing_symbol=f"{SERVICE}.Predikt")
        assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]

    talk(world, said)
