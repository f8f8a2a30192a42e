"""What people are told of one change that stays: wrong answers rise in all slices and go on so, for
ten days, through the core's `fold` and its incidents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.drift.feedback import (
    A_DAY,
    BEFORE,
    REFERENCE,
    START,
    TICK_MS,
    Setting,
    observed,
    time_of,
)
from bench.figure import Figure
from driftgate.drift.incidents import Incidents, Transition, step
from driftgate.drift.monitoring import Evidence, fold
from driftgate.events import DAY_MS

DAYS = 10
MOST_A_DAY = 5


def figures() -> Iterator[Figure]:
    alarms, steps = lived()
    opened = sum(step.kind == "open" for step in steps)
    updates = most_in_a_day([step.at for step in steps if step.kind == "update"])
    value = f"{opened} incident, at most {updates} updates in 24 hours, of {alarms:,} alarms"
    good = opened == 1 and updates <= MOST_A_DAY
    what = f"alerts of one change that lasts {DAYS} days, {A_DAY:,} answers a day"
    yield Figure(what, value, f"1 incident, ≤ {MOST_A_DAY} updates a day", good)


def lived() -> tuple[int, list[Transition]]:
    """How many alarms there were, and the steps that they came to."""
    setting = Setting("labels", 1.0, 0)
    config, evidence, incidents = setting.config, Evidence(), Incidents("post")
    world = sorted(observed(setting, 1, after=DAYS * A_DAY), key=lambda seen: seen.time)
    alarms, steps, at = 0, [], 0
    for now in range(START, time_of(BEFORE) + DAYS * DAY_MS, TICK_MS):
        begin = at
        while at < len(world) and world[at].time < now:
            at += 1
        told = fold(evidence, world[begin:at], now, config, {1: REFERENCE})
        heard = [alarm for alarm, _ in told.alarms]
        incidents, new = step(incidents, heard, told.conditions, {1}, now)
        alarms += len(heard)
        steps += new
    return alarms, steps


def most_in_a_day(times: Sequence[int]) -> int:
    """Of what happened at these times, ms, the most within 24 hours."""
    return max((sum(at <= other < at + DAY_MS for other in times) for at in times), default=0)
