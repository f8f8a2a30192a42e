"""A rollout in a simulated world, judged by the code of the promoter. Pure.

Evidence changes only when somebody's word, or the end of a person's time to speak, comes in, so it
is looked at there: as good as a look each minute. Where a stage ends, `analyse` or `watch` of the
promoter is asked with the evidence of that moment, and must say the same.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.parts.feedback_world import DAY, Answers, Bools, Floats, Setting
from driftgate.model_repo import ModelYaml, Rollout
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
from services.promoter.e_values import Events, Units, log_gains, log_returns, share_of

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
    events: tuple[Blames, ...]
    units: People
    bound: float

    def comparison(self, name: str, until: float) -> Comparison:
        """As the promoter reads it from its store."""
        first, *later = (day.until(until) for day in self.events)
        seen = self.units.times <= until
        values = Counter(
            zip(self.units.worse[seen].tolist(), self.units.usual[seen].tolist(), strict=True)
        )
        units = tuple(Units(worse, n, usual) for (worse, usual), n in sorted(values.items()))
        return Comparison(
            name, self.counted, events=first, later=tuple(later), units=units, bound=self.bound
        )


class Blames(NamedTuple):
    """The first fault of each person from a day of the stage on."""

    times: Floats
    chances: Floats
    of_new: Bools

    def until(self, end: float) -> tuple[Events, ...]:
        seen = self.times <= end
        chances, of_new = self.chances[seen], self.of_new[seen]
        return tuple(
            Events(
                float(chance),
                int((of_new & (chances == chance)).sum()),
                int((~of_new & (chances == chance)).sum()),
            )
            for chance in np.unique(chances)
        )


class People(NamedTuple):
    """People by the time at which it is known how much worse the new version did, and how bad the
    old."""

    times: Floats
    worse: Floats
    usual: Floats


def rollout(world: Answers, setting: Setting, repo: ModelYaml) -> Ended:
    """One challenger's way."""
    stages, since, told, heard = repo.rollout.stages, 0.0, 0, 0
    name = REVIEW if repo.review.share else OUTCOMES
    full = math.inf
    for place, stage in enumerate(stages):
        last = place == len(stages) - 1
        share = 1 - repo.rollout.hold_back / 100 if last else stage.percent / 100
        hears = world.ticket < share
        known = becomes_known(world, setting, since, share, hears, since if last else 0.0)
        (look,) = looks(Evidence((Comparison(name, known.counted),)), repo)
        soak = repo.rollout.watch_days if last else stage.soak
        leaves = max(since + soak * DAY, samples(world, known, since, share, stage.min_samples))
        if place == len(stages) - 2:
            leaves = proven(known, repo.rollout, look, leaves)
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
    world: Answers, setting: Setting, since: float, share: float, hears: Bools, pairs_since: float
) -> Known:
    """By the rules of the promoter's evidence, of answers from `since` on; that a version is not
    worse, by pairs from `pairs_since` on."""
    profile = setting.profile.name
    spoken = said(world, setting, hears)
    speaks = spoken & (world.time >= since)
    if profile in {"labels", "review"}:
        worse = world.old_right.astype(float) - world.new_right
        none = np.zeros(len(worse))
        blames = blamed(world, since, speaks & (worse != 0), 0.5, worse > 0)
        pairs = spoken & (world.time >= pairs_since)
        units = counted_people(world, world.told, worse, none, pairs, 0.0)
        return Known("pairs", blames, units, 1.0)
    counted: Counted = "told" if profile == "thumbs" else "heard"
    if share == 0:
        none = np.array([])
        return Known(counted, (Blames(none, none, none > 0),), People(none, none, none), 1.0)
    right = np.where(hears, world.new_right, world.old_right)
    bad = speaks & ~right
    blames = blamed(world, since, bad & world.differ, share, hears)
    weight = np.where(hears, 1 / share, -1 / (1 - share))
    in_time = bad if counted == "told" else bad & (world.told <= world.time + SETTLED)
    worse = np.where(in_time & world.differ, weight, 0.0)
    usual = np.where(in_time, np.where(world.differ, np.maximum(0.0, -weight), 1.0), 0.0)
    if counted == "told":
        units = counted_people(world, world.told, worse, usual, speaks, 0.0)
    else:
        units = counted_people(world, world.time, worse, usual, world.time >= since, SETTLED)
    return Known(counted, blames, units, 1 / share)


def blamed(
    world: Answers, since: float, bad: Bools, chance: float, of_new: Bools
) -> tuple[Blames, ...]:
    """By each day of the stage from which on people are counted."""
    days = np.arange(since, world.time[-1], DAY)
    found = [first_each(world.key, world.told, bad & (world.time >= day)) for day in days]
    return tuple(
        Blames(world.told[first], np.full(len(first), chance), of_new[first]) for first in found
    )


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
    world: Answers, when: Floats, worse: Floats, usual: Floats, among: Bools, wait: float
) -> People:
    """People with the means of their first day."""
    found = np.flatnonzero(among)
    if world.alone:
        times = when[found] + wait
        order = np.argsort(times, kind="stable")
        return People(times[order], worse[found][order], usual[found][order])
    key, at = world.key[found], when[found]
    first = np.full(int(world.key.max()) + 1, np.inf)
    np.minimum.at(first, key, at)
    day = at < first[key] + WINDOW
    count = np.bincount(key[day], minlength=len(first))
    people = np.flatnonzero(count)
    times = first[people] + WINDOW + wait
    order = np.argsort(times, kind="stable")
    means = (
        np.bincount(key[day], values[found][day], minlength=len(first))[people] / count[people]
        for values in (worse, usual)
    )
    return People(times[order], *(mean[order] for mean in means))


def samples(world: Answers, known: Known, since: float, share: float, wanted: int) -> float:
    """When a stage has its samples."""
    if share == 0 and (known.counted != "pairs" or world.reviewed_only):
        place = int(np.searchsorted(world.time, since)) + wanted - 1
        return float(world.time[place]) if place < len(world.time) else math.inf
    times = known.units.times
    return float(times[wanted - 1]) if len(times) >= wanted else math.inf


def harmed(known: Known, look: Look) -> float:
    """When harm is shown."""
    times = np.unique(np.concatenate([day.times for day in known.events]))
    weights = [share_of(place) for place in range(len(known.events))]
    total = np.full(len(times), 1 - sum(weights))
    for weight, day in zip(weights, known.events, strict=True):
        stakes = np.append(0.0, log_stakes(log_gains(day.chances, day.of_new)))
        seen = np.searchsorted(day.times, times, side="right")
        total += weight * np.exp(np.minimum(stakes[seen], 700))
    hits = np.flatnonzero(total >= look.harm_at)
    return float(times[hits[0]]) if len(hits) else math.inf


def proven(known: Known, rules: Rollout, look: Look, earliest: float) -> float:
    """The first moment, not before `earliest`, at which margin and ratio are shown."""
    assert look.not_worse_at is not None
    if known.bound <= rules.margin or earliest == math.inf:
        return math.inf
    times, worse, usual = known.units
    stakes = log_stakes(log_returns(worse, rules.margin, known.bound))
    if known.counted != "pairs" and rules.max_ratio is not None:
        more = worse - (rules.max_ratio - 1) * usual
        stakes = np.minimum(stakes, log_stakes(log_returns(more, 0.0, known.bound)))
    now = max(0, int(np.searchsorted(times, earliest, side="right")) - 1)
    hits = np.flatnonzero(stakes[now:] >= math.log(look.not_worse_at))
    return max(earliest, float(times[now + hits[0]])) if len(hits) else math.inf


def log_stakes(log_factors: Floats) -> Floats:
    """The average of bets after each of their factors, as logarithms."""
    if not len(log_factors):
        return np.array([])
    total = np.logaddexp.reduce(np.cumsum(log_factors, axis=0), axis=1)  # faster than logsumexp
    return np.asarray(total - math.log(log_factors.shape[1]))
