"""Drift detection: how late, how often in vain, beside peers in the same run.

Streams of right and wrong answers with 10 % wrong ones, which become 20 %. The reference is 10 % of
10,000 cases, 0.8 points are tolerated, the budget is one false alarm per million answers for the
whole model, and a bucket holds 10 answers. Delays are answers from the change to the first alarm
after it, p50 / p95; a run without one counts as the horizon of 10,000 answers. Wobble is a sine
between .07 and .13 with a period of 500 answers; improvement goes between .10 and .05, every 5,000.
Peers have the settings that they come with, and their own environment where they are not river's.
Evidently and NannyML look at windows of 500 answers, with the same reference; alibi-detect is set
to a run of 1,000 answers.
New intents, feedback and the one change that lasts: `bench/drift/new_intent.py`, `feedback.py` and
`persistent.py` say how; `--monitors` runs those alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.drift import environments, feedback, new_intent, ours, persistent, river_peers
from bench.drift.environments import BESIDE, Absent, Beside
from bench.drift.measures import Alarms, Delays, FalseAlarms, delays, power
from bench.drift.river_peers import RIVER
from bench.drift.streams import (
    GOOD,
    HARMLESS,
    Numbers,
    Worsening,
    drawn,
    slide,
    steady,
    step,
    wobble,
)
from bench.figure import Figure
from driftgate.drift.plan import tolerated_mean
from driftgate.model_repo import FalseAlarms as Budget
from driftgate.model_repo import declared

EXAMPLE = Path("examples/support-triage")
BEFORE = {5_000: 270, 200: 280, 0: 280}
"""Answers before the change, and the goal."""
SHARED_GOAL, SLICE_GOAL = 400, 600
SLIDING = "slide"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is drawn. divisor: of the peers' runs and answers."""

    runs: int = 300
    events: int = 400_000_000
    events_of_slices: int = 40_000_000
    divisor: int = 1
    groups: int = 10
    repetitions: int = 3


QUICK = Size(
    runs=100, events=4_000_000, events_of_slices=4_000_000, divisor=10, groups=1, repetitions=1
)


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=drift-quality")
    parser.add_argument("--quick", action="store_true", help="a trial, with few runs")
    parser.add_argument("--monitors", action="store_true", help="whole monitors alone, no peers")
    given = parser.parse_args(args)
    size = QUICK if given.quick else Size()
    if given.monitors:
        return list(said(whole_monitors(size)))
    with ThreadPoolExecutor(1) as pool:
        beside = {peer: pool.submit(told_beside, peer, size) for peer in BESIDE}
        return list(said(figures(size, beside)))


def said(found: Iterator[Figure]) -> Iterator[Figure]:
    """Each figure as soon as it is there."""
    console = Console(stderr=True)
    for figure in found:
        console.print(f"{figure.what}: {figure.value} {figure.mark}", highlight=False)
        yield figure


def figures(size: Size, beside: dict[Beside, Future[Told]]) -> Iterator[Figure]:
    steps = {before: step(size.runs, before) for before in BEFORE}
    sliding = slide(size.runs)
    yield from own_delays(steps)
    mine = measured(ours.alarms(sliding.numbers, ours.ONE_STREAM), sliding)
    yield from false_alarms(size)
    yield from one_slice(size)
    peers = [(peer.name, told_by_river(peer, steps, sliding, size)) for peer in RIVER]
    peers += [(peer.title, future.result()) for peer, future in beside.items()]
    yield from slow_decline(mine, peers)
    for name, told in peers:
        yield from told.figures(name)
    yield from whole_monitors(size)


def whole_monitors(size: Size) -> Iterator[Figure]:
    yield from new_intent.figures(size.groups)
    yield from persistent.figures()
    yield from feedback.figures(size.repetitions)


def measured(alarms: Alarms, stream: Worsening) -> Delays:
    return delays(alarms, stream.change, stream.horizon)


# ---------------------------------------------------------------- ours


def own_delays(steps: dict[int, Worsening]) -> Iterator[Figure]:
    for before, stream in steps.items():
        found = measured(ours.alarms(stream.numbers, ours.ONE_STREAM), stream)
        good = found.p50 <= BEFORE[before] and not found.missed
        what = f"accuracy .90 → .80 after {before:,} answers, one stream"
        yield Figure(what, found.words, f"p50 ≤ {BEFORE[before]}, 0 missed", good)
    stream = steps[5_000]
    config = declared(EXAMPLE).config.model_copy(update={"false_alarms": Budget(per_million=1)})
    found = measured(ours.alarms(stream.numbers, ours.stake(config, ("language",))), stream)
    good = found.p50 <= SHARED_GOAL and not found.missed
    what = "the same, the budget shared by the example's streams"
    yield Figure(what, found.words, f"p50 ≤ {SHARED_GOAL}, 0 missed", good)
    by_luck = bars(2_000, len(stream.numbers))
    found = measured(ours.alarms(stream.numbers, ours.ONE_STREAM, by_luck), stream)
    yield Figure("the same, one stream, each reference drawn on 2,000 cases", found.words)


def bars(cases: int, runs: int) -> ours.Floats:
    """As evaluations of so many cases would set them."""
    means = np.random.default_rng(cases).binomial(cases, GOOD, runs) / cases
    return np.array([tolerated_mean(mean, cases, ours.TOLERANCE) for mean in means])


def false_alarms(size: Size) -> Iterator[Figure]:
    for name, rate in HARMLESS.items():
        for slices in (1, 20, 500):
            events = size.events if slices == 1 else size.events_of_slices
            found = ours.false_alarms(rate, slices, events)
            what = f"false alarms in {name}, {slices} slice{'s' * (slices > 1)}"
            yield Figure(what, found.words, "≤ 1 per 10⁶", found.at_most <= 1)
    found = ours.false_alarms(wobble(2_000), 1, size.events)
    yield Figure("false alarms in a wobble with a period of 2,000, 1 slice", found.words)


def one_slice(size: Size) -> Iterator[Figure]:
    """Its own answers alone tell: those of the 499 others are a little better."""
    stream = step(size.runs, 200, bad=0.30)
    found = measured(ours.alarms(stream.numbers, ours.stake(slices=("customer",))), stream)
    good = found.p50 <= SLICE_GOAL and not found.missed
    what = "one slice of 500 drops by 20 points, the total holds: its own answers"
    yield Figure(what, found.words, f"p50 ≤ {SLICE_GOAL}", good)


def slow_decline(mine: Delays, peers: list[tuple[str, Told]]) -> Iterator[Figure]:
    what = "accuracy .90 → .80 over 10,000 answers"
    yield Figure(what, mine.words, "0 missed", not mine.missed)
    for name, told in peers:
        if told.sliding is None:
            continue
        found, false = told.sliding, told.harmless["control"].rate
        value = f"{found.words}; {false:.3g} false alarms per 10⁶ in control"
        if told.is_set:
            yield Figure(f"the same, {name}", value)
        else:
            later = found.p50 > mine.p50
            yield Figure(f"the same, {name}", value, f"p50 > {mine.p50:,.0f}", later)


# ---------------------------------------------------------------- peers


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer comes to; `absent` says why it was not run. is_set: see `Beside`."""

    steps: dict[int, Delays]
    sliding: Delays | None
    harmless: dict[str, FalseAlarms]
    absent: str = ""
    is_set: bool = False

    def figures(self, name: str) -> Iterator[Figure]:
        if self.absent:
            yield Figure(f"beside: {name}", self.absent)
            return
        what = f"beside: {name}, after {' · '.join(f'{before:,}' for before in self.steps)} answers"
        yield Figure(what, " · ".join(found.words for found in self.steps.values()))
        each = (f"{name} {found.rate:.3g}" for name, found in self.harmless.items())
        events = power(next(iter(self.harmless.values())).events)
        what = f"beside: {name}, false alarms per 10⁶ (of {events} each)"
        yield Figure(what, ", ".join(each))


def told_by_river(
    peer: river_peers.RiverPeer, steps: dict[int, Worsening], sliding: Worsening, size: Size
) -> Told:
    runs, events = peer.runs // size.divisor, peer.events // size.divisor

    def found(stream: Worsening) -> Delays:
        stream = stream.first(runs)
        return measured(river_peers.alarms(peer, stream.numbers, stream.change), stream)

    def false(numbers: Numbers) -> FalseAlarms:
        return FalseAlarms(len(river_peers.alarms(peer, numbers)[0]), events)

    return Told(
        {before: found(stream) for before, stream in steps.items()},
        found(sliding),
        {name: false(steady(rate, events)) for name, rate in HARMLESS.items()},
    )


def told_beside(peer: Beside, size: Size) -> Told:
    """By a peer that runs in an environment of its own."""
    runs, events = peer.runs // size.divisor, peer.events // size.divisor
    worse = {str(before): step(runs, before) for before in BEFORE} | {SLIDING: slide(runs)}
    calm = {name: steady(rate, events) for name, rate in HARMLESS.items()}
    streams: dict[str, tuple[Numbers, int | None]] = {
        **{name: (stream.numbers, stream.change) for name, stream in worse.items()},
        **{name: (numbers, None) for name, numbers in calm.items()},
    }
    reference = drawn(np.full(ours.CASES, GOOD), 1, 1)[0]
    try:
        alarms = environments.alarms(peer, reference, streams)
    except Absent as error:
        return Told({}, None, {}, absent=str(error))
    told = {name: measured(alarms[name], stream) for name, stream in worse.items()}
    return Told(
        {before: told[str(before)] for before in BEFORE},
        told[SLIDING],
        {name: FalseAlarms(len(alarms[name][0]), events) for name in calm},
        is_set=peer.is_set,
    )
