"""Speed and room of the drift core: answers and labels become counts, evidence and alarms.

The monitors of the example model, under profile `labels`, on answers with confidence, similarity
and a slice of three values, of which half get a label; 2,000 events a second of their own time and
a tick a second; with 10 labels and with 77. Measured is processor time from typed events to
evidence, in one thread. Room: what a version keeps of 10,000 streams, one for each slice value.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from bench.drift import through_kafka
from bench.drift.through_kafka import Hot
from bench.figure import Figure
from driftgate.bus import Position
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import Observation, observed
from driftgate.drift.plan import plan
from driftgate.drift.version_streams import BYTES, VersionStreams
from driftgate.events import Inference, Outcome
from driftgate.model_repo import ModelYaml, parse
from driftgate.reference import measure
from driftgate.signals import Answer, Reference
from driftgate.tasks import task_of

EXAMPLE = Path(__file__).parents[1] / "examples" / "support-triage" / "model.yaml"
A_SECOND, START = 2_000, 1_767_225_600_000
SLICES = ["all", "language=es"]
Event = Inference | Outcome


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=drift-speed", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--through-kafka", type=int, default=60_000)
    given = parser.parse_args(args)
    found = []
    for labels in (10, 77):
        speed, slowest = speed_with(labels, given.events)
        found.append(
            Figure(f"events/s, {labels} labels", f"{speed:,.0f}", "≥ 60,000", speed >= 60_000)
        )
        tick = f"slowest tick of {A_SECOND:,} events, {labels} labels"
        found.append(Figure(tick, f"{slowest * 1000:.0f} ms", "≤ 200 ms", slowest <= 0.2))
    return [*found, *through_kafka.figures(hot(given.through_kafka)), *room(10_000)]


def config(labels: list[str]) -> ModelYaml:
    """The example's, with other labels."""
    text = EXAMPLE.read_text()
    declared = parse(text).model_dump(mode="json", exclude_unset=True)
    declared["task"]["labels"] = labels
    declared["feedback"]["profile"] = ["labels"]
    declared["review"]["share"] = 0.0
    declared["gate"]["waived"] = ["regression", "probes"]
    return ModelYaml.model_validate(declared)


def answer(rng: random.Random, labels: list[str]) -> Answer:
    return Answer(
        rng.choice(labels),
        rng.betavariate(9, 1.2),
        {"similarity": rng.gauss(0.75, 0.1), "words": float(rng.randint(3, 40))},
        {"language": rng.choice(("en", "es", "de"))},
        error=float(rng.random() < 0.1),
    )


def events(count: int, labels: list[str]) -> Iterator[Event]:
    """Of version 1: answers, and labels on every other one."""
    rng = random.Random(1)
    for n in range(count * 2 // 3):
        said, at = answer(rng, labels), START + n * 1500 // A_SECOND
        about = {
            "request_id": f"0198-{n:012d}",
            "model": "example",
            "version": 1,
            "output": said.output,
            "slices": said.slices,
            "confidence": said.confidence,
        }
        yield Inference(**about, input_hash="0" * 64, features=said.features, time=at)
        if n % 2:
            right = not said.error
            yield Outcome(
                **about,
                outcome_id=f"f-{n}",
                kind="correction",
                was_correct=right,
                inference_time=at,
                feedback_time=at,
                time=at,
            )


def speed_with(labels: int, count: int) -> tuple[float, float]:
    """Events a second of processor time, and the seconds of the slowest tick."""
    names = [f"label-{n}" for n in range(labels)]
    declared, rng = config(names), random.Random(2)
    held_out = [answer(rng, names) for _ in range(2_000)]
    references: dict[int, Reference] = {1: measure(held_out, SLICES, task_of(declared.task))}
    made, evidence, spent = events(count, names), Evidence(), []
    for first in range(0, count, A_SECOND):
        # No more at a time: what the bench holds would be looked through by the garbage collector.
        together = list(islice(made, A_SECOND))
        began = time.process_time()
        fold(evidence, seen(together, first), together[-1].time, declared, references)
        spent.append(time.process_time() - began)
    return count / sum(spent), max(spent)


def hot(count: int) -> Hot:
    """The example's own ten labels, as events on Kafka."""
    declared = config([f"label-{n}" for n in range(10)])
    names = list(declared.task.labels)
    made = [replace(event, model=declared.model) for event in events(count, names)]
    held_out = [answer(random.Random(2), names) for _ in range(2_000)]
    return Hot(
        json.dumps(declared.model_dump(mode="json", exclude_unset=True)),  # which is YAML too
        measure(held_out, SLICES, task_of(declared.task)),
        [made[at : at + A_SECOND] for at in range(0, count, A_SECOND)],
    )


def seen(together: list[Event], first: int) -> Iterator[Observation]:
    places = ((event, (Position(event.TOPIC, 0), at)) for at, event in enumerate(together, first))
    return (one for event, place in places if (one := observed(event, place)) is not None)


def room(count: int) -> list[Figure]:
    names = [f"customer={n}" for n in range(count)]
    wanted = plan(config(["a", "b"]), {}, names)
    streams = VersionStreams()
    streams.align(wanted)
    kept = (streams.evidence, streams.mean, streams.base, streams.history.counts)
    own = sum(array.nbytes for array in kept) / 2**20
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure("bytes of state a stream, without its name", f"{BYTES}", "≤ 200", BYTES <= 200),
        Figure(
            f"memory with {len(streams.names):,} streams",
            f"{whole:.0f} MiB for the whole process, {own:.1f} MiB the streams",
            "≤ 500 MB",
            whole <= 500,
        ),
    ]
