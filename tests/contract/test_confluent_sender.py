"""The producer of confluent-kafka keeps what every bus promises of one."""

from __future__ import annotations

import os
import signal
from uuid import uuid4

import pytest

from deploy.local import stack as local
from deploy.local.plan import StackConfig
from driftgate import bus_confluent, bus_kafka
from driftgate.bus_confluent import ConfluentSender
from driftgate.bus_kafka import KafkaBus
from driftgate.errors import BusRefused, BusUnavailable
from driftgate.events import Topic

pytestmark = pytest.mark.stack


@pytest.fixture
def topic(kafka: KafkaBus) -> str:
    name = f"sender-{uuid4().hex[:8]}"
    kafka.ensure([Topic(name, "s", "k", 3, "delete", 1)])
    return name


def test_a_key_has_the_partition_that_other_clients_give_it(kafka: KafkaBus, topic: str) -> None:
    keys = [f"r-{n}".encode() for n in range(50)]
    for producer in (kafka.producer(), ConfluentSender(",".join(kafka.servers))):
        for key in keys:
            producer.send(topic, key, b"v")
        producer.flush()
        producer.close()
    places: dict[bytes | None, set[int]] = {}
    for record in kafka.read_all([topic]):
        places.setdefault(record.key, set()).add(record.partition)
    assert len(places) == 50
    assert {len(partitions) for partitions in places.values()} == {1}


def test_a_record_that_is_refused_costs_no_other(kafka: KafkaBus, topic: str) -> None:
    """By the client's own limit, and by the broker's."""
    kafka.admin.alter_configs([bus_kafka.as_resource(topic, {"max.message.bytes": "10000"})])
    producer = ConfluentSender(",".join(kafka.servers))
    with pytest.raises(BusRefused):
        producer.send(topic, b"k", b"x" * 11_000_000)
    for value in (b"1", os.urandom(20_000), b"2"):
        producer.send(topic, b"k", value)
    with pytest.raises(BusRefused):
        producer.flush()
    producer.send(topic, b"k", b"3")
    producer.flush()
    producer.close()
    assert {record.value for record in kafka.read_all([topic])} == {b"1", b"2", b"3"}


def test_a_flush_after_one_that_took_too_long_waits_on_and_nothing_is_doubled(
    kafka: KafkaBus, stack: StackConfig, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = ConfluentSender(",".join(kafka.servers))
    producer.send(topic, b"k", b"0")
    producer.flush()
    monkeypatch.setattr(bus_confluent, "FLUSH_SECONDS", 0.5)
    local.kill(stack.state_dir, "kafka", signal.SIGSTOP)
    try:
        producer.send(topic, b"k", b"1")
        with pytest.raises(BusUnavailable):
            producer.flush()
    finally:
        local.kill(stack.state_dir, "kafka", signal.SIGCONT)
    monkeypatch.setattr(bus_confluent, "FLUSH_SECONDS", 60.0)
    producer.flush()
    producer.close()
    assert [record.value for record in kafka.read_all([topic])] == [b"0", b"1"]
