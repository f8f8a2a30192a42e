"""The judge that the promoter had before: pairs that both answered, whatever label arrived, since
the rollout began. Harm by an e-process of evenly spread bets, going on by the lower end of Bonett
and Price's interval (2012, https://doi.org/10.3102/1076998611411918) at 80 %."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.special import betaincc, betaln

from bench.parts.feedback_world import DAY, Answers, Setting
from bench.parts.judged_rollout import LIMIT, Ended, said

STAGES = (("shadow", 0.0, 20), ("canary-5", 0.05, 30), ("half", 0.5, 40), ("full", 1.0, 0))


def rollout(world: Answers, setting: Setting) -> Ended:
    """One challenger's way. Ratings up are labels, ratings down none."""
    since, told, heard, full = 0.0, 0, 0, math.inf
    for name, share, wanted in STAGES:
        last = name == "full"
        hears = world.ticket < share
        right = np.where(hears, world.new_right, world.old_right)
        speaks = said(world, setting, hears)
        labels = speaks & right if setting.profile.name == "thumbs" else speaks
        seen = np.flatnonzero(labels & (world.time >= since)) if last else np.flatnonzero(labels)
        seen = seen[np.argsort(world.told[seen], kind="stable")]
        b = np.cumsum(world.old_right[seen] & ~world.new_right[seen])
        c = np.cumsum(~world.old_right[seen] & world.new_right[seen])
        n, at = np.arange(1, len(seen) + 1), world.told[seen]
        harms = harm(b, c) & (at >= since)
        harm_at = float(at[np.argmax(harms)]) if harms.any() else math.inf
        if last:
            leaves = since + 7 * DAY
        else:
            good = (n >= wanted) & (lowest(b, c, n) >= -0.05) & (at >= since + DAY)
            leaves = float(at[np.argmax(good)]) if good.any() else math.inf
        end = min(leaves, harm_at, math.inf if last else LIMIT)
        own = hears & (world.time >= since) & (world.time < end)
        told += int((own & speaks & (world.told <= end)).sum())
        heard += int(own.sum())
        if harm_at <= end:
            return Ended("harm", name, full, told, heard)
        if end < leaves:
            return Ended("given up", name, full, told, heard)
        full = leaves if name == "half" else full
        since = leaves
    return Ended("full", "", full, told, heard)


def harm(b: np.ndarray, c: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        log_e = (b + c + 1) * math.log(2) + betaln(b + 1, c + 1)
        log_e = log_e + np.log(betaincc(b + 1, c + 1, 0.5))
    return np.asarray(log_e >= math.log(100))


def lowest(b: np.ndarray, c: np.ndarray, n: np.ndarray) -> np.ndarray:
    old, new = (b + 1) / (n + 2), (c + 1) / (n + 2)
    spread = np.sqrt((old + new - (new - old) ** 2) / (n + 2))
    return np.asarray(new - old - stats.norm.ppf(0.8) * spread)
