"""A router that is killed, and one that starts without Kafka."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from releasing import RouterProcess, Served, Topics, until

from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.router_pb import router_pb2, router_pb2_grpc

pytestmark = pytest.mark.stack


@pytest.fixture
def served(kafka: KafkaBus, codec: Codec, stack: Any, tmp_path: Path) -> Iterator[Served]:
    router = RouterProcess(stack.environment, tmp_path / "state").start(REPLICA="faults")
    yield Served.make("killed", Topics(kafka, codec), router, tmp_path)
    router.kill()


class App(threading.Thread):
    """Asks on and on, and tries again, with the same request id, what found nobody."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self.served, self.replies, self.failures = served, list[Any](), 0
        self.enough = threading.Event()

    def run(self) -> None:
        with grpc.insecure_channel(self.served.router.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            for number in count():
                while not self.enough.is_set():
                    try:
                        request = self.served.request(number)
                        self.replies.append(stub.Predict(request, timeout=60, wait_for_ready=True))
                        break
                    except grpc.RpcError as error:
                        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                        self.failures += 1
                if self.enough.is_set():
                    return


def test_sigkill_under_load_loses_no_answer_that_was_given(served: Served) -> None:
    served.route({2: 5000, 1: 5000}, (1, 2))
    app = App(served)
    app.start()
    try:
        until(lambda: len(app.replies) > 20)
        served.router.kill()
        before = len(app.replies)
        served.router.start(REPLICA="faults")
        until(lambda: len(app.replies) > before + 20)
    finally:
        app.enough.set()
        app.join()
    logged = served.topics.read("inferences", served.model)
    for role in ("live", "shadow"):
        known = {e["request_id"] for e in logged if e["role"] == role}
        assert {reply.request_id for reply in app.replies} <= known
    said = {(e["request_id"], e["version"], e["output"]) for e in logged if e["role"] == "live"}
    assert {(r.request_id, r.version, r.label) for r in app.replies} <= said
    assert len({(request, version) for request, version, _ in said}) == len(
        {request for request, _, _ in said}
    )  # a request that was tried again kept its version

    served.router.kill()
    served.router.start(REPLICA="faults", KAFKA="127.0.0.1:1")
    with grpc.insecure_channel(served.router.address) as channel:
        stub = router_pb2_grpc.RouterStub(channel)
        asked = router_pb2.RouteRequest(model=served.model, request_id="r", subject="s1")

        def routed() -> Any:
            try:
                return stub.Route(asked)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                return None

        assert until(routed).epoch == served.epoch
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(served.request(1), timeout=60)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
