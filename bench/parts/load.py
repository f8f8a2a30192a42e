"""Callers that ask a router at a steady rate, all of them together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Thread
from typing import Any

import grpc

from driftgate.router_pb import router_pb2, router_pb2_grpc


@dataclass(frozen=True, slots=True)
class Call:
    """One request. due, begun, over: s of a monotonic clock.

    Attributes:
        failed: why; empty where it was answered.
    """

    request_id: str
    due: float
    begun: float
    over: float
    version: int = 0
    epoch: int = 0
    digest: str = ""
    failed: str = ""


@dataclass
class Load:
    """Asks from the beginning of the context to its end. A caller does not try again.

    Attributes:
        text: what is asked; `{}` in it becomes a number of the request.
        subjects: so many people ask in turn; with 0 nobody is named.
    """

    address: str
    model: str
    rate: float
    callers: int = 4
    text: str = "Where is parcel {}?"
    subjects: int = 0
    calls: list[Call] = field(default_factory=list)
    _over: Event = field(default_factory=Event)

    @property
    def answered(self) -> list[Call]:
        return [call for call in self.calls if not call.failed]

    @property
    def failed(self) -> list[Call]:
        return [call for call in self.calls if call.failed]

    def __enter__(self) -> Load:
        self._threads = [Thread(target=self._call, args=(n,)) for n in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, caller: int) -> None:
        with grpc.insecure_channel(self.address) as channel:
            stub = router_pb2_grpc.RouterStub(channel)
            for number, due in self._dues(caller):
                asked = router_pb2.PredictRequest(
                    model=self.model,
                    text=self.text.format(number),
                    request_id=f"{self.model}-{number}",
                    subject=f"s-{number % self.subjects}" if self.subjects else "",
                )
                begun = time.monotonic()
                try:
                    reply = stub.Predict(asked, timeout=30)
                except grpc.RpcError as error:
                    told: dict[str, Any] = {"failed": str(error)}
                else:
                    told = {name: getattr(reply, name) for name in ("version", "epoch", "digest")}
                self.calls.append(Call(asked.request_id, due, begun, time.monotonic(), **told))

    def _dues(self, caller: int) -> Iterator[tuple[int, float]]:
        """Numbers of this caller's requests, each at its time; until the end."""
        start = time.monotonic()
        for number in count(caller, self.callers):
            due = start + number / self.rate
            if self._over.wait(max(0.0, due - time.monotonic())):
                return
            yield number, due
