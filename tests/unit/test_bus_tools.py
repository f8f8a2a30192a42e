"""What tools read of the bus, and what time they take it to be."""

from __future__ import annotations

import pytest

from driftgate.bus_memory import MemoryBus
from driftgate.bus_tools import events, newest, publish
from driftgate.codec import Codec
from driftgate.events import Model, Tick
from driftgate.runtime.ticker import Ticker
from driftgate.system_clock import system_time

NOON = 1_790_000_000_000


@pytest.fixture
def bus(codec: Codec) -> MemoryBus:
    found = MemoryBus(machine=lambda: NOON)
    found.ensure(codec.topics.by_name.values())
    return found


def declared(model: str, repo_hash: str) -> Model:
    return Model(model=model, repo_hash=repo_hash, repo_uri="", actor="", time=0)


def test_what_cannot_be_decoded_and_what_was_deleted_is_passed_over(
    bus: MemoryBus, codec: Codec
) -> None:
    producer = bus.producer()
    publish(producer, codec, [declared("a", "1"), declared("b", "1"), declared("a", "2")])
    producer.send("models", b"a", b"no Avro")
    producer.send("models", b"b", None)
    assert [model.repo_hash for model in events(bus, codec, Model)] == ["1", "1", "2"]
    assert {key: model.repo_hash for key, model in newest(bus, codec, Model).items()} == {
        "a": "2",
        "b": "1",
    }


def test_the_time_is_that_of_the_newest_tick_and_goes_on_at_its_pace(
    bus: MemoryBus, codec: Codec
) -> None:
    for time in range(1000, 30_000, 1000):
        Ticker(bus, codec, "w", 0).write(time)
    assert system_time(bus, codec) == 29_000  # a world's time stands still between its ticks
    publish(bus.producer(), codec, [Tick(world="w", time=30_000, pace=100.0)])
    assert system_time(bus, codec, lambda: NOON + 50) == 35_000


def test_where_nobody_keeps_time_it_is_the_machines(bus: MemoryBus, codec: Codec) -> None:
    assert system_time(bus, codec, lambda: NOON) == NOON
