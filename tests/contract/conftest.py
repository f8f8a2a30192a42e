"""Each port on its fake and on the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from driftgate.bus import Bus
from driftgate.bus_confluent import bus_of
from driftgate.bus_memory import MemoryBus
from driftgate.store import Store

REAL = [pytest.param(driver, marks=pytest.mark.stack) for driver in ("kafka-python", "confluent")]


@pytest.fixture(params=["memory", *REAL])
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    if request.param == "memory":
        yield MemoryBus()
        return
    settings = request.getfixturevalue("settings")
    bus = bus_of(settings.model_copy(update={"kafka_driver": request.param}))
    yield bus
    bus.close()


@pytest.fixture(params=["in_process", pytest.param("http", marks=pytest.mark.stack)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty database."""
    database = f"contract_{uuid4().hex[:8]}"
    if request.param == "http":
        store = Store.connect(request.getfixturevalue("stack").store, database)
    else:
        store = Store.in_process()
        store.command(f"CREATE DATABASE {database}")
        store.command(f"USE {database}")
    yield store
    store.command(f"DROP DATABASE {database}")
    store.close()
