"""What a look at a rollout costs in a store that holds ten million answers.

The store's engine over HTTP, as the local stack runs it. The answers are of 400 days; of the last
one, 25,000 requests, both versions answered each, 6 % got a correction and 3 % a review, and two
metrics and a protected slice are declared. The first look of a stage, or after a restart, reads all
rows of it; each other one what came since, here a minute of that traffic.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figure import Figure
from bench.parts.bed import SCHEMAS, infrastructure
from driftgate.events import DAY_MS
from driftgate.model_repo import ModelYaml
from driftgate.slices import ALL
from driftgate.store import Store, migrate
from services.promoter.canary_analysis import Evidence
from services.promoter.evidence import Reader
from services.promoter.ledger import Trial

BEGIN = 1_700_000_000_000
DAYS, LOOKS = 400, 20
MINUTE_MS = 60_000
BLOCK = 1_000_000

ANSWERS = """
INSERT INTO inferences (topic, partition, offset, request_id, model, version, role, input_hash,
    slices, output, confidence, latency_ms, tokens, propensity, subject, time)
SELECT 'inferences', number % 2, number, concat('r', toString(number)), 'm',
    if(number >= {trial} AND {of_new}, 2, 1), 'live', 'aa',
    map('language', if(number % 5 = 0, 'es', 'en')), 'refund', 0.5, 3 + number % 7, 12, 0.5,
    if(number % 2 = 0, NULL, concat('p', toString({person}))),
    fromUnixTimestamp64Milli(toInt64({begin} + number * {step}))
FROM numbers({start}, {count})
"""
BESIDE = """
INSERT INTO inferences (topic, partition, offset, request_id, model, version, role, input_hash,
    output, propensity, time)
SELECT 'inferences', 2 + number % 2, number, concat('r', toString(number)), 'm',
    if({of_new}, 1, 2), 'shadow', 'aa',
    if(number % 12 = 0, 'billing', 'refund'), 0,
    fromUnixTimestamp64Milli(toInt64({begin} + number * {step}))
FROM numbers({start}, {count})
"""
SAID = """
INSERT INTO outcomes (topic, partition, offset, outcome_id, request_id, model, version, output,
    kind, label, was_correct, propensity, inference_time, feedback_time, time)
SELECT 'outcomes', '{kind}' = 'review', number, concat('{kind}', toString(number)),
    concat('r', toString(number)), 'm', 1, 'refund', '{kind}', 'billing', false,
    if('{kind}' = 'review', 0.03, NULL),
    fromUnixTimestamp64Milli(toInt64({begin} + number * {step})) AS asked,
    asked + 3600 AS said, said
FROM numbers({start}, {count}) WHERE cityHash64(number, '{kind}') % 100 < {percent}
"""


PERSON = "cityHash64(number) % 20000"
OF_NEW = f"cityHash64({PERSON}) % 2 = 0"


@dataclass(frozen=True)
class Filling:
    """A store that is filled with so many answers in the order of time.

    Attributes:
        first: number of the first request that both versions answer.
    """

    store: Store
    count: int

    @property
    def first(self) -> int:
        return self.count - self.count // DAYS

    def time_of(self, number: int) -> int:
        return BEGIN + round(number * self.step)

    @property
    def step(self) -> float:
        """Time between two requests, ms."""
        return DAYS * DAY_MS / self.count

    def store_rows(self, begin: int, end: int) -> None:
        """Requests number `begin` to `end`, what was answered beside, and what was said."""
        given = {"begin": BEGIN, "step": self.step, "of_new": OF_NEW, "person": PERSON}
        for start in range(begin, end, BLOCK):
            part = {"start": start, "count": min(BLOCK, end - start), **given}
            self.store.command(ANSWERS.format(trial=self.first, **part))
            for kind, percent in (("correction", 6), ("review", 3)):
                self.store.command(SAID.format(kind=kind, percent=percent, **part))
        begin = max(begin, self.first)
        if begin < end:
            part = {"start": begin, "count": end - begin, **given}
            self.store.command(BESIDE.format(**part))


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=evidence")
    parser.add_argument("--stored", type=int, default=10_000_000)
    given = parser.parse_args(args)
    found = []
    for profile in ("complaints", "thumbs", "labels"):
        with infrastructure("evidence") as stack:
            store = Store.connect(stack.store, "evidence")
            migrate(store, SCHEMAS / "store")
            print(f"storing {given.stored:,} answers")
            found += list(figures(profile, Filling(store, given.stored)))
            store.close()
    return [Figure("answers stored", f"{given.stored:,}"), *found]


def figures(profile: str, filling: Filling) -> Iterator[Figure]:
    minute = max(1, round(MINUTE_MS / filling.step))
    filled = filling.count - LOOKS * minute
    filling.store_rows(0, filled)
    reader, repo = Reader(lambda: filling.store), declared(profile)
    trial = Trial("m", 1, 2, filling.time_of(filling.first), 0.5)
    first, _ = timed(reader, trial, repo, filling.time_of(filled))
    seen = []
    for _ in range(LOOKS):
        filling.store_rows(filled, filled + minute)
        filled += minute
        seen.append(timed(reader, trial, repo, filling.time_of(filled)))
    later, evidence = statistics.median(seconds for seconds, _ in seen), seen[-1][1]
    anew = Reader(lambda: filling.store)
    alike = timed(anew, trial, repo, filling.time_of(filled))[1] == evidence
    known = ", ".join(f"{c.name} {c.known:,}" for c in evidence.comparisons if c.slice == ALL)
    yield Figure(f"{profile}: a look", f"{later * 1000:.0f} ms", "≤ 200 ms", later <= 0.2)
    yield Figure(f"{profile}: the first look of a stage", f"{first * 1000:.0f} ms")
    yield Figure(f"{profile}: a reader started anew sees the same", str(alike), "True", alike)
    yield Figure(f"{profile}: samples", f"{evidence.both:,} answered by both; {known}")


def timed(reader: Reader, trial: Trial, repo: ModelYaml, until: int) -> tuple[float, Evidence]:
    begun = time.perf_counter()
    found = reader.look(trial, repo, (), until)
    return time.perf_counter() - begun, found


def declared(profile: str) -> ModelYaml:
    return ModelYaml.model_validate(
        {
            "model": "m",
            "task": {"kind": "text-classification", "labels": ["refund", "billing"]},
            "base": {"name": "all-MiniLM-L6-v2"},
            "monitors": [],
            "gate": {"min_accuracy": 0.8, "protected": {"language=es": {}}},
            "feedback": {"profile": [profile, "review"], "settled_hours": 6},
            "review": {"share": 0.03},
            "rollout": {
                "stages": [{"name": "half", "percent": 50}, {"name": "full", "percent": 100}],
                "metrics": [{"name": "latency_ms"}, {"name": "tokens"}],
            },
        }
    )
