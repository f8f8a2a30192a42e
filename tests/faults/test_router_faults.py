"""Routers that are killed or stopped, that lack a base, and from whom Kafka is taken away."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from releasing import RouterProcess, Served, Topics, until
from safetensors.torch import load_file, save_file

from deploy.local import stack as local
from deploy.local.plan import StackConfig
from driftgate.bus_kafka import KafkaBus
from driftgate.classifier.base import EMBEDDED, resolve
from driftgate.codec import Codec
from driftgate.router_pb import router_pb2, router_pb2_grpc

pytestmark = pytest.mark.stack

AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


@pytest.fixture
def served(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path, request: Any
) -> Iterator[Served]:
    router = RouterProcess(stack.environment, tmp_path / "state").start(REPLICA="faults")
    model = request.node.name.replace("_", "-")[:40]
    yield Served.make(model, Topics(kafka, codec), router, tmp_path)
    router.kill()


class App(threading.Thread):
    """Asks on and on, and tries again, with the same request id, what found nobody."""

    def __init__(self, served: Served, first: int = 0) -> None:
        super().__init__()
        self.served, self.replies, self.failures = served, list[Any](), 0
        self.numbers, self.enough = count(first), threading.Event()

    def run(self) -> None:
        with grpc.insecure_channel(self.served.router.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            for number in self.numbers:
                while not self.enough.is_set():
                    try:
                        request = self.served.request(number)
                        self.replies.append(stub.Predict(request, timeout=60, wait_for_ready=True))
                        break
                    except grpc.RpcError as error:
                        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                        self.failures += 1
                        self.enough.wait(0.5)  # as apps do
                if self.enough.is_set():
                    return


@contextmanager
def asking(served: Served, apps: int = 1) -> Iterator[list[App]]:
    """Apps that ask while the context lasts."""
    found = [App(served, 1_000_000 * number) for number in range(apps)]
    for app in found:
        app.start()
    try:
        yield found
    finally:
        for app in found:
            app.enough.set()
        for app in found:
            app.join()


def routed(router: RouterProcess, served: Served) -> Any:
    """The choice for one request, once the router gives it."""
    asked = router_pb2.RouteRequest(model=served.model, request_id="r", subject="s1")

    def found() -> Any:
        with grpc.insecure_channel(router.address) as channel:
            try:
                return router_pb2_grpc.RouterStub(channel).Route(asked, timeout=10)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                return None

    return until(found)


def refusal(router: RouterProcess, served: Served) -> grpc.StatusCode:
    """Why a request gets no answer."""
    with (
        grpc.insecure_channel(router.address) as channel,
        pytest.raises(grpc.RpcError) as error,
    ):
        router_pb2_grpc.RouterStub(channel).Predict(served.request(1), timeout=60)
    return error.value.code()


def test_sigkill_under_load_loses_no_answer_that_was_given(served: Served) -> None:
    served.route({2: 5000, 1: 5000}, (1, 2))
    with asking(served) as (app,):
        until(lambda: len(app.replies) > 20)
        served.router.kill()
        before = len(app.replies)
        served.router.start(REPLICA="faults")
        until(lambda: len(app.replies) > before + 20)
    logged = served.topics.read("inferences", served.model)
    for role in ("live", "shadow"):
        known = {e["request_id"] for e in logged if e["role"] == role}
        assert {reply.request_id for reply in app.replies} <= known
    said = {(e["request_id"], e["version"], e["output"]) for e in logged if e["role"] == "live"}
    assert {(r.request_id, r.version, r.label) for r in app.replies} <= said
    assert len({(request, version) for request, version, _ in said}) == len(
        {request for request, _, _ in said}
    )  # a request that was tried again kept its version


def test_sigterm_under_load_ends_once_all_that_was_admitted_is_answered(served: Served) -> None:
    served.route({2: 5000, 1: 5000})
    with asking(served, apps=8) as apps:
        until(lambda: all(len(app.replies) > 5 for app in apps))
        assert served.router.stop() == 0
        before = [len(app.replies) for app in apps]
        served.router.start(REPLICA="faults")
        until(lambda: all(len(app.replies) > 5 + n for app, n in zip(apps, before, strict=True)))
    replies = [reply.request_id for app in apps for reply in app.replies]
    logged = [event["request_id"] for event in served.topics.read("inferences", served.model)]
    assert sorted(logged) == sorted(replies)  # nothing was computed that nobody got


def test_without_kafka_routes_are_given_and_answers_are_not(
    served: Served, stack: StackConfig, tmp_path: Path
) -> None:
    """By a router that loses it, and by one that starts without it from its last good routing."""
    served.route({2: 5000, 1: 5000}, (1, 2))
    before = routed(served.router, served)
    late = RouterProcess(stack.environment, tmp_path / "late")
    shutil.copytree(served.router.folder / "router-faults", late.folder / "router-late")
    local.kill(stack.state_dir, "kafka", signal.SIGSTOP)
    try:
        assert refusal(served.router, served) in AWAY
        late.start(REPLICA="late")
        for router in (late, served.router):
            assert refusal(router, served) in AWAY
            assert routed(router, served) == before
    finally:
        local.kill(stack.state_dir, "kafka", signal.SIGCONT)
    try:
        served.route({1: 10_000})
        for name, router in (("router-faults", served.router), ("router-late", late)):
            assert served.acknowledged(name)["status"] == "serving"
            assert {reply.version for reply in asked_of(router, served)} == {1}
    finally:
        late.kill()


def test_a_router_with_a_wrong_base_folder_refuses_by_name_and_the_other_serves(
    served: Served, stack: StackConfig, tmp_path: Path
) -> None:
    """Each runs in a folder of its own, where the base that model.yaml names lies."""
    right, theirs = resolve(EMBEDDED), {"base": "bases/encoder"}
    with ExitStack() as cleanup:
        other = RouterProcess(stack.environment, tmp_path / "other").start(REPLICA="wrong")
        cleanup.callback(other.kill)
        for router in (served.router, other):
            copied(right.path, router.folder / theirs["base"])
        weights = other.folder / theirs["base"] / "model.safetensors"
        tensors = load_file(weights)
        weights.unlink()
        name = next(iter(tensors))
        save_file(tensors | {name: tensors[name] + 1}, weights)
        served.bases[2] = theirs | {"base_digest": right.digest}
        served.route({1: 10_000})
        assert served.acknowledged("router-wrong")["status"] == "serving"
        served.route({2: 10_000})
        assert served.acknowledged("router-faults")["status"] == "serving"
        refused = served.acknowledged("router-wrong")
        assert refused["status"] == "refused"
        assert refused["reason"].startswith("version 2: base bases/encoder: its digest is")
        assert {reply.version for reply in served.ask(*range(5))} == {2}
        assert {reply.version for reply in asked_of(other, served)} == {1}
        weights.unlink()
        weights.symlink_to(right.path / "model.safetensors")
        assert other.stop() == 0
        other.start(REPLICA="wrong")
        until(lambda: served.acknowledged("router-wrong")["status"] == "serving")
        assert {reply.version for reply in asked_of(other, served)} == {2}


def copied(folder: Path, to: Path) -> None:
    """A folder of links to the files of another."""
    to.mkdir(parents=True)
    for file in folder.iterdir():
        (to / file.name).symlink_to(file)


def asked_of(router: RouterProcess, served: Served) -> list[Any]:
    """The answers of another router."""
    with grpc.insecure_channel(router.address) as channel:
        stub = router_pb2_grpc.RouterStub(channel)
        requests = [served.request(number) for number in range(5)]
        return [stub.Predict(r, timeout=60, wait_for_ready=True) for r in requests]
