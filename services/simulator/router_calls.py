"""Calls of the router, as an app makes them: over several connections, again where it is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from typing import Any

import grpc
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from driftgate.errors import RouterUnavailable, Terminal
from driftgate.router_pb import router_pb2, router_pb2_grpc

CALL_SECONDS = 30
# The same call may succeed later. What the router refuses otherwise it refuses for good.
AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
)
# Each channel gets a connection of its own.
CHANNEL = (("grpc.use_local_subchannel_pool", 1),)


class RequestRefusedError(Terminal):
    """The router says that a request cannot be answered."""


class RouterCalls:
    """Safe to share between threads.

    Args:
        addresses: of the routers, host:port, comma-separated; calls go round, so that one that is
            away, or serves nothing, is made good by the next.
        patience_seconds: so long is one request tried; None: until this is closed.
        on_retry: called each time that a call is made again.
    """

    def __init__(
        self,
        addresses: str,
        connections: int,
        patience_seconds: float | None,
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        self.closing = threading.Event()
        self._patience = patience_seconds
        self._on_retry = on_retry
        self._open = ExitStack()
        routers = addresses.split(",")
        self._wait_for_ready = len(routers) == 1
        channels = [
            grpc.insecure_channel(address, options=CHANNEL)
            for _ in range(connections)
            for address in routers
        ]
        for channel in channels:
            self._open.callback(channel.close)
        self._stubs = [router_pb2_grpc.RouterStub(channel) for channel in channels]
        self._turn = count()

    def predict(self, request: router_pb2.PredictRequest) -> router_pb2.PredictReply:
        """The answer; asked again under the same id while the router is away.

        Raises:
            RequestRefusedError: the router says that the request cannot be answered.
            RouterUnavailable: it says nothing.
        """
        try:
            reply: router_pb2.PredictReply = self._retrying(self._call, request)
        except ValueError as error:  # how gRPC says that a channel was closed
            raise RouterUnavailable(f"request {request.request_id}: {error}") from error
        except grpc.RpcError as error:
            place, why = f"request {request.request_id}", error.details()
            if error.code() not in AGAIN:
                raise RequestRefusedError(f"{place}: {why}") from error
            waited = "" if self._patience is None else f" in {self._patience:g} s"
            raise RouterUnavailable(f"{place}: the router did not answer{waited}: {why}") from error
        return reply

    def _call(self, request: router_pb2.PredictRequest) -> Any:
        stub = self._stubs[next(self._turn) % len(self._stubs)]
        return stub.Predict(request, timeout=CALL_SECONDS, wait_for_ready=self._wait_for_ready)

    def close(self) -> None:
        """Ends calls that are under way."""
        self.closing.set()
        self._open.close()

    @property
    def _retrying(self) -> Retrying:
        stop: Any = stop_when_event_set(self.closing)
        if self._patience is not None:
            stop |= stop_after_delay(self._patience)
        return Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, grpc.RpcError) and e.code() in AGAIN),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            sleep=sleep_using_event(self.closing),
            stop=stop,
            before_sleep=self._count,
            reraise=True,
        )

    def _count(self, _: RetryCallState) -> None:
        self._on_retry()
