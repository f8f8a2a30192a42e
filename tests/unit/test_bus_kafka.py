"""The producer: what was not acknowledged is told, and nothing is kept that nobody asks for."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.future import Future

from driftgate import bus_kafka
from driftgate.bus_kafka import KafkaSender
from driftgate.errors import BusRefused, BusUnavailable

LARGE = b"larger than the broker takes"


class Sent(Future):
    """As kafka-python's, which is waited for by `get`."""

    def get(self, timeout: float | None = None) -> Any:
        if not self.is_done or self.failed():
            raise self.exception or KafkaTimeoutError("not acknowledged")
        return self.value


class Client:
    """Takes records and acknowledges them when told to, but for those that are too large; `entered`
    and `go_on` hold a send up."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.sent: list[Sent] = []
        self.refuses: KafkaError | None = None
        self.closed: list[float | None] = []
        self._sender = self
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def send(self, topic: str, key: bytes, value: bytes) -> Sent:
        if self.refuses is not None:
            raise self.refuses
        self.entered.set()
        assert self.go_on.wait(30)
        self.sent.append(Sent())
        if value == LARGE:
            self.sent[-1].failure(MessageSizeTooLargeError("too large"))
        return self.sent[-1]

    def force_close(self) -> None:
        self.closed.append(0)

    def close(self, timeout: float | None) -> None:
        self.closed.append(timeout)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    found = Client()
    monkeypatch.setattr(bus_kafka, "connected", lambda *_, **__: found)
    return found


def test_a_record_that_is_still_being_sent_during_a_flush_is_waited_for_by_the_next(
    client: Client,
) -> None:
    """The client's `send` blocks while its buffer is full; another thread may flush meanwhile."""
    sender = KafkaSender(["k:1"])
    client.go_on.clear()
    sending = threading.Thread(target=sender.send, args=("t", b"k", b"v"), daemon=True)
    sending.start()
    assert client.entered.wait(30)
    sender.flush()
    client.go_on.set()
    sending.join(30)
    with pytest.raises(BusUnavailable, match="not acknowledged"):
        sender.flush()


def test_acknowledged_records_are_forgotten_where_nobody_flushes(client: Client) -> None:
    sender = KafkaSender(["k:1"])
    for _ in range(100):
        sender.send("t", b"k", b"v")
        client.sent[-1].success(None)
    assert len(sender._pending) <= 1


def test_a_record_that_failed_long_before_is_told_by_the_next_flush_once(client: Client) -> None:
    sender = KafkaSender(["k:1"])
    sender.send("t", b"k", b"v")
    client.sent[0].failure(KafkaTimeoutError("the broker was away"))
    for _ in range(100):
        sender.send("t", b"k", b"v")
        client.sent[-1].success(None)
    with pytest.raises(BusUnavailable, match="the broker was away"):
        sender.flush()
    sender.flush()


def test_a_record_that_is_never_taken_is_told_when_all_others_are_acknowledged(
    client: Client,
) -> None:
    sender = KafkaSender(["k:1"])
    for value in (b"v", LARGE, b"v"):
        sender.send("t", b"k", value)
    client.sent[0].success(None)
    with pytest.raises(BusUnavailable, match="not acknowledged"):
        sender.flush()  # the third may still come
    sender.send("t", b"k", LARGE)
    with pytest.raises(BusRefused, match="too large"):
        sender.flush()
    sender.flush()


@pytest.mark.parametrize("fails", ["send", "flush"])
def test_what_was_given_up_is_dropped_on_close(client: Client, fails: str) -> None:
    sender = KafkaSender(["k:1"])
    sender.send("t", b"k", b"v")
    client.refuses = KafkaTimeoutError("no partition")
    with pytest.raises(BusUnavailable):
        sender.flush() if fails == "flush" else sender.send("t", b"k", b"v")
    sender.close()
    assert client.closed == [0, bus_kafka.DROP_SECONDS]


def test_what_nobody_waited_for_is_sent_on_close(client: Client) -> None:
    sender = KafkaSender(["k:1"])
    sender.send("t", b"k", b"v")
    client.refuses = MessageSizeTooLargeError("too large")
    with pytest.raises(BusRefused):
        sender.send("t", b"k", b"v")
    sender.close()
    assert client.closed == [None]


def test_a_refusal_costs_no_later_record_where_nobody_flushes(client: Client) -> None:
    """The client that was refused takes nothing any more; another one goes on."""
    sender = KafkaSender(["k:1"])
    sender.send("t", b"k", LARGE)
    assert client.closed[:2] == [0, bus_kafka.DROP_SECONDS]
    sender.send("t", b"k", b"v")
    client.sent[-1].success(None)
    with pytest.raises(BusRefused, match="too large"):
        sender.flush()
    sender.flush()
