"""The infrastructure of the local stack as real processes: up, up again, faults, down, up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import clickhouse_connect
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from deploy.local import stack
from deploy.local.stack import PortTaken, StackConfig
from driftgate.errors import BadConfig

pytestmark = pytest.mark.stack
PARTS = {"kafka", "clickhouse", "ray"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackConfig]:
    state = tmp_path_factory.mktemp("stack")
    config = replace(StackConfig.on_free_ports(state), services=(), cpus=1)
    try:
        stack.up(config)
        yield config
    finally:
        stack.down(state)


def eventually(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def pids(config: StackConfig) -> dict[str, int | None]:
    return {part.name: part.pid for part in stack.status(config)}


def all_healthy(config: StackConfig) -> bool:
    parts = stack.status(config)
    return {part.name for part in parts} == PARTS and all(part.healthy for part in parts)


def remember(config: StackConfig) -> None:
    admin = KafkaAdminClient(bootstrap_servers=config.kafka)
    admin.create_topics([NewTopic("kept", 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=config.kafka)
    producer.send("kept", b"still here").get(timeout=30)
    producer.close()
    with clickhouse_connect.get_client(host="127.0.0.1", port=config.ports["clickhouse"]) as client:
        client.command("CREATE TABLE kept (s String) ENGINE = MergeTree ORDER BY s")
        client.insert("kept", [["still here"]])


def remembered(config: StackConfig) -> tuple[bytes, str]:
    consumer = KafkaConsumer(bootstrap_servers=config.kafka, consumer_timeout_ms=30_000)
    consumer.assign([TopicPartition("kept", 0)])
    consumer.seek_to_beginning()
    record = next(consumer)
    consumer.close()
    with clickhouse_connect.get_client(host="127.0.0.1", port=config.ports["clickhouse"]) as client:
        return record.value, str(client.command("SELECT s FROM kept"))


def test_up_gives_healthy_parts_and_up_again_changes_nothing(config: StackConfig) -> None:
    assert all_healthy(config)
    assert stack.running(config.state_dir) == config
    before = pids(config)
    stack.up(config)
    assert pids(config) == before


def test_other_settings_in_the_same_folder_are_refused(config: StackConfig) -> None:
    with pytest.raises(BadConfig, match="clock"):
        stack.up(replace(config, clock="world"))


def test_a_second_stack_on_the_same_port_is_told_which(config: StackConfig, tmp_path: Path) -> None:
    other = replace(StackConfig.on_free_ports(tmp_path), services=())
    other.ports["kafka"] = config.ports["kafka"]
    with pytest.raises(PortTaken, match=rf"port {config.ports['kafka']}.*java.*KAFKA_PORT"):
        stack.up(other)
    assert stack.status(tmp_path) == []


def test_every_killed_part_comes_back(config: StackConfig) -> None:
    before = pids(config)
    for name in PARTS:
        stack.kill(config.state_dir, name)
    eventually(lambda: all_healthy(config) and not set(pids(config).items()) & set(before.items()))
    assert all(part.restarts >= 1 for part in stack.status(config))
    with pytest.raises(BadConfig, match="kafka"):
        stack.kill(config.state_dir, "kafak")


def test_state_survives_down_and_up_and_down_leaves_nothing(config: StackConfig) -> None:
    remember(config)
    stack.down(config.state_dir)
    assert stack.members(config) == []
    assert [port for port in config.ports.values() if not stack.is_free(port)] == []
    assert stack.status(config) == []
    assert stack.running(config.state_dir) is None
    stack.down(config.state_dir)

    stack.up(config)
    assert remembered(config) == (b"still here", "still here")


def test_down_also_ends_what_a_killed_supervisor_left(config: StackConfig) -> None:
    supervisor = stack.supervisor_of(config).pid()
    for process in stack.members(config):
        if process.pid == supervisor:
            process.kill()
            process.wait(10)
    assert stack.running(config.state_dir) is None
    assert stack.members(config)
    stack.down(config.state_dir)
    assert stack.members(config) == []
