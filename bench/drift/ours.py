"""Streams as this project's core watches them: by buckets of answers, with the budget that the core
lays on them and the bar that it sets."""

from __future__ import annotations

import numpy as np

from bench.drift.measures import FalseAlarms
from bench.drift.streams import GOOD, SEED, Floats, Numbers, Rate
from driftgate.drift import budget, lanes
from driftgate.drift.plan import tolerated_mean
from driftgate.model_repo import ModelYaml, parse

BUCKET = 10
PHASES = 10_000
ONE_STREAM = 1e-6
"""What a number of a stream spends that has the whole budget of one false alarm per million."""
TOLERANCE = 0.008
CASES = 10_000
BAR = tolerated_mean(GOOD, CASES, TOLERANCE)

ONE_MONITOR = f"""
model: post
task: {{kind: text-classification, labels: [right, wrong]}}
base: {{name: all-MiniLM-L6-v2}}
feedback: {{profile: [labels]}}
monitors: [{{name: errors, signal: quality, value: error, tolerance: {TOLERANCE}}}]
false_alarms: {{per_million: 1}}
gate: {{min_accuracy: 0.8, waived: [regression, probes]}}
rollout: {{stages: [{{name: full, percent: 100}}]}}
"""


def stake(config: ModelYaml | None = None, slices: tuple[str, ...] = ()) -> float:
    """What a number of the monitor `errors` spends of the budget; `slices` are those, without
    value, that are watched by themselves."""
    return budget.stakes(config or parse(ONE_MONITOR), slices)["errors"]


class Watch:
    """Streams beside each other, each with its bar; `stake` is that of a number."""

    def __init__(self, bars: Floats, stake: Floats | float) -> None:
        self.bars, self.stake = bars, stake
        self.evidence = lanes.empty(len(bars))

    def alarms(self, n: Floats, total: Floats) -> list[int]:
        """Gives each stream a bucket; which alarm, and begin anew."""
        self.evidence = lanes.grown(self.evidence, self.bars, n, total, self.stake * n)
        alarming = np.flatnonzero(lanes.level(self.evidence) >= lanes.ALARM)
        self.evidence[alarming] = 0
        return alarming.tolist()


def alarms(numbers: Numbers, stake: float, bars: Floats | float = BAR) -> list[list[int]]:
    """Of each run; see `measures.Alarms`."""
    runs, events = numbers.shape
    buckets = numbers.reshape(runs, events // BUCKET, BUCKET).sum(axis=2, dtype=float)
    watch, n = Watch(np.broadcast_to(bars, runs), stake), np.full(runs, float(BUCKET))
    found: list[list[int]] = [[] for _ in range(runs)]
    for at, total in enumerate(buckets.T):
        for run in watch.alarms(n, total):
            found[run].append((at + 1) * BUCKET)
    return found


# Streams that are drawn beside each other.
ROWS = 500


def false_alarms(rate: Rate, slices: int, events: int) -> FalseAlarms:
    """Of a model whose traffic is watched as a whole, by one stream, and, where there are several,
    in each of `slices` equal slices; its budget is one false alarm per million answers."""
    if slices == 1:
        return FalseAlarms(alarms_of_whole(rate, events, ONE_STREAM, ROWS), events)
    each = stake(slices=("customer",))
    whole = alarms_of_whole(rate, events, each, ROWS // 10)
    return FalseAlarms(whole + alarms_of_slices(rate, events, slices, each), events)


def alarms_of_whole(rate: Rate, events: int, stake: float, models: int) -> int:
    """Of several models, which have these answers together."""
    rng = np.random.default_rng([SEED, events, models])
    watch, n = Watch(np.full(models, BAR), stake), np.full(models, float(BUCKET))
    begin = rng.uniform(0, PHASES, models)
    found = 0
    for step in range(events // (models * BUCKET)):
        rates = rate(step * BUCKET + begin)
        found += len(watch.alarms(n, rng.binomial(BUCKET, rates).astype(float)))
    return found


def alarms_of_slices(rate: Rate, events: int, slices: int, stake: float) -> int:
    """Each answer of a model lies in one of its slices, by chance, and is alone in its bucket."""
    rng = np.random.default_rng([SEED, events, slices])
    watch, n = Watch(np.full(ROWS, BAR), stake), np.ones(ROWS)
    at = rng.uniform(0, PHASES, ROWS)
    found = 0
    for _ in range(events // ROWS):
        at += rng.geometric(1 / slices, ROWS)
        found += len(watch.alarms(n, (rng.random(ROWS) < rate(at)).astype(float)))
    return found
