"""The router between its two edges: gRPC in front, the bus behind, a fake engine inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import releasing
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from releasing import NOW

from driftgate.artifacts import Artifacts
from driftgate.bus_memory import MemoryBus
from driftgate.classifier.serving import Prediction
from driftgate.clock import WorldClock
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, BusUnavailable
from driftgate.health import Health, log_for
from driftgate.router_pb import router_pb2, router_pb2_grpc
from services.router import predictor as predicting
from services.router.follower import Follower
from services.router.predictor import Predictor
from services.router.server import SERVICE, Router, health_checks, listen, show
from services.router.versions import Versions

CODEC = Codec.load(Settings().schemas)
MODEL = "routed-model"


@dataclass(eq=False)
class FakeEngine:
    """Answers with the name of the version. `asked` is every call it got."""

    loaded: set[str] = field(default_factory=set)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    fail: Exception | None = None

    def load(self, name: str, folder: Path) -> None:
        if (folder / "labels.json").read_text() == "bad":
            raise BadConfig("labels.json: got 'bad'")
        self.loaded.add(name)

    def unload(self, name: str) -> None:
        self.loaded.discard(name)

    def resident(self) -> frozenset[str]:
        return frozenset(self.loaded)

    def predict_many(self, asked: Mapping[str, Sequence[str]]) -> dict[str, list[Prediction]]:
        if self.fail:
            raise self.fail
        assert set(asked) <= self.loaded
        self.asked.append({name: list(texts) for name, texts in asked.items()})
        return {
            name: [Prediction(f"{name[:4]}:{text}", 0.75, 0.5, 3) for text in texts]
            for name, texts in asked.items()
        }


@dataclass
class World:
    """A router on fakes, and what a promoter and an app do to it."""

    home: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    engine: FakeEngine = field(default_factory=FakeEngine)
    clock: WorldClock = field(default_factory=lambda: WorldClock(NOW))

    def __post_init__(self) -> None:
        self.bus.ensure(CODEC.topics.by_name.values())
        self.artifacts = Artifacts(f"file://{self.home / 'artifacts'}")
        self.repo = releasing.publish_repo(self.home / "repo", self.artifacts, MODEL)
        self.topics = releasing.Topics(self.bus, CODEC)
        self.start()

    def start(self) -> None:
        """As a new process does: nothing of the one before but its folder."""
        compute = ThreadPoolExecutor(1)
        state = self.home / "state"
        self.engine = FakeEngine()
        self.versions = Versions(
            self.artifacts, state, state / "routing.json", lambda *_: self.engine, compute
        )
        log, health = log_for("router"), Health("router")
        self.follower = Follower(
            "router-0", self.bus, CODEC, self.clock, self.versions, log, health
        )
        self.predictor = Predictor(self.versions, self.bus, CODEC, log)

    def adapter(self, content: str) -> str:
        folder = self.home / f"adapter-{content}"
        folder.mkdir(exist_ok=True)
        (folder / "labels.json").write_text(content)
        return self.artifacts.put_folder(folder)

    def arm(self, version: int, weight: int = 0, content: str = "") -> dict[str, Any]:
        return releasing.arm(version, self.adapter(content or str(version)), weight)

    def route(self, epoch: int, arms: list[Any], shadows: Sequence[Any] = (), **more: Any) -> None:
        record = releasing.routing(MODEL, self.repo, epoch, arms, list(shadows), **more)
        self.topics.send("routing", record)
        self.follower.look()

    def read(self, topic: str) -> list[dict[str, Any]]:
        return self.topics.read(topic, MODEL)

    def acks(self) -> list[tuple[int, str]]:
        return [(ack["epoch"], ack["status"]) for ack in self.read("routing.acks")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Any]:
    """The router behind a gRPC channel."""
    checks = await health_checks()
    router = Router(world.versions, world.predictor, world.clock)
    server, port = await listen(router, checks, "127.0.0.1:0")
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
    named = {"model": MODEL, "text": "hello", "time_ms": NOW} | fields
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
        world.bus.down = True
        code, _ = await refused(stub.Predict(ask(slices=inside, request_id="r")))
        assert code == grpc.StatusCode.UNAVAILABLE
        world.bus.down = False
        assert (await stub.Predict(ask(slices=inside, request_id="r"))).request_id == "r"

    talk(world, early)
    assert [event["request_id"] for event in world.read("inferences")] == ["r"]


def test_a_full_queue_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "CAPACITY", 2)
    world.start()
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


def test_a_batch_that_fails_is_told_and_the_next_is_answered(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])

    async def app(stub: Any, _: Any) -> None:
        world.engine.fail = RuntimeError("out of memory")
        assert (await refused(stub.Predict(ask())))[0] == grpc.StatusCode.UNKNOWN
        world.engine.fail = None
        assert (await stub.Predict(ask())).version == 1

    talk(world, app)


def test_an_epoch_is_acknowledged_once_it_is_resident_and_the_old_goes(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2, 10_000)
    world.route(1, [one])
    world.route(2, [two], [world.arm(1)])
    world.route(3, [two])
    assert world.acks() == [(1, "serving"), (2, "serving"), (3, "serving")]
    digests = [ack["digests"] for ack in world.read("routing.acks")]
    assert digests[1] == sorted([one["digest"], two["digest"]])
    assert world.engine.resident() == {two["digest"]}


@pytest.mark.parametrize(
    "fault", ["corrupt", "missing", "misnamed", "unusable", "light", "no folder", "no JSON"]
)
def test_what_cannot_be_served_is_refused_and_the_last_good_goes_on(
    world: World, fault: str
) -> None:
    world.route(1, [world.arm(1, 10_000)])
    bad = world.arm(2, 10_000, "bad" if fault == "unusable" else "2")
    blobs = world.home / "artifacts" / "blobs"
    match fault:
        case "corrupt":
            (blob,) = (b for b in blobs.rglob("*") if b.is_file() and b.read_bytes() == b"2")
            blob.write_bytes(b"3")
        case "missing":
            (blobs / bad["digest"][:2] / bad["digest"]).unlink()
        case "misnamed":
            bad["digest"] = "0" * 64
        case "no folder":
            bad = releasing.arm(2, world.artifacts.put_json({"labels.json": 1}), 10_000)
        case "no JSON":
            bad = releasing.arm(2, world.artifacts.put(b"\xff"), 10_000)
        case "light":
            bad["weight"] = 9_999
    world.route(2, [bad])
    assert world.acks() == [(1, "serving"), (2, "refused")]
    assert world.read("routing.acks")[1]["reason"]
    assert world.versions.snapshot[MODEL].routing["epoch"] == 1
    world.route(3, [world.arm(4, 10_000)])
    assert world.acks()[-1] == (3, "serving")


def test_a_stale_epoch_is_refused(world: World) -> None:
    world.route(7, [world.arm(1, 10_000)])
    world.route(6, [world.arm(2, 10_000)])
    world.route(7, [world.arm(2, 10_000)])
    assert world.acks() == [(7, "serving"), (6, "refused"), (7, "refused")]
    assert world.versions.snapshot[MODEL].routing["arms"][0]["version"] == 1


def test_a_poison_record_stops_nothing(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    for topic in ("routing", "clock"):
        world.bus.producer().send(topic, b"\xff", b"\x00poison")
    world.follower.look()
    world.route(2, [world.arm(2, 10_000)])
    assert world.acks() == [(1, "serving"), (2, "serving")]


def test_an_acknowledgement_that_fails_is_made_up_for(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    (acks,) = (p for p in world.bus.logs if p.topic == "routing.acks")
    kept = world.bus.logs.pop(acks)
    with pytest.raises(BusUnavailable):
        world.route(2, [world.arm(2, 10_000)])
    world.follower.leave()
    world.bus.logs[acks] = kept
    world.follower.look()
    assert world.acks() == [(1, "serving"), (2, "serving")]


def test_a_restart_serves_the_same_with_and_without_kafka(world: World) -> None:
    world.route(4, [world.arm(1, 10_000)])
    before = world.versions.snapshot[MODEL].routing
    world.bus.down = True
    world.start()
    world.follower.recall()
    assert world.versions.snapshot[MODEL].routing == before
    assert world.engine.resident() == {before["arms"][0]["digest"]}
    world.bus.down = False
    world.follower.look()
    assert world.acks() == [(4, "serving"), (4, "serving")]


def test_the_clock_follows_the_worlds_ticks(world: World) -> None:
    world.topics.send("clock", {"world": "w", "time": NOW + 5, "positions": {}})
    world.follower.look()
    assert world.clock.now() == NOW + 5


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
