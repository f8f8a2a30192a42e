"""How late a drop is seen by what people say: through the core's own `fold`, under each feedback
profile, with feedback on a share of the answers that comes some time after each.

10,000 answers a day. Under `labels` and `thumbs` the share is of all answers. Under `corrections`
it is of wrong ones, and silence counts an hour after feedback had its time. Under `review` it is
drawn at random. `thumbs` and `corrections` are compared with what the first answers measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.drift.measures import delays
from bench.drift.ours import CASES, ONE_MONITOR
from bench.drift.streams import BAD, GOOD, SEED
from bench.figure import Figure
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import Observation, Word
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.model_repo import ModelYaml, parse
from driftgate.signals import Answer

PROFILES = ("labels", "corrections", "thumbs", "review")
SHARES = (1.0, 0.3, 0.05)
WAITS = {"0": 0, "1 day": DAY_MS, "1 week": 7 * DAY_MS}
START = 1_767_225_600_000
A_DAY = 10_000
BEFORE, HORIZON = 12_000, 20_000
TICK_MS = 6 * HOUR_MS
KINDS = {
    "labels": "correction",
    "corrections": "correction",
    "thumbs": "rating",
    "review": "review",
}
REFERENCE = {"error|all": GOOD, "n|error|all": float(CASES)}


@dataclass(frozen=True, slots=True)
class Setting:
    """share: of answers, or of wrong ones, that get feedback. wait: until it comes, ms."""

    profile: str
    share: float
    wait: int

    @property
    def config(self) -> ModelYaml:
        hours = self.wait / HOUR_MS + 1
        declared = f"feedback: {{profile: [{self.profile}], settled_hours: {hours:g}}}"
        if self.profile == "review":
            declared += f"\nreview: {{share: {self.share:g}}}"
        return parse(ONE_MONITOR.replace("feedback: {profile: [labels]}", declared))


def figures(repetitions: int) -> Iterator[Figure]:
    for profile in PROFILES:
        for share in SHARES:
            told = [late(Setting(profile, share, wait), repetitions) for wait in WAITS.values()]
            what = f"{profile} on {share:.0%}, {' · '.join(WAITS)} late: answers (days), p50"
            yield Figure(what, " · ".join(told))


def late(setting: Setting, repetitions: int) -> str:
    runs = [first_alarm(setting, seed) for seed in range(repetitions)]
    waits = setting.wait * A_DAY // DAY_MS
    found = delays([[at] if at else [] for at in runs], 0, HORIZON + waits)
    missed = f", {found.missed} of {found.runs} missed" if found.missed else ""
    if found.missed == found.runs:
        return "none seen"
    return f"{found.p50:,.0f} ({found.p50 / A_DAY:.1f}{missed})"


def first_alarm(setting: Setting, seed: int) -> int | None:
    """How many answers were given from the change to the first alarm; None: it did not alarm."""
    config, evidence = setting.config, Evidence()
    world = sorted(observed(setting, seed), key=lambda seen: seen.time)
    change, at = time_of(BEFORE), 0
    last = time_of(BEFORE + HORIZON) + setting.wait + DAY_MS
    for now in range(START, last + TICK_MS, TICK_MS):
        begin = at
        while at < len(world) and world[at].time < now:
            at += 1
        told = fold(evidence, world[begin:at], now, config, {1: REFERENCE})
        for alarm, _ in told.alarms:
            if alarm.known > change:
                return (alarm.known - change) * A_DAY // DAY_MS
    return None


def time_of(number: int) -> int:
    return START + number * DAY_MS // A_DAY


def observed(
    setting: Setting, seed: int, before: int = BEFORE, after: int = HORIZON
) -> Iterator[Observation]:
    """Answers, and what is said of them."""
    rng = np.random.default_rng([SEED, seed])
    rates = np.where(np.arange(before + after) < before, GOOD, BAD)
    wrong = rng.random(len(rates)) < rates
    says = rng.random(len(rates)) < setting.share
    if setting.profile == "corrections":
        says &= wrong
    for number in range(len(rates)):
        yield from on_answer(setting, number, bool(wrong[number]), bool(says[number]))


def on_answer(setting: Setting, number: int, wrong: bool, says: bool) -> Iterator[Observation]:
    request, time = f"r-{number}", time_of(number)
    slices = {"language": ["de", "en", "es", "fr"][number % 4]}
    answer = Answer("right", slices=slices)
    yield Observation("answer", request, 1, time, answer, "inferences-0", number)
    if not says:
        return
    right, later = 1.0 - wrong, time + setting.wait
    word = Word(f"f-{number}", KINDS.get(setting.profile, "correction"), right, later)
    told = Answer("right", slices=slices, error=float(wrong))
    kind = "review" if setting.profile == "review" else "outcome"
    yield Observation(kind, request, 1, later, told, "outcomes-0", number, word, time)
