"""The drift-detector as a process, on Apache Kafka: what a world and an operator see of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from drift_harness import Harness, eventually, kafka_on, process, transact, wipe
from drift_world import day, inference, outcome

from deploy.local.plan import free_ports
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import AuditEntry, DriftAlert, RetrainRequest
from driftgate.machine_clock import machine_ms

pytestmark = pytest.mark.stack
A_DAY = 45


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBus]:
    with kafka_on(free_ports(2), tmp_path_factory.mktemp("kafka")) as bus:
        yield bus


@pytest.fixture
def bus(broker: KafkaBus, codec: Codec) -> KafkaBus:
    wipe(broker, codec)
    return broker


def put_day(harness: Harness, number: int, error: float) -> None:
    rng = random.Random(number)
    for n in range(number * A_DAY, (number + 1) * A_DAY):
        at = day(number) + (n % A_DAY) * 60_000
        harness.put(inference(n, at))
        if n % 2:
            harness.put(outcome(n, at + 1000, rng.random() >= error))


def test_a_world_is_watched_day_by_day(bus: KafkaBus, codec: Codec, tmp_path: Path) -> None:
    harness = Harness(bus, codec, tmp_path)
    with harness.service():
        harness.launch()
        harness.settled()
        assert [e.reason for e in harness.sent(RetrainRequest)] == ["launch"]
        harness.producer.send("inferences", b"k", b"rubbish")
        harness.producer.send("models", b"other", None)
        for number in range(14):
            put_day(harness, number, error=0.1 if number < 7 else 0.6)
            harness.end_day(number)
            harness.settled()  # a tick's every effect is durable when its position is committed
        alerts, requests = harness.sent(DriftAlert), harness.sent(RetrainRequest)
        assert alerts[0].time <= day(10)
        assert requests[1].reason == "drift"
        assert requests[1].alerts[0] == alerts[0].incident_id
        assert len({alert.alert_id for alert in alerts}) == len(alerts)
        assert {entry.decision for entry in harness.sent(AuditEntry)} >= {"alert", "retrain"}
        topics = {p.topic for p in bus.ends(bus.admin.list_topics())}
        assert not [name for name in topics if "drift-detector" in name]  # none of faust's own


def test_an_app_that_writes_by_transactions_is_watched(
    bus: KafkaBus, codec: Codec, tmp_path: Path
) -> None:
    harness = Harness(bus, codec, tmp_path)
    with harness.service():
        harness.launch()
        harness.settled()
        for number in range(2):
            answers = (inference(n, day(number) + n) for n in range(number * 5, number * 5 + 5))
            transact(bus, *map(codec.record, answers))
            harness.end_day(number)
            harness.settled()


def test_with_a_live_clock_time_comes_from_the_clock_service(
    bus: KafkaBus, codec: Codec, tmp_path: Path
) -> None:
    harness = Harness(bus, codec, tmp_path)
    now = machine_ms()
    clock = process(
        "services.clock.main",
        log=tmp_path / "clock.log",
        DRIFTGATE_KAFKA=",".join(bus.servers),
        DRIFTGATE_STATE_DIR=str(tmp_path / "state"),
        DRIFTGATE_TICK_SECONDS="0.2",
    )
    with harness.service(), clock:
        harness.launch()
        harness.put(*(outcome(n, now - 60_000 + n, correct=False) for n in range(60)))
        eventually(lambda: harness.sent(DriftAlert), "an alert")
    alert = harness.sent(DriftAlert)[0]
    assert alert.alert_id.startswith("post@1:errors:all:")
    assert alert.time >= now - 60_000  # the end of the bucket that made it evident
