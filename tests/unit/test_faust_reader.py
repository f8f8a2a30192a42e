"""A replica that reads for another one, without a broker: what a rebalance may do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from driftgate.bus import Position, Record
from driftgate.codec import Codec
from driftgate.events import Inference, ObservationBatch
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
    asyncio.run(reader.take(deleted))
    assert committed == []
    assert reader.reached == still
