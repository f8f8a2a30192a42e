"""A replica that reads for another one, without a broker: what a rebalance may do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from driftgate.bus import Position, Record
from driftgate.codec import Codec
from driftgate.events import Inference, ObservationBatch
from driftgate.runtime import faust_app
from driftgate.runtime.faust_app import as_tp
from driftgate.runtime.faust_reader import Reader, Reads
from driftgate.runtime.service import Relayed
from services.drift_detector.reading import batches, nothing

MINE, OTHER = Position(Inference.TOPIC, 0), Position(Inference.TOPIC, 1)


@pytest.fixture
def reader(codec: Codec) -> Reader:
    runtime: Any = SimpleNamespace(
        bus=SimpleNamespace(servers=("127.0.0.1:1",)),
        replica="0",
        service=SimpleNamespace(max_work_seconds=60.0),
        codec=codec,
    )
    relayed = Relayed((Inference.TOPIC,), ObservationBatch, lambda source: 0)
    return Reader(runtime, Reads("reader", relayed, batches, nothing))


@pytest.mark.parametrize("still", [{}, {OTHER: 0}])
def test_partitions_that_go_to_another_member_while_it_tells_are_not_committed(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, still: Mapping[Position, int]
) -> None:
    committed: list[Mapping[Position, int]] = []

    async def sent(source: Position, events: Iterable[Any]) -> None:
        await reader.left(reader.app, {as_tp(source)})
        reader.reached = dict(still)
        reader._told_at = dict.fromkeys([MINE, OTHER], float("inf"))

    monkeypatch.setattr(reader, "send", sent)
    monkeypatch.setattr(reader, "commit", committed.append)
    reader.reached = {MINE: 0}
    deleted = [Record(MINE.topic, MINE.partition, offset, b"key", None) for offset in range(3)]
    monkeypatch.setattr(reader, "decoded", lambda record: asyncio.sleep(0))
    asyncio.run(reader.take(deleted, {MINE: 4}))
    assert committed == []
    assert reader.reached == still


def test_offsets_that_no_record_has_are_told_and_committed(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of the end of a transaction, which ticks wait for as for any other."""
    told: list[Any] = []
    committed: list[Mapping[Position, int]] = []

    async def sent(source: Position, events: Iterable[Any]) -> None:
        told.extend(events)

    monkeypatch.setattr(reader, "send", sent)
    monkeypatch.setattr(reader, "silent", lambda source: False)
    monkeypatch.setattr(reader, "commit", committed.append)
    reader.reached = {MINE: 10, OTHER: 5}
    asyncio.run(reader.take([], {MINE: 11, OTHER: 5}))
    assert told == [nothing(MINE, 11)]
    assert committed == [{MINE: 11}]
    assert reader.reached == {MINE: 11, OTHER: 5}


def test_nothing_is_passed_that_is_not_delivered_yet(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faust_app, "BATCH", 2)
    monkeypatch.setattr(reader.consumer, "queued", lambda: {MINE: 4})
    monkeypatch.setattr(reader.app, "consumer_generation_id", 1)
    passed: list[Mapping[Position, int]] = []

    async def take(delivered: Iterable[Record], by_then: Mapping[Position, int]) -> None:
        passed.append(by_then)
        if by_then:
            raise StopAsyncIteration

    async def consumed() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        for offset in range(3):
            record = Record(MINE.topic, MINE.partition, offset, b"key", None)
            message = SimpleNamespace(**asdict(record), generation_id=1)
            queue.put_nowait(SimpleNamespace(message=message))
        await reader.consume(SimpleNamespace(channel=SimpleNamespace(queue=queue)))

    monkeypatch.setattr(reader, "take", take)
    asyncio.run(consumed())
    assert passed == [{}, {MINE: 4}]
