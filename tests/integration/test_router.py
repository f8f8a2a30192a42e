"""The router process on real Kafka, with the real classifier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from releasing import RouterProcess, Served, Topics, until

from driftgate.artifacts import digest_of
from driftgate.bases import MINILM, resolve
from driftgate.bus_kafka import KafkaBus
from driftgate.classifier.serving import Classifier
from driftgate.codec import Codec
from driftgate.router_pb import router_pb2_grpc

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def router(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    folder = tmp_path_factory.mktemp("router")
    router = RouterProcess(stack.environment, folder).start(REPLICA="integration")
    yield router
    assert router.stop() == 0


@pytest.fixture
def served(
    kafka: KafkaBus, codec: Codec, router: RouterProcess, tmp_path: Path, request: Any
) -> Served:
    model = request.node.name.replace("_", "-")[:40]
    return Served.make(model, Topics(kafka, codec), router, tmp_path)


def under_load(served: Served, work: Callable[[], Any]) -> list[tuple[str, Any]]:
    """What eight apps asked and were answered while `work` was done; any error is raised."""
    replies: list[tuple[str, Any]] = []
    numbers = count()

    async def play() -> None:
        async with grpc.aio.insecure_channel(served.router.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            working = asyncio.create_task(asyncio.to_thread(work))

            async def app() -> None:
                while not working.done():
                    request = served.request(next(numbers))
                    replies.append((request.text, await stub.Predict(request, timeout=60)))

            await asyncio.gather(working, *(app() for _ in range(8)))

    asyncio.run(play())
    return replies


def test_a_swap_under_load_fails_no_request_and_gives_no_answer_of_another_version(
    served: Served, tmp_path: Path
) -> None:
    def swap() -> None:
        for arms, shadows in [
            ({1: 10_000}, (2,)),
            ({2: 500, 1: 9500}, (1, 2)),
            ({2: 5000, 1: 5000}, (1, 2)),
            ({2: 10_000}, ()),
            ({1: 10_000}, ()),
        ]:
            served.route(arms, shadows)

    served.route({1: 10_000})
    replies = under_load(served, swap)
    truth = Classifier(resolve(MINILM), device="cpu")
    for version, uri in served.uris.items():
        truth.load(digest_of(uri), tmp_path / f"v{version}")
    for text, reply in replies:
        assert reply.digest == digest_of(served.uris[reply.version])
        (expected,) = truth.predict(reply.digest, [text])
        assert reply.label == expected.output
        assert reply.confidence == pytest.approx(expected.confidence, abs=1e-3)
    assert {reply.version for _, reply in replies} == {1, 2}

    def log() -> list[Any]:
        return served.topics.read("inferences", served.model)

    def is_live(event: Any) -> bool:
        return bool(event["role"] == "live")

    until(lambda: sum(map(is_live, log())) >= len(replies))
    logged = until(lambda: log() if not all(map(is_live, log())) else None)
    live = [event for event in logged if is_live(event)]
    assert len(live) == len(replies)
    assert {e["request_id"]: (e["version"], e["epoch"], e["output"]) for e in live} == {
        reply.request_id: (reply.version, reply.epoch, reply.label) for _, reply in replies
    }
    heard = {(e["request_id"], e["version"]) for e in live}
    shadows = {(e["request_id"], e["version"]) for e in logged if e["role"] == "shadow"}
    assert shadows and not heard & shadows


def test_a_restart_serves_the_same_and_a_corrupt_adapter_changes_nothing(served: Served) -> None:
    served.route({2: 5000, 1: 5000}, (1, 2))
    before = [reply.version for reply in served.ask(*range(10))]
    assert set(before) == {1, 2}
    assert served.router.stop() == 0
    served.router.start(REPLICA="integration")
    assert [reply.version for reply in served.ask(*range(10))] == before
    served.uris[3] = served.artifacts.put_json({"labels.json": "sha256:" + "0" * 64})
    refusal = served.route({3: 5000, 1: 5000}, (1, 3))
    assert (refusal["status"], "is not stored" in refusal["reason"]) == ("refused", True)
    assert [reply.version for reply in served.ask(*range(10))] == before
    assert served.route({1: 10_000})["status"] == "serving"
    assert {reply.version for reply in served.ask(*range(10))} == {1}


def test_probes_and_reflection_are_served(served: Served) -> None:
    with grpc.insecure_channel(served.router.address) as channel:
        served.route({1: 10_000})
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service="driftgate.router.v1.Router")
        serving = health_pb2.HealthCheckResponse.SERVING
        until(lambda: health.Check(asked).status == serving)
        info = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        (listed,) = info(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = {service.name for service in listed.list_services_response.service}
        assert {"driftgate.router.v1.Router", "grpc.health.v1.Health"} <= names
