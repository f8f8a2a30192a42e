"""The drift-detector as a process, on Apache Kafka: what a world and an operator see of it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drift_desk import Desk, eventually, kafka_on, wipe
from drift_world import day, inference, outcome

from deploy.local.plan import free_ports
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec

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


def put_day(desk: Desk, number: int, error: float) -> None:
    rng = random.Random(number)
    for n in range(number * A_DAY, (number + 1) * A_DAY):
        at = day(number) + (n % A_DAY) * 60_000
        desk.put("inferences", inference(n, at))
        if n % 2:
            desk.put("outcomes", outcome(n, at + 1000, rng.random() >= error))


def test_a_world_is_watched_day_by_day(bus: KafkaBus, codec: Codec, tmp_path: Path) -> None:
    desk = Desk(bus, codec, tmp_path)
    with desk.service():
        desk.launch()
        desk.settled()
        assert [e["reason"] for e in desk.said("retrain.requests")] == ["launch"]
        desk.producer.send("inferences", b"k", b"rubbish")
        desk.producer.send("models", b"other", None)
        for number in range(14):
            put_day(desk, number, error=0.1 if number < 7 else 0.6)
            desk.end_day(number)
            desk.settled()  # a tick's every effect is durable when its position is committed
        alerts, requests = desk.said("drift.alerts"), desk.said("retrain.requests")
        assert alerts[0]["time"] <= day(10)
        assert requests[1]["reason"] == "drift"
        assert requests[1]["alerts"][0] == alerts[0]["alert_id"]
        assert len({alert["alert_id"] for alert in alerts}) == len(alerts)
        assert {e["decision"] for e in desk.said("audit")} >= {"alert", "retrain"}
        topics = {p.topic for p in bus.ends(bus.admin.list_topics())}
        assert not [name for name in topics if "drift-detector" in name]  # none of faust's own


def test_the_live_clock_ticks_by_itself(bus: KafkaBus, codec: Codec, tmp_path: Path) -> None:
    desk = Desk(bus, codec, tmp_path, clock="live")
    now = time.time_ns() // 1_000_000
    with desk.service():
        desk.launch()
        for n in range(60):
            desk.put("outcomes", outcome(n, now - 60_000 + n, correct=False))
        eventually(lambda: desk.said("drift.alerts"), "an alert")
        desk.settled()
    alert = desk.said("drift.alerts")[0]
    assert alert["alert_id"].startswith("post@1:errors:all:")
    assert alert["time"] >= now
