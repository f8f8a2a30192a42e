"""What the bulk client returns of a poll that goes wrong or grows large; the rest is in the
contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftgate import bus_confluent
from driftgate.bus_confluent import ConfluentMember, ConfluentSender
from driftgate.errors import BusGaveUp, BusRefused, BusUnavailable


@dataclass
class FakeMessage:
    """As confluent-kafka's."""

    at: int

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return b"x" * 100

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000

    def error(self) -> None:
        return None


class FakeClient:
    """Ten messages; `failing`: the call that raises."""

    def __init__(self, failing: int = 0) -> None:
        self.waiting: Iterator[int] = iter(range(10))
        self.failing = failing
        self.calls = 0

    def consume(self, limit: int, _: float) -> list[FakeMessage]:
        self.calls += 1
        if self.calls == self.failing:
            raise KafkaException(KafkaError(KafkaError._FAIL))
        return [FakeMessage(at) for _, at in zip(range(limit), self.waiting, strict=False)]

    def list_topics(self, timeout: float) -> None: ...

    def subscribe(self, *_: object, **__: object) -> None: ...


def member(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> ConfluentMember:
    monkeypatch.setattr(bus_confluent, "Client", lambda _: client)
    monkeypatch.setattr(bus_confluent, "CHUNK", 3)
    return ConfluentMember(["k:1"], ["t"], "g", "m", None, 300)


def offsets(found: ConfluentMember, limit: int = 100) -> list[int]:
    return [at for batch in found.poll_batches(0.1, limit) for at in batch.offsets.to_pylist()]


def test_what_was_read_before_an_error_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    found = member(FakeClient(failing=3), monkeypatch)
    assert offsets(found) == [0, 1, 2, 3]
    with pytest.raises(BusUnavailable):
        found.poll_batches(0.1)
    assert offsets(found) == [4, 5, 6, 7, 8, 9]


def test_a_poll_ends_at_its_bytes_and_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = member(FakeClient(), monkeypatch)
    assert offsets(found, limit=2) == [0, 1]
    monkeypatch.setattr(bus_confluent, "POLL_BYTES", 150)
    assert offsets(found) == [2, 3, 4, 5]
    assert offsets(found) == [6, 7, 8, 9]


DENIED, BAD = KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_RECORD


@dataclass
class Sent:
    """As confluent-kafka's message."""

    content: bytes

    def topic(self) -> str:
        return "t"

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return self.content


@dataclass
class FakeSendingClient:
    """Refuses a batch whole, and what is sent again as `alone` says by content."""

    alone: dict[bytes, int]
    whole: int = BAD
    flushes: int = 0
    waiting: list[tuple[bytes, Any]] = field(default_factory=list)

    def produce(self, topic: str, value: bytes, key: None, on_delivery: Any) -> None:
        self.waiting.append((value, on_delivery))

    def poll(self, timeout: float) -> None: ...

    def flush(self, timeout: float) -> int:
        self.flushes += 1
        for value, told in self.waiting:
            code = self.whole if self.flushes == 1 else self.alone.get(value)
            told(None if code is None else KafkaError(code), Sent(value))
        self.waiting.clear()
        return 0


def sender(monkeypatch: pytest.MonkeyPatch, alone: dict[bytes, int]) -> ConfluentSender:
    client = FakeSendingClient(alone)
    monkeypatch.setattr(bus_confluent, "SendingClient", lambda _: client)
    found = ConfluentSender("k:1")
    for content in (b"a", b"b", b"c"):
        found.send("t", None, content)
    return found


@pytest.mark.parametrize("alone", [{b"a": DENIED}, {b"a": BAD, b"b": DENIED}])
def test_what_fails_for_another_reason_when_it_is_sent_apart_is_not_taken_for_sent(
    monkeypatch: pytest.MonkeyPatch, alone: dict[bytes, int]
) -> None:
    with pytest.raises(BusGaveUp, match="sending to t"):
        sender(monkeypatch, alone).flush()


def test_each_record_that_is_refused_apart_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BusRefused) as refused:
        sender(monkeypatch, {b"a": BAD, b"c": BAD}).flush()
    assert refused.value.records == [("t", None, b"a"), ("t", None, b"c")]


def test_a_batch_that_is_too_large_for_the_topic_is_sent_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sent again as it is, it would be refused for ever."""
    found = sender(monkeypatch, {})
    found._client.whole = KafkaError.RECORD_LIST_TOO_LARGE
    found.flush()
    assert found._client.flushes == 4
