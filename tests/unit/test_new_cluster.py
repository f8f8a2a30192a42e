"""A group that is unlike the training data becomes a part of the traffic: what is told of it."""

from __future__ import annotations

import random

from drift_world import LABELS, MODEL, YAML, day, inference

from driftgate.bus import Position
from driftgate.drift.alarms import Alarm
from driftgate.drift.incident_alerts import Known, alert
from driftgate.drift.incidents import Incidents, step
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import Observation, of_inference
from driftgate.model_repo import parse
from driftgate.reference import measure
from driftgate.tasks import task_of

CONFIG = parse(
    YAML[: YAML.index("  - {name: errors")]
    + "  - {name: clusters, signal: input, value: new_cluster}\n"
    + "false_alarms: {per_million: 1}\n"
    + YAML[YAML.index("triggers:") :]
)
A_DAY = 1_000


def answers(days: range, new: float, seed: int = 1) -> list[Observation]:
    """Labels take turns and inputs are as familiar as they may be; those that are new are answered
    `refund`, and look no stranger than some that are not."""
    rng, found = random.Random(f"{seed} {days}"), []
    for n in range(days.start * A_DAY, days.stop * A_DAY):
        over = {"output": LABELS[n % 3], "features": {"similarity": rng.random()}}
        request_id = f"usual-{n}"
        if rng.random() < new:
            near = rng.uniform(0.0, 0.4)
            over, request_id = {"output": "refund", "features": {"similarity": near}}, f"new-{n}"
        event = inference(n, day(n / A_DAY), request_id=request_id, **over)
        seen = of_inference(event, (Position("inferences", 0), n))
        assert seen is not None
        found.append(seen)
    return found


REFERENCE = measure(
    [seen.answer for seen in answers(range(4), 0, 7)], ["all"], task_of(CONFIG.task)
)


def alarms(*parts: list[Observation]) -> list[Alarm]:
    evidence, found = Evidence(), []
    for part in parts:
        end = part[-1].time + 180_000
        found += fold(evidence, part, end, CONFIG, {1: REFERENCE}).alarms_alone
    return found


def test_the_same_traffic_raises_nothing() -> None:
    assert alarms(answers(range(4), 0)) == []


def test_a_tenth_of_the_traffic_is_told_with_what_it_is_taken_for_and_where_to_look() -> None:
    first, *_ = alarms(answers(range(2), 0), answers(range(2, 3), 0.1))
    assert (first.stream, first.part, first.severity) == (
        "clusters:all:refund",
        "refund",
        "critical",
    )
    assert first.known < day(3), "within 1,000 answers"
    assert first.earliest <= day(2) <= first.latest
    assert f"(refund, all): {first.bad:.0f} unfamiliar of {first.n}, expected" in first.summary
    assert first.examples
    _, [opened] = step(Incidents(MODEL), [first], [], {1}, first.known)
    told = alert(opened, Known(MODEL, {m.name: m for m in CONFIG.monitors}, {1: day(0)}))
    assert told.cause == "new kinds of input"
    assert f"`driftgate clusters {MODEL}`" in told.advice
    assert told.examples == first.examples


def test_what_is_answered_with_another_label_is_no_new_cluster_where_it_is_familiar() -> None:
    usual = answers(range(4), 0)
    familiar = [
        seen
        for n, seen in enumerate(usual)
        if seen.answer.features["similarity"] > 0.45 or n % 3 != 1
    ]
    assert alarms(familiar) == [], "fewer unfamiliar ones of a label are none"
