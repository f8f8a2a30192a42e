"""Routers that are killed or stopped, that lack a base, and from whom Kafka is taken away."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from releasing import RouterProcess, Served, Topics, until
from safetensors.torch import load_file, save_file

from deploy.local import stack as local
from deploy.local.plan import StackConfig
from driftgate import bus_kafka
from driftgate.bases import MINILM, resolve
from driftgate.bus_confluent import ConfluentSender
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import Topic
from driftgate.health import log_for
from driftgate.router_pb import router_pb2, router_pb2_grpc
from services.router.delivery import Delivery
from services.router.spool import Spool

pytestmark = pytest.mark.stack


@pytest.fixture
def served(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path, request: Any
) -> Iterator[Served]:
    router = RouterProcess(stack.environment, tmp_path / "state").start(REPLICA="faults")
    model = f"{request.node.name.replace('_', '-')[:30]}-{uuid4().hex[:6]}"
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


def test_sigkill_under_load_loses_no_answer_that_was_given(served: Served) -> None:
    served.route({2: 5000, 1: 5000}, (1, 2))
    with asking(served) as (app,):
        until(lambda: len(app.replies) > 20)
        served.router.kill()
        before = len(app.replies)
        served.router.start(REPLICA="faults")
        until(lambda: len(app.replies) > before + 20)
    given = {(reply.request_id, reply.version, reply.label) for reply in app.replies}

    def found() -> set[tuple[str, int, str]]:
        return {(e["request_id"], e["version"], e["output"]) for e in logged(served)}

    until(lambda: given <= found())
    said = found()
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
    until(lambda: len(logged(served)) >= len(replies))
    known = [event["request_id"] for event in logged(served)]
    assert sorted(known) == sorted(replies)  # nothing was computed that nobody got


def test_without_kafka_answers_go_out_and_are_on_it_afterwards_once(
    served: Served, stack: StackConfig, tmp_path: Path
) -> None:
    """By a router that loses it, and by one that starts without it from its last good routing."""
    served.route({2: 5000, 1: 5000}, (1, 2))
    before = routed(served.router, served)
    late = RouterProcess(stack.environment, tmp_path / "late")
    shutil.copytree(served.router.folder / "router-faults" / "cache", late.folder / "c")
    (late.folder / "router-late").mkdir()
    (late.folder / "c").replace(late.folder / "router-late" / "cache")
    shutil.copy(
        served.router.folder / "router-faults" / "routing.json", late.folder / "router-late"
    )
    local.kill(stack.state_dir, "kafka", signal.SIGSTOP)
    try:
        replies = served.ask(*range(20))
        late.start(REPLICA="late")
        assert routed(late, served) == before
        replies += asked_of(late, served, *range(100, 120))
    finally:
        local.kill(stack.state_dir, "kafka", signal.SIGCONT)
    try:
        live = logged_once(served, replies)
        assert {r.request_id: r.label for r in replies} == {
            e["request_id"]: e["output"] for e in live
        }
        served.route({1: 10_000})
        for name, router in (("router-faults", served.router), ("router-late", late)):
            assert served.acknowledged(name)["status"] == "serving"
            assert {reply.version for reply in asked_of(router, served)} == {1}
    finally:
        late.kill()


def test_sigkill_with_a_spool_that_is_not_empty_loses_nothing(
    served: Served, stack: StackConfig
) -> None:
    served.route({2: 5000, 1: 5000})
    local.kill(stack.state_dir, "kafka", signal.SIGSTOP)
    try:
        replies = served.ask(*range(30))
        served.router.kill()
    finally:
        local.kill(stack.state_dir, "kafka", signal.SIGCONT)
    served.router.start(REPLICA="faults")
    logged_once(served, replies, doubled=True)


@pytest.mark.parametrize("when_full", ["refuse", "shed"])
def test_a_full_spool_refuses_or_sheds_and_goes_on_when_kafka_is_back(
    served: Served, stack: StackConfig, when_full: str
) -> None:
    served.router.kill()
    served.router.start(REPLICA="faults", SPOOL_MB="1", WHEN_FULL=when_full)
    served.route({1: 10_000})
    local.kill(stack.state_dir, "kafka", signal.SIGSTOP)
    text = "a long message about a card " * 500
    codes: list[grpc.StatusCode] = []
    try:
        with grpc.insecure_channel(served.router.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            for number in range(150):  # of 14 kB each: more than the spool may hold
                asked = served.request(number)
                asked.text = text
                codes.append(code_of(lambda asked=asked: stub.Predict(asked, timeout=60)))
    finally:
        local.kill(stack.state_dir, "kafka", signal.SIGCONT)
    full = grpc.StatusCode.UNAVAILABLE if when_full == "refuse" else grpc.StatusCode.OK
    assert (codes[0], codes[-1]) == (grpc.StatusCode.OK, full)
    given = {f"{served.model}-{n}" for n, code in enumerate(codes) if code == grpc.StatusCode.OK}
    kept = until(lambda: logged(served) if len(logged(served)) >= 50 else None)
    assert {event["request_id"] for event in kept} <= given
    replies = served.ask(*range(1000, 1010))
    until(lambda: {r.request_id for r in replies} <= {e["request_id"] for e in logged(served)})
    if when_full == "refuse":
        assert {event["request_id"] for event in logged(served)} >= given


def test_what_the_broker_does_not_take_is_set_aside_and_all_else_goes_out_once(
    kafka: KafkaBus, stack: StackConfig, tmp_path: Path
) -> None:
    topic = f"refuses-{uuid4().hex[:8]}"
    kafka.ensure([Topic(topic, "s", "k", 3, "delete", 1)])
    kafka.admin.alter_configs([bus_kafka.as_resource(topic, {"max.message.bytes": "10000"})])
    spool = Spool(tmp_path / "spool", 16, log_for("router"))
    shown: list[Any] = []
    delivery = Delivery(
        spool, lambda: ConfluentSender(stack.kafka), log_for("router"), show=shown.append
    )
    poison = {3, 17}
    local.kill(stack.state_dir, "kafka", signal.SIGSTOP)
    try:
        for n in range(30):
            value = os.urandom(20_000) if n in poison else str(n).encode()
            delivery.appended(spool.append([(topic, f"r{n}".encode(), value)]))
        delivery.start()
        until(lambda: delivery.away)
        assert spool.set_aside() == []  # an outage is nobody's fault
    finally:
        local.kill(stack.state_dir, "kafka", signal.SIGCONT)
    until(lambda: spool.count() == 0)
    sent = sorted(int(record.value or b"") for record in kafka.read_all([topic]))
    assert sent == [n for n in range(30) if n not in poison]
    assert [key for key, _ in spool.set_aside()] == ["r3", "r17"]
    assert all("too large" in why for why in shown[-1].values())
    delivery.stop(5)


def logged(served: Served, role: str = "live") -> list[Any]:
    """Answers of the model that are on the topic."""
    events = served.topics.read("inferences", served.model)
    return [event for event in events if event["role"] == role]


def logged_once(served: Served, replies: list[Any], doubled: bool = False) -> list[Any]:
    """The log of these answers, once all of it is there. `doubled`: what was under way to Kafka
    when the router was killed may be there twice, and no more than that."""
    wanted = {reply.request_id for reply in replies}
    until(lambda: wanted <= {event["request_id"] for event in logged(served)})
    found = logged(served)
    assert len(found) <= len(wanted) * (2 if doubled else 1)
    assert {event["request_id"] for event in found} == wanted
    return found


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    """How a call ends."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_a_router_with_a_wrong_base_folder_refuses_by_name_and_the_other_serves(
    served: Served, stack: StackConfig, tmp_path: Path
) -> None:
    """Each runs in a folder of its own, where the base that model.yaml names lies."""
    right, theirs = resolve(MINILM), {"base": "bases/encoder"}
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


def asked_of(router: RouterProcess, served: Served, *numbers: int) -> list[Any]:
    """The answers of another router."""
    with grpc.insecure_channel(router.address) as channel:
        stub = router_pb2_grpc.RouterStub(channel)
        requests = [served.request(number) for number in numbers or range(200, 205)]
        return [stub.Predict(r, timeout=60, wait_for_ready=True) for r in requests]
