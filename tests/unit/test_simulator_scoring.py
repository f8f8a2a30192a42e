"""Counting against the world's labels, and waiting until all is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from driftgate.bus import Position
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.events import Feedback
from driftgate.topology import INGEST, READS
from services.simulator.kinds import Labels
from services.simulator.known_labels import KnownLabels
from services.simulator.quiescence import NotQuiescentError, Quiescence
from services.simulator.scoring import (
    Gain,
    Judged,
    Truth,
    Week,
    by_week,
    false_alarms,
    gain,
    judge,
    judged,
)

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")


def answer(request: str, version: int, output: str, role: str = "live") -> dict[str, object]:
    return {"request_id": request, "version": version, "role": role, "output": output}


def test_the_frozen_baseline_counts_wherever_it_answered() -> None:
    truths = {"r1": Truth(1, "a"), "r2": Truth(1, "b", known=False), "r3": Truth(2, "a")}
    answers = [
        answer("r1", 1, "a"),
        answer("r2", 2, "b"),
        answer("r2", 1, "a", "shadow"),
        answer("r3", 2, "a"),
        answer("r3", 1, "b", "shadow"),
        answer("unknown", 2, "a"),
    ]
    found = by_week(judged(truths, answers, Labels(("a", "b"))))
    assert found == (Week(1, 2, 1.0, 0.5, 1, known=0.5), Week(2, 1, 1.0, 0.0, 2))


def week(number: int, loop: float, baseline: float, champion: int) -> Week:
    return Week(number, 100, loop, baseline, champion)


def test_the_loop_holds_when_it_stays_above_the_gate_after_its_first_refresh() -> None:
    falling = [week(1, 0.9, 0.9, 1), week(2, 0.7, 0.7, 1)]
    good = judge([*falling, week(3, 0.78, 0.6, 2), week(4, 0.88, 0.6, 2)], 0.8)
    assert (good.refreshed, good.below, good.held) == (3, (), True)
    bad = judge([*falling, week(3, 0.9, 0.6, 2), week(4, 0.79, 0.6, 2)], 0.8)
    assert (bad.below, bad.held) == ((4,), False)


def test_a_week_is_held_to_the_gate_on_what_could_be_known() -> None:
    """A tenth of week 3 has a label that nobody had named: 0.73 is enough of it, 0.71 is not."""
    weeks = [week(1, 0.9, 0.9, 1), week(2, 0.9, 0.9, 2)]
    good = judge([*weeks, replace(week(3, 0.73, 0.6, 2), known=0.9)], 0.8)
    assert (good.below, good.below_line, good.held) == ((), (3,), True)
    bad = judge([*weeks, replace(week(3, 0.71, 0.6, 2), known=0.9)], 0.8)
    assert (bad.below, bad.below_line, bad.held) == ((3,), (3,), False)


def compared(number: int, week: int, loop: bool, frozen: bool) -> list[Judged]:
    """The loop's answer to a request, and the frozen version's."""
    truth = Truth(week, "t")
    return [
        Judged(f"r{number}", truth, version, version != 1, right, None, True)
        for version, right in ((2, loop), (1, frozen))
    ]


def test_the_gain_is_that_of_the_last_four_weeks_on_what_both_answered() -> None:
    early = [one for n in range(50) for one in compared(n, 1, False, True)]
    last = [one for n in range(100) for one in compared(100 + n, 5, n % 2 == 0, n % 4 == 0)]
    unheard = compared(999, 5, True, False)[:1]  # the frozen version did not answer it
    found = gain([*early, *last, *unheard])
    assert found is not None
    assert (found.requests, found.mean) == (100, 0.25)
    # Differences are 1 in 25 of 100 and 0 else: a standard error of 0.0435.
    assert found.low == pytest.approx(0.25 - 1.96 * 0.0435, abs=1e-3)
    assert found.high == pytest.approx(0.25 + 1.96 * 0.0435, abs=1e-3)
    assert gain(early[:2]) is None
    assert isinstance(found, Gain)


def feedback(label: str | None, time: int) -> Feedback:
    ids = {"feedback_id": "f", "request_id": "r", "model": "m"}
    return Feedback(**ids, kind="correction" if label else "rating", label=label, time=time)


def test_a_label_is_known_from_the_first_feedback_that_rightly_names_it() -> None:
    known = KnownLabels.at_launch(["old"])
    known.add("new", feedback("old", 10))  # mistaken
    known.add("old", feedback("newest", 10))
    known.add("new", feedback(None, 20))  # a rating
    known.add("new", feedback("new", 40))
    known.add("new", feedback("new", 30))
    assert known.at("old", 1)
    assert [known.at("new", time) for time in (29, 30, 31)] == [False, False, True]
    assert not known.at("newest", 99)


def test_a_request_while_the_version_was_as_good_as_ever_is_a_false_alarm() -> None:
    good = [(n, 1, n % 10 != 0) for n in range(1000)]
    worse = [(1000 + n, 1, n % 3 != 0) for n in range(1000)]
    requests = [{"retrain_id": "false", "time": 900}, {"retrain_id": "true", "time": 1900}]
    assert false_alarms(requests, good + worse, {1: 0.9}, 500, 0.03) == ["false"]


@pytest.fixture
def bus() -> MemoryBus:
    found = MemoryBus()
    found.ensure(CODEC.topics.by_name.values())
    return found


def quiescence(bus: MemoryBus) -> Quiescence:
    return Quiescence(bus, CODEC, deadline_seconds=0.05)


def commit(bus: MemoryBus, topic: str, offset: int, *groups: str) -> None:
    for group in groups:
        bus.groups[group][Position(topic, 0)] = offset


def test_it_waits_for_every_group_that_reads_a_topic(bus: MemoryBus) -> None:
    quiescence(bus).of_all()
    bus.producer().send("verdicts", b"m", b"some")
    commit(bus, "verdicts", 1, INGEST, "drift-detector")
    with pytest.raises(NotQuiescentError, match="promoter is behind by 1 on verdicts-0"):
        quiescence(bus).of_all()
    commit(bus, "verdicts", 1, *READS)
    quiescence(bus).of_all()


def test_it_waits_for_the_router(bus: MemoryBus) -> None:
    bus.producer().send("routing", b"m", b"some")
    commit(bus, "routing", 1, INGEST)
    with pytest.raises(NotQuiescentError, match="router-0 is behind by 1 on routing-0"):
        quiescence(bus).of_all()


def test_what_a_record_leads_to_while_it_looks_is_waited_for(bus: MemoryBus) -> None:
    """The ends are read before the groups: in between, a group may finish a record and send on."""
    bus.producer().send("commands", b"m", b"some")
    commit(bus, "commands", 1, INGEST, "promoter")
    read, looks = bus.committed, []

    def finishes_now(group: str) -> Mapping[Position, int]:
        looks.append(group)
        if group == "drift-detector" and looks.count(group) == 2:
            bus.producer().send("retrain.requests", b"m", b"some")
            commit(bus, "retrain.requests", 1, INGEST)
            commit(bus, "commands", 1, group)
        return read(group)

    bus.committed = finishes_now  # type: ignore[method-assign]
    with pytest.raises(NotQuiescentError, match=r"trainer is behind by 1 on retrain\.requests-0"):
        quiescence(bus).of_all()
