"""Rules by which other systems take a canary back, on bad outcomes per answer that was heard. Each
is looked at every hour of a stage; one that takes nothing back goes on after a day.

Simplified to what decides, after the documentation of each; what they were made for, hundreds of
requests a minute, 200 answers a day are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from bench.parts.feedback_world import DAY, Answers, Bools, Floats, Setting
from bench.parts.judged_rollout import LIMIT, Ended, said

HOUR = 60.0
STAGES = (("canary-5", 0.05, 1.0), ("half", 0.5, 1.0), ("full", 0.95, 7.0))

Counts = tuple[Floats, Floats, Floats, Floats]
"""By look: answers and bad outcomes of the new version, then of the old."""
Rule = Callable[[Counts], Bools]


def z_test(counts: Counts) -> Bools:
    """One-sided, two proportions, at 5 % at each look."""
    n_new, bad_new, n_old, bad_old = counts
    pooled = (bad_new + bad_old) / np.maximum(1, n_new + n_old)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(1, n_new) + 1 / np.maximum(1, n_old)))
    difference = bad_new / np.maximum(1, n_new) - bad_old / np.maximum(1, n_old)
    return np.asarray((n_new > 0) & (spread > 0) & (difference > stats.norm.isf(0.05) * spread))


def ratio(counts: Counts) -> Bools:
    """Argo Rollouts with a success rate against the stable one and failureLimit 3: the fourth look
    at which the last hours have more than 1.5 times the champion's share of bad outcomes."""
    new, old = recent(counts, 12)
    with np.errstate(divide="ignore", invalid="ignore"):
        failed = new > 1.5 * old
    return np.asarray(np.cumsum(failed & np.isfinite(new)) > 3)


def threshold(counts: Counts) -> Bools:
    """Flagger: more than a fixed share of bad outcomes, ten times in a row."""
    new, _ = recent(counts, 12)
    failed = new > 0.15
    runs = np.zeros(len(failed), int)
    for n, bad in enumerate(failed):
        runs[n] = runs[n - 1] + 1 if bad and n else int(bad)
    return np.asarray(runs >= 10)


def mann_whitney(counts: Counts) -> Bools:
    """Kayenta: the hourly shares compared at 2 %, every six hours."""
    n_new, bad_new, n_old, bad_old = (np.diff(part, prepend=0.0) for part in counts)
    failed = np.zeros(len(n_new), bool)
    for look in range(11, len(n_new), 6):
        new = (bad_new / np.where(n_new, n_new, np.nan))[: look + 1]
        old = (bad_old / np.where(n_old, n_old, np.nan))[: look + 1]
        new, old = new[np.isfinite(new)], old[np.isfinite(old)]
        if len(new) > 5 and len(old) > 5:
            failed[look] = stats.mannwhitneyu(new, old, alternative="greater").pvalue < 0.02
    return failed


def recent(counts: Counts, hours: int) -> tuple[Floats, Floats]:
    """Shares of bad outcomes over the last hours."""
    parts = [
        part - np.concatenate([np.zeros(hours), part[:-hours]])[: len(part)] for part in counts
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        return parts[1] / parts[0], parts[3] / parts[2]


RULES: dict[str, Rule] = {
    "a z-test at each look": z_test,
    "a ratio, four failures (Argo)": ratio,
    "a fixed share, ten times (Flagger)": threshold,
    "Mann-Whitney (Kayenta)": mann_whitney,
}


def rollout(world: Answers, setting: Setting, rule: Rule) -> Ended:
    """One challenger's way under such a rule."""
    since, told, heard, full = DAY, 0, 0, math.inf
    for name, share, days in STAGES:
        hears = world.ticket < share
        right = np.where(hears, world.new_right, world.old_right)
        speaks = said(world, setting, hears)
        end = since + days * DAY
        looks = np.arange(since + HOUR, end + 1, HOUR)
        stage = (world.time >= since) & (world.time < end)
        counts: Counts = (
            counted(world.time[stage & hears], looks),
            counted(world.told[stage & hears & speaks & ~right], looks),
            counted(world.time[stage & ~hears], looks),
            counted(world.told[stage & ~hears & speaks & ~right], looks),
        )
        hits = np.flatnonzero(rule(counts))
        over = float(looks[hits[0]]) if len(hits) else end
        own = hears & (world.time >= since) & (world.time < over)
        told += int((own & speaks & (world.told <= over)).sum())
        heard += int(own.sum())
        if len(hits):
            return Ended("harm", name, full, told, heard)
        full = end if name == "half" else full
        since = end
    return Ended("full" if full < LIMIT else "given up", "", full, told, heard)


def counted(times: Floats, looks: Floats) -> Floats:
    return np.searchsorted(np.sort(times), looks, side="right").astype(float)
