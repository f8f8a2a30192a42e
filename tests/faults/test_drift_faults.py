"""The drift-detector killed, robbed of its checkpoint, or cut off from Kafka: it says the same."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from drift_harness import Harness, eventually, kafka_on, wipe
from drift_world import MODEL, day, inference, outcome

from deploy.local.plan import free_ports
from driftgate.audit import broken_links
from driftgate.bus import Position
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import AuditEntry, DriftAlert, RetrainRequest
from services.drift_detector import checkpoint_file
from services.drift_detector.checkpoint import STATE

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
    harness = Harness(broker, codec, tmp_path_factory.mktemp("calm"))
    with harness.service():
        harness.launch()
        play(harness, range(DAYS))
    return decisions(harness)


@pytest.fixture
def harness(calm: dict[str, list[Any]], broker: KafkaBus, codec: Codec, tmp_path: Path) -> Harness:
    wipe(broker, codec)
    return Harness(broker, codec, tmp_path)


def put_day(harness: Harness, number: int) -> None:
    rng = random.Random(number)
    for n in range(number * A_DAY, (number + 1) * A_DAY):
        at = day(number) + (n % A_DAY) * 60_000
        harness.put(inference(n, at))
        if n % 2:
            harness.put(outcome(n, at + 1000, rng.random() >= 0.5))


def decisions(harness: Harness) -> dict[str, list[Any]]:
    """Every event by its id, in the order in which it was first said."""
    alerts = {event.alert_id: event for event in harness.sent(DriftAlert)}
    requests = harness.sent(RetrainRequest)
    assert len({event.retrain_id for event in requests}) == len(requests)
    entries = harness.sent(AuditEntry)
    audit = [entry.as_dict() for entry in entries]
    assert len({entry.audit_id for entry in entries}) == len(entries)
    assert not broken_links(entries)
    return {"alerts": list(alerts.values()), "requests": requests, "audit": audit}


def counted(harness: Harness) -> int:
    """Answers in the evidence."""
    state = STATE.validate_python(checkpoint_file.read(harness.checkpoint)).models[MODEL]
    return round(state.evidence.streams[1].seen("confidence:all")[0])


def play(harness: Harness, days: range) -> None:
    for number in days:
        put_day(harness, number)
        harness.end_day(number)
        harness.settled()


@pytest.mark.parametrize("moment", ["before the tick", "after the tick", "in the middle"])
def test_killed_and_started_again_it_decides_the_same(
    harness: Harness, calm: dict[str, list[Any]], moment: str
) -> None:
    with harness.service() as child:
        harness.launch()
        play(harness, range(4))
        put_day(harness, 4)
        if moment == "before the tick":
            child.kill()
        harness.end_day(4)
        if moment == "in the middle":  # of handling the tick, or beside it
            eventually(harness.positions, "a position")
        child.kill()
    with harness.service():
        harness.settled()
        play(harness, range(5, DAYS))
    assert decisions(harness) == calm
    assert counted(harness) == DAYS * A_DAY


def moved(harness: Harness, before: Mapping[Position, int]) -> bool:
    return harness.caught_up() or harness.positions() != before


def test_killed_at_each_step_forward_it_decides_the_same(
    harness: Harness, calm: dict[str, list[Any]]
) -> None:
    harness.launch()
    for number in range(DAYS):
        put_day(harness, number)
        harness.end_day(number)
    for _ in range(4):
        with harness.service() as child:
            before = harness.positions()
            eventually(partial(moved, harness, before), "progress")
            child.kill()
    with harness.service():
        harness.settled()
    assert decisions(harness) == calm
    assert counted(harness) == DAYS * A_DAY


def test_without_its_checkpoint_it_reads_again_and_decides_nothing_new(
    harness: Harness, calm: dict[str, list[Any]]
) -> None:
    with harness.service() as child:
        harness.launch()
        play(harness, range(6))
        child.kill()
    harness.checkpoint.unlink()
    with harness.service():
        eventually(harness.checkpoint.exists, "a new checkpoint")
        harness.settled()
        play(harness, range(6, DAYS))
    assert decisions(harness) == calm
    assert counted(harness) == DAYS * A_DAY


def test_two_share_the_reading_and_when_one_is_killed_it_decides_the_same(
    harness: Harness, calm: dict[str, list[Any]]
) -> None:
    with harness.service("0") as first, harness.service("1"):
        eventually(lambda: harness.readers() == {"0", "1"}, "both read")
        harness.launch()
        play(harness, range(4))
        put_day(harness, 4)
        first.kill()  # the one that counts
        harness.end_day(4)
        harness.settled()
        assert harness.readers() == {"1"}
        play(harness, range(5, DAYS))
    assert decisions(harness) == calm
    assert counted(harness) == DAYS * A_DAY


def test_a_broker_that_is_away_for_a_while_costs_nothing(
    calm: dict[str, list[Any]], tmp_path: Path, codec: Codec
) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        with kafka_on(ports, tmp_path) as bus:
            wipe(bus, codec)
            harness = Harness(bus, codec, tmp_path)
            child = stack.enter_context(harness.service())
            harness.launch()
            play(harness, range(4))
        with kafka_on(ports, tmp_path) as bus:
            harness = Harness(bus, codec, tmp_path)
            if child.poll() is not None:  # it may end by the error; a supervisor starts it again
                stack.enter_context(harness.service())
            play(harness, range(4, DAYS))
            assert decisions(harness) == calm
            assert counted(harness) == DAYS * A_DAY


def test_its_health_tells_how_many_records_wait(harness: Harness) -> None:
    """Of what it counts itself and of what it reads for the one that counts."""
    (port,) = free_ports(1)
    kept, away = harness.folder / "artifacts", harness.folder / "away"

    def lag() -> int | None:
        """None while nothing answers."""
        try:
            found: int | None = httpx.get(f"http://127.0.0.1:{port}/healthz").json().get("lag")
        except httpx.TransportError:
            return None
        return found

    harness.launch()
    put_day(harness, 0)
    harness.end_day(0)
    kept.rename(away)
    kept.touch()  # the artifact store does not answer: the declaration waits
    with harness.service(DRIFTGATE_HTTP_PORT=str(port)):
        eventually(lambda: (lag() or 0) > 0, "a lag")
        kept.unlink()
        away.rename(kept)
        harness.settled()
        eventually(lambda: lag() == 0, "no lag")
        assert counted(harness) == A_DAY
