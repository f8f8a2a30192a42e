"""The drift-detector killed, robbed of its checkpoint, or cut off from Kafka: it says the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from drift_desk import Desk, eventually, kafka_on, wipe
from drift_world import day, inference, outcome

from deploy.local.plan import free_ports
from driftgate.audit import broken_links
from driftgate.bus import Position
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec

pytestmark = pytest.mark.stack
A_DAY = 45
DAYS = 9


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBus]:
    with kafka_on(free_ports(2), tmp_path_factory.mktemp("kafka")) as bus:
        yield bus


@pytest.fixture(scope="module")
def calm(
    broker: KafkaBus, codec: Codec, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """What the service says of this world when nothing happens to it."""
    wipe(broker, codec)
    desk = Desk(broker, codec, tmp_path_factory.mktemp("calm"))
    with desk.service():
        desk.launch()
        play(desk, range(DAYS))
    return decisions(desk)


@pytest.fixture
def desk(calm: dict[str, list[Any]], broker: KafkaBus, codec: Codec, tmp_path: Path) -> Desk:
    wipe(broker, codec)
    return Desk(broker, codec, tmp_path)


def put_day(desk: Desk, number: int) -> None:
    rng = random.Random(number)
    for n in range(number * A_DAY, (number + 1) * A_DAY):
        at = day(number) + (n % A_DAY) * 60_000
        desk.put("inferences", inference(n, at))
        if n % 2:
            desk.put("outcomes", outcome(n, at + 1000, rng.random() >= 0.5))


def decisions(desk: Desk) -> dict[str, list[Any]]:
    """Every event by its id, in the order in which it was first said."""
    said: dict[str, list[Any]] = {}
    for topic, name in (("drift.alerts", "alert_id"), ("retrain.requests", "retrain_id")):
        said[topic] = list({event[name]: event for event in desk.said(topic)}.values())
    audit = desk.said("audit")
    assert len({entry["audit_id"] for entry in audit}) == len(audit)
    assert not broken_links(audit)
    said["audit"] = audit
    return said


def counted(desk: Desk) -> int:
    """Answers in the evidence."""
    memory = json.loads(desk.checkpoint.read_bytes())
    return int(memory["evidence"]["streams"]["post@1"]["confidence:all"]["events"])


def play(desk: Desk, days: range) -> None:
    for number in days:
        put_day(desk, number)
        desk.end_day(number)
        desk.settled()


@pytest.mark.parametrize("moment", ["before the tick", "after the tick", "in the middle"])
def test_killed_and_started_again_it_decides_the_same(
    desk: Desk, calm: dict[str, list[Any]], moment: str
) -> None:
    with desk.service() as child:
        desk.launch()
        play(desk, range(4))
        put_day(desk, 4)
        if moment == "before the tick":
            child.kill()
        desk.end_day(4)
        if moment == "in the middle":  # of handling the tick, or beside it
            eventually(desk.positions, "a position")
        child.kill()
    with desk.service():
        desk.settled()
        play(desk, range(5, DAYS))
    assert decisions(desk) == calm
    assert counted(desk) == DAYS * A_DAY


def moved(desk: Desk, before: Mapping[Position, int]) -> bool:
    return desk.caught_up() or desk.positions() != before


def test_killed_at_each_step_forward_it_decides_the_same(
    desk: Desk, calm: dict[str, list[Any]]
) -> None:
    desk.launch()
    for number in range(DAYS):
        put_day(desk, number)
        desk.end_day(number)
    for _ in range(4):
        with desk.service() as child:
            before = desk.positions()
            eventually(partial(moved, desk, before), "progress")
            child.kill()
    with desk.service():
        desk.settled()
    assert decisions(desk) == calm
    assert counted(desk) == DAYS * A_DAY


def test_without_its_checkpoint_it_reads_again_and_decides_nothing_new(
    desk: Desk, calm: dict[str, list[Any]]
) -> None:
    with desk.service() as child:
        desk.launch()
        play(desk, range(6))
        child.kill()
    desk.checkpoint.unlink()
    with desk.service():
        eventually(desk.checkpoint.exists, "a new checkpoint")
        desk.settled()
        play(desk, range(6, DAYS))
    assert decisions(desk) == calm
    assert counted(desk) == DAYS * A_DAY


def test_a_broker_that_is_away_for_a_while_costs_nothing(
    calm: dict[str, list[Any]], tmp_path: Path, codec: Codec
) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        with kafka_on(ports, tmp_path) as bus:
            wipe(bus, codec)
            desk = Desk(bus, codec, tmp_path)
            child = stack.enter_context(desk.service())
            desk.launch()
            play(desk, range(4))
        with kafka_on(ports, tmp_path) as bus:
            desk = Desk(bus, codec, tmp_path)
            if child.poll() is not None:  # it may end by the error; a supervisor starts it again
                stack.enter_context(desk.service())
            play(desk, range(4, DAYS))
            assert decisions(desk) == calm
            assert counted(desk) == DAYS * A_DAY
