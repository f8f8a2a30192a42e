"""All monitors together over half a year of a small desk: 45 answers a day, feedback for 45 % of
them of which 3 % is wrong, references from 350 held-out cases. Nothing is asked for while the world
stays; a loss of accuracy that creeps in over four weeks is noticed during or soon after."""

from __future__ import annotations

import random

import pytest
from drift_world import LABELS, YAML, day

from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import Observation
from driftgate.model_repo import parse
from driftgate.reference import measure
from driftgate.signals import Answer
from driftgate.tasks import task_of

# What a desk of this size needs: a budget of one false alarm in a million events, as a desk with
# thousands of answers a day can afford, would take months to notice the same loss.
MONITORS = """
monitors:
  - {name: errors, signal: quality, value: error, slices: [all, language=es],
     tolerance: 0.04, false_alarms_per_million: 50}
  - {name: confidence, signal: output, value: low_confidence, slices: [all, language=es],
     tolerance: 0.06, false_alarms_per_million: 50}
  - {name: strangeness, signal: input, value: low_similarity,
     tolerance: 0.04, false_alarms_per_million: 50}
triggers:
"""
CONFIG = parse(YAML[: YAML.index("monitors:")] + MONITORS.lstrip() + YAML.split("triggers:\n")[1])
SLICES = ["all", "language=es"]
DAYS, A_DAY, CASES = 168, 45, 350
TURN, WEEKS_4 = 30, 28


def answer(rng: random.Random, error: float) -> Answer:
    """A harder world has more texts that are unlike what was learned, and answers less surely."""
    wrong = rng.random() < error
    confidence = rng.betavariate(5, 3) if wrong else rng.betavariate(9, 1.2)
    similarity = rng.gauss(0.6 if wrong else 0.75, 0.1)
    slices = {"language": "es" if rng.random() < 0.3 else "en"}
    return Answer(rng.choice(LABELS), confidence, {"similarity": similarity}, slices, float(wrong))


def first_alarm(seed: int, loss: float) -> int | None:
    """Day of the first critical alert, when accuracy falls from 90 % by `loss` over four weeks."""
    rng = random.Random(seed)
    held_out = [answer(rng, 0.10) for _ in range(CASES)]
    references = {1: measure(held_out, SLICES, task_of(CONFIG.task))}
    evidence, number = Evidence(), 0
    for today in range(DAYS):
        error = 0.10 + loss * min(1.0, max(0.0, (today - TURN) / WEEKS_4))
        seen = []
        for _ in range(A_DAY):
            said, at, number = (
                answer(rng, error),
                day(today) + rng.randrange(86_400_000),
                number + 1,
            )
            known = (1 - said.error) if rng.random() < 0.03 else said.error
            told = Answer(said.output, slices=said.slices, error=known)
            parts = (f"r-{number}", 1, at)
            seen.append(Observation("answer", *parts, said, "inferences-0", number))
            if rng.random() < 0.45:
                seen.append(Observation("outcome", *parts, told, "outcomes-0", number))
        if fold(evidence, seen, day(today + 1), CONFIG, references).alarms:
            return today
    return None


@pytest.mark.parametrize("seed", range(3))
def test_a_world_that_stays_alarms_at_no_time(seed: int) -> None:
    assert first_alarm(seed, loss=0.0) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_of_15_points_is_noticed_about_when_it_is_complete(seed: int) -> None:
    noticed = first_alarm(seed, loss=0.15)
    assert noticed is not None
    assert TURN < noticed < TURN + WEEKS_4 + 14


def test_a_loss_of_8_points_is_mostly_noticed_in_the_weeks_after() -> None:
    noticed = sorted(first_alarm(seed, loss=0.08) or DAYS for seed in range(4))
    assert noticed[2] < TURN + WEEKS_4 + 28
