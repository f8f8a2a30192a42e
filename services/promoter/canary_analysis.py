"""Analyses a challenger on labelled requests that it and the champion both answered. Pure.

Only pairs count, so neither the share of traffic nor a world that moves while the share grows can
be taken for a difference. A pair that both got right, or both wrong, says nothing about which is
better; of n pairs the champion alone was right on b and the challenger alone on c.

*Harm* is tested by an e-process on the b + c discordant pairs: were the challenger no worse, each
would be the champion's with a chance of at most 1/2. Bets spread evenly over every chance q in
(1/2, 1] multiply the stake to

    E = 2 ∫ (2q)^b (2(1-q))^c dq  =  2^(b+c+1) B(b+1, c+1) (1 - I_1/2(b+1, c+1)),

a supermartingale when there is no harm. By Ville's inequality it ever reaches 1/alpha with a chance
of at most alpha, however often one looks (Ramdas et al. 2023, https://arxiv.org/abs/2210.01948).

*Going on* takes positive evidence: the soak is over, there are min_pairs pairs, and the paired
difference (c - b)/n, at the lower end of its one-sided interval, is above -margin. The interval is
Bonett and Price's (2012, https://doi.org/10.3102/1076998611411918), which holds for few pairs. Its
confidence is 80 %: the evaluator has tested the same hypothesis at length, and harm is looked for
without end.

What becomes of rollouts, simulated 400 times each (20 pairs a day, the stages, margin 0.05 and
alpha 0.01 of the example, champion at 80 %, versions disagree on one request in six):

    true difference   full traffic   harm    given up   days to full, median and 90 %
    +0.10             100 %          0 %     0 %        4,  4
    +0.05             100 %          0 %     0 %        4,  7
     0                98 %           0.3 %   2 %        5, 14
    -0.03             78 %           7 %     16 %       7, 20
    -0.05             44 %           28 %    29 %       7, 20
    -0.10             5 %            92 %    3 %        4,  8
    -0.20             0 %            100 %   0 %        (taken back on day 4, median)

People rate answers that they saw. Where they rate wrong answers more often than right ones, pairs
favour the version that was not heard. The stages that split traffic balance it, since there each of
the two is heard.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

from scipy.special import betaincc, betaln

from driftgate.model_repo import Rollout, Stage

CONFIDENCE = 0.8

Result = Literal["go on", "hold", "harm", "give up"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Labelled requests that both versions answered, by who was right.

    old: the version that was there before. new: the one on trial.
    """

    both: int = 0
    only_old: int = 0
    only_new: int = 0
    neither: int = 0

    @property
    def count(self) -> int:
        return self.both + self.only_old + self.only_new + self.neither


@dataclass(frozen=True, slots=True)
class Finding:
    """What the pairs say. reason: one word for the log. summary: for people. numbers: all that was
    compared."""

    result: Result
    reason: str
    summary: str
    numbers: dict[str, Any]


def analyse(pairs: Pairs, days: float, stage: Stage, rules: Rollout) -> Finding:
    """Whether a challenger that spent `days` in `stage` goes on. `pairs` of its whole rollout."""
    e, low = harm(pairs), lowest_difference(pairs)
    numbers = asdict(pairs) | {
        "days": days,
        "soak_days": stage.soak_days,
        "max_days": rules.max_days,
        "pairs": pairs.count,
        "min_pairs": stage.min_pairs,
        "e_value": e,
        "harm_at": 1 / rules.harm_alpha,
        "difference": difference(pairs),
        "lowest_difference": low,
        "margin": rules.margin,
    }
    if e >= 1 / rules.harm_alpha:
        summary = f"it is worse: right alone {pairs.only_new} times, the other {pairs.only_old}"
        return Finding("harm", "harm", summary, numbers)
    if days < stage.soak_days:
        reason, summary = "soak", f"{days:g} of {stage.soak_days:g} days passed"
    elif pairs.count < stage.min_pairs:
        reason, summary = "pairs", f"{pairs.count} of {stage.min_pairs} pairs are known"
    elif low < -rules.margin:
        summary = f"it may be worse by {-low:.3f}, allowed are {rules.margin:g}"
        reason = "unproven"
    else:
        summary = (
            f"it is not worse by {rules.margin:g}: {difference(pairs):+.3f}, at least {low:+.3f}"
        )
        return Finding("go on", "good", f"{summary}, {pairs.count} pairs", numbers)
    if days > rules.max_days:
        late = f"no answer in {rules.max_days:g} days: {summary}"
        return Finding("give up", reason, late, numbers)
    return Finding("hold", reason, summary, numbers)


def watch(pairs: Pairs, days: float, rules: Rollout) -> Finding:
    """Whether a new champion stays. `pairs` since it got all traffic, its predecessor a shadow."""
    numbers = asdict(pairs) | {
        "days": days,
        "watch_days": rules.watch_days,
        "pairs": pairs.count,
        "e_value": harm(pairs),
        "harm_at": 1 / rules.harm_alpha,
        "difference": difference(pairs),
    }
    if harm(pairs) >= 1 / rules.harm_alpha:
        summary = f"it is worse: right alone {pairs.only_new} times, the other {pairs.only_old}"
        return Finding("harm", "harm", summary, numbers)
    if days < rules.watch_days:
        return Finding("hold", "watch", f"watched for {rules.watch_days:g} days", numbers)
    return Finding("go on", "good", f"{difference(pairs):+.3f} over {pairs.count} pairs", numbers)


def harm(pairs: Pairs) -> float:
    """The e-value against "the new version is no worse", infinite beyond what a float holds."""
    b, c = pairs.only_old, pairs.only_new
    tail = betaincc(b + 1, c + 1, 0.5)
    if tail == 0:
        return 0.0
    log_e = (b + c + 1) * math.log(2) + betaln(b + 1, c + 1) + math.log(tail)
    return float(math.exp(log_e)) if log_e < 700 else math.inf


def difference(pairs: Pairs) -> float:
    """Accuracy of the new version less that of the old; 0 without pairs."""
    return (pairs.only_new - pairs.only_old) / max(1, pairs.count)


def lowest_difference(pairs: Pairs) -> float:
    """Lower end of the one-sided interval of `difference` at `CONFIDENCE`."""
    n = pairs.count + 2
    old, new = (pairs.only_old + 1) / n, (pairs.only_new + 1) / n
    spread = math.sqrt((old + new - (new - old) ** 2) / n)
    return new - old - NormalDist().inv_cdf(CONFIDENCE) * spread
