"""A rollout in a simulated world, judged by the code of the promoter. Pure.

Evidence changes only when somebody's word, or the end of a person's time to speak, comes in, so it
is looked at there: as good as a look each minute. Where a stage ends, `analyse` or `watch` of the
promoter is asked with the evidence of that moment, and must say the same.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from bench.parts.feedback_world import DAY, Answers, Bools, Floats, Setting
from driftgate.model_repo import ModelYaml
from services.promoter.canary_analysis import (
    OUTCOMES,
    REVIEW,
    Comparison,
    Counted,
    Evidence,
    Look,
    analyse,
    looks,
    watch,
)
from services.promoter.e_values import Events, Units, log_gains, log_returns

SETTLED = 3 * DAY
WINDOW = DAY
LIMIT = 21 * DAY
"""A version that is not at full traffic by then is given up."""

Numbers = npt.NDArray[np.int64]


def declared(profile: str, harm_alpha: float = 0.01) -> ModelYaml:
    """The model repo of a rollout."""
    review = {"share": 0.03} if profile == "review" else {}
    return ModelYaml.model_validate(
        {
            "model": "m",
            "task": {"kind": "text-classification", "labels": ["a", "b"]},
            "base": {"name": "all-MiniLM-L6-v2"},
            "monitors": [],
            "gate": {"min_accuracy": 0.8},
            "feedback": {"profile": [profile], "settled_hours": SETTLED / 60},
            "review": review,
            "rollout": {
                "stages": [
                    {"name": "shadow", "percent": 0, "soak": "1d", "min_samples": 20},
                    {"name": "canary-5", "percent": 5, "soak": "1d", "min_samples": 30},
                    {"name": "half", "percent": 50, "soak": "1d", "min_samples": 40},
                    {"name": "full", "percent": 100, "min_samples": 30},
                ],
                "margin": 0.05,
                "harm_alpha": harm_alpha,
                "max_days": 21,
                "watch_days": 7,
            },
        }
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended.

    Attributes:
        how: `full`, `harm` or `given up`; stage: where it ended.
        full: minutes until full traffic; infinite where it came to none.
        told: answers of the challenger that were heard and had feedback by then.
        answers: answers of the challenger that were heard.
    """

    how: str
    stage: str
    full: float
    told: int
    answers: int


@dataclass(frozen=True, slots=True)
class Known:
    """What becomes known in a stage, by when: what blames somebody, and what is not worse."""

    counted: Counted
    event_times: Floats
    event_chances: Floats
    of_new: Bools
    unit_times: Floats
    unit_values: Floats
    bound: float

    def comparison(self, name: str, until: float) -> Comparison:
        """As the promoter reads it from its store."""
        seen = self.event_times <= until
        chances = self.event_chances[seen]
        events = tuple(
            Events(
                float(chance),
                int((self.of_new[seen] & (chances == chance)).sum()),
                int((~self.of_new[seen] & (chances == chance)).sum()),
            )
            for chance in np.unique(chances)
        )
        values = Counter(self.unit_values[self.unit_times <= until].tolist())
        units = tuple(Units(value, count) for value, count in sorted(values.items()))
        return Comparison(name, self.counted, events=events, units=units, bound=self.bound)


def rollout(world: Answers, setting: Setting, repo: ModelYaml) -> Ended:
    """One challenger's way."""
    stages, since, told, heard = repo.rollout.stages, 0.0, 0, 0
    name = REVIEW if repo.review.share else OUTCOMES
    full = math.inf
    for place, stage in enumerate(stages):
        last = place == len(stages) - 1
        share = 1 - repo.rollout.hold_back / 100 if last else stage.percent / 100
        hears = world.ticket < share
        known = becomes_known(world, setting, since, share, hears)
        (look,) = looks(Evidence((Comparison(name, known.counted),)), repo)
        soak = repo.rollout.watch_days if last else stage.soak
        leaves = max(since + soak * DAY, samples(world, known, since, share, stage.min_samples))
        if place == len(stages) - 2:
            leaves = proven(known, repo.rollout.margin, look, leaves)
        harm = harmed(known, look)
        end = min(leaves, harm, math.inf if last else LIMIT)
        own = hears & (world.time >= since) & (world.time < end)
        told += int((own & said(world, setting, hears) & (world.told <= end)).sum())
        heard += int(own.sum())
        how = "harm" if harm <= end else "given up" if end < leaves else ""
        agree(known, name, world, since, end, place, repo, how)
        if how:
            return Ended(how, stage.name, full, told, heard)
        since = leaves
        full = since if place == len(stages) - 2 else full
    return Ended("full", "", full, told, heard)


def agree(
    known: Known,
    name: str,
    world: Answers,
    since: float,
    end: float,
    place: int,
    repo: ModelYaml,
    how: str,
) -> None:
    """The promoter's own analysis says the same of that moment."""
    both = int(((world.time >= since) & (world.time <= end)).sum())
    evidence = Evidence((known.comparison(name, end),), both=both)
    days = (end - since) / DAY + 1e-9
    if place == len(repo.rollout.stages) - 1:
        found = watch(evidence, days, repo).result
    else:
        found = analyse(evidence, days, place, repo).result
    expected = {"harm": {"roll back"}, "given up": {"hold", "inconclusive"}}.get(how, {"promote"})
    assert found in expected, (found, how, place)


def becomes_known(
    world: Answers, setting: Setting, since: float, share: float, hears: Bools
) -> Known:
    """By the rules of the promoter's evidence, of answers from `since` on."""
    profile = setting.profile.name
    speaks = said(world, setting, hears) & (world.time >= since)
    if profile in {"labels", "review"}:
        worse = world.old_right.astype(float) - world.new_right
        blames, times = first_each(world.key, world.told, speaks & (worse != 0)), world.told
        chances = np.full(len(blames), 0.5)
        units = counted_people(world, world.told, worse, speaks, 0.0)
        return Known("pairs", times[blames], chances, worse[blames] > 0, *units, 1.0)
    counted: Counted = "told" if profile == "thumbs" else "heard"
    if share == 0:
        none = np.array([])
        return Known(counted, none, none, np.array([], bool), none, none, 1.0)
    right = np.where(hears, world.new_right, world.old_right)
    bad = speaks & ~right & world.differ
    blames = first_each(world.key, world.told, bad)
    weight = np.where(hears, 1 / share, -1 / (1 - share))
    if counted == "told":
        units = counted_people(world, world.told, bad.astype(float) * weight, speaks, 0.0)
    else:
        in_time = (bad & (world.told <= world.time + SETTLED)).astype(float)
        asked = world.time >= since
        units = counted_people(world, world.time, in_time * weight, asked, SETTLED)
    chances = np.full(len(blames), share)
    return Known(counted, world.told[blames], chances, hears[blames], *units, 1 / share)


def said(world: Answers, setting: Setting, hears: Bools) -> Bools:
    """Whether anybody says anything of the answer that is heard."""
    if setting.profile.review:
        return world.reviewed
    right = np.where(hears, world.new_right, world.old_right)
    return np.where(right, world.said_if_right, world.said_if_wrong)


def first_each(key: Numbers, when: Floats, among: Bools) -> Numbers:
    """The first of each key, in the order of time."""
    found = np.flatnonzero(among)
    found = found[np.argsort(when[found], kind="stable")]
    _, firsts = np.unique(key[found], return_index=True)
    return np.asarray(found[np.sort(firsts)])


def counted_people(
    world: Answers, when: Floats, worse: Floats, among: Bools, wait: float
) -> tuple[Floats, Floats]:
    """People with the mean of their first day, by the time at which it is known."""
    found = np.flatnonzero(among)
    if world.alone:
        times = when[found] + wait
        order = np.argsort(times, kind="stable")
        return times[order], worse[found][order]
    key, at = world.key[found], when[found]
    first = np.full(int(world.key.max()) + 1, np.inf)
    np.minimum.at(first, key, at)
    day = at < first[key] + WINDOW
    count = np.bincount(key[day], minlength=len(first))
    total = np.bincount(key[day], worse[found][day], minlength=len(first))
    people = np.flatnonzero(count)
    times = first[people] + WINDOW + wait
    order = np.argsort(times, kind="stable")
    return times[order], (total[people] / count[people])[order]


def samples(world: Answers, known: Known, since: float, share: float, wanted: int) -> float:
    """When a stage has its samples."""
    if share == 0 and (known.counted != "pairs" or world.reviewed_only):
        place = int(np.searchsorted(world.time, since)) + wanted - 1
        return float(world.time[place]) if place < len(world.time) else math.inf
    return float(known.unit_times[wanted - 1]) if len(known.unit_times) >= wanted else math.inf


def harmed(known: Known, look: Look) -> float:
    """When harm is shown."""
    stakes = log_stakes(log_gains(known.event_chances, known.of_new))
    hits = np.flatnonzero(stakes >= math.log(look.harm_at))
    return float(known.event_times[hits[0]]) if len(hits) else math.inf


def proven(known: Known, margin: float, look: Look, earliest: float) -> float:
    """The first moment, not before `earliest`, at which the margin is shown."""
    assert look.not_worse_at is not None
    if known.bound <= margin or earliest == math.inf:
        return math.inf
    stakes = log_stakes(log_returns(known.unit_values, margin, known.bound))
    now = int(np.searchsorted(known.unit_times, earliest, side="right")) - 1
    hits = np.flatnonzero(stakes[max(0, now) :] >= math.log(look.not_worse_at))
    return max(earliest, float(known.unit_times[now + hits[0]])) if len(hits) else math.inf


def log_stakes(log_factors: Floats) -> Floats:
    """The average of bets after each of their factors, as logarithms."""
    if not len(log_factors):
        return np.array([])
    total = logsumexp(np.cumsum(log_factors, axis=0), axis=1)
    return np.asarray(total - math.log(log_factors.shape[1]))
