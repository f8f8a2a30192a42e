"""The time machine against the drift-detector: what was told live, on Apache Kafka, is what a
replay of the stored events tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from drift_harness import Harness, kafka_on, wipe
from drift_world import CONFIG, MODEL, day, inference, outcome, routing, verdict
from stored_world import keep, store_here

from deploy.local.plan import free_ports
from driftgate.codec import Codec
from driftgate.drift.incident_alerts import Known, alert
from driftgate.drift.replay import Replay
from driftgate.events import DAY_MS, DriftAlert
from services.console.stored_events import events, stored

pytestmark = pytest.mark.stack
A_DAY, DAYS = 90, 16
BAD = range(6, 10)
TOPICS = ("inferences", "outcomes", "verdicts", "routing", "retrain.requests")


@pytest.fixture
def harness(tmp_path: Path, codec: Codec) -> Iterator[Harness]:
    with kafka_on(free_ports(2), tmp_path) as bus:
        wipe(bus, codec)
        yield Harness(bus, codec, tmp_path)


def put_day(harness: Harness, number: int, version: int) -> None:
    """Of each hour's answers some are wrong, of bad days most; people tell it an hour later."""
    for n in range(number * A_DAY, (number + 1) * A_DAY):
        at = day(n / A_DAY)
        wrong = n % 10 < (6 if number in BAD else 1)
        harness.put(inference(n, at, version), outcome(n, at + DAY_MS // 24, not wrong, version))


def test_a_replay_of_the_live_period_comes_to_the_same_alerts(
    harness: Harness, codec: Codec
) -> None:
    with harness.service():
        harness.launch()
        harness.put(routing(1, day(0)))
        for number in range(DAYS):
            if number == 8:  # another version takes the place, and answers as badly at first
                replaced = day(8) + 60_000
                harness.put(verdict(2, replaced), routing(2, replaced, epoch=2))
                harness.ticker.write(replaced)
                harness.settled()
            put_day(harness, number, 1 if number < 8 else 2)
            harness.end_day(number)
            harness.settled()
    live: list[DriftAlert] = harness.sent(DriftAlert)
    with store_here() as store:
        keep(store, codec, harness.bus.read_all(TOPICS))
        first = stored(store, MODEL).first
        replay = Replay(CONFIG, first)
        said = list(replay.run(events(store, MODEL, first, day(DAYS)), day(DAYS)))
    known = Known(MODEL, {m.name: m for m in CONFIG.monitors}, replay.state.evidence.first)
    told = [alert(step, known) for one in said for step in one.steps]
    assert {one.version for one in live} == {1, 2}
    assert {one.transition for one in live} >= {"open", "close"}
    assert [without_action(one) for one in told] == [without_action(one) for one in live]


def without_action(event: DriftAlert) -> dict[str, object]:
    """All that is told but what the loop does about it, which depends on when the clock ticked."""
    return event.as_dict() | {"action": ""}
