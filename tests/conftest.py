"""What tests share: one stack of infrastructure for the whole session, on ports of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import stack as local
from deploy.local.plan import StackConfig
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings, load

SCHEMAS = Path(__file__).parents[1] / "schemas"


@pytest.fixture(scope="session")
def codec() -> Codec:
    """Every topic and schema."""
    return Codec.load(SCHEMAS)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackConfig]:
    """Kafka, ClickHouse's engine and Ray, without services; topics and tables exist. Shared by
    all tests: use names (models, groups, databases) of your own."""
    config = replace(StackConfig.on_free_ports(tmp_path_factory.mktemp("stack")), services=())
    try:
        local.up(config, progress=lambda _: None)
        local.bootstrap(config)
        yield config
    finally:
        local.down(config.state_dir)


@pytest.fixture
def settings(stack: StackConfig, tmp_path: Path) -> Settings:
    """What a service on that stack is told, with a state folder of the test's own."""
    return load(dict(stack.environment)).model_copy(update={"state_dir": tmp_path})


@pytest.fixture
def kafka(stack: StackConfig) -> Iterator[KafkaBus]:
    """The bus of that stack."""
    bus = KafkaBus(stack.kafka)
    yield bus
    bus.close()
