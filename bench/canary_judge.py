"""Canaries under feedback as people give it: simulated rollouts, judged by the promoter's own code.

A champion that is right on 90 % of requests, 200 heard answers a day, two versions that disagree on
8 % where they are equally good; feedback on 60 % of answers (`labels`), on 60 % of wrong and 20 %
of right ones (`complaints`), on 60 % of wrong ones (`corrections`), ratings on 10 % (`thumbs`), a
random 3 % (`review`), 18 hours late on the mean; and less of it: complaints about 20 % of wrong and
3 % of right answers ("of a fifth"), about 10 and 2 % ("of a tenth"), ratings on 3 % of wrong and
10 % of right ones ("of the happy"). Shadow, 5 %, 50 %, then a watch of seven days with a hold-back
of 5 %; margin 5 points on bad outcomes and less than twice as many, harm at 1 %, 21 days to full
traffic at most. People count once; "50 people" ask again and again, with weights 1/rank, each
meeting disagreements of one direction alone. "Drifting" moves the champion between 97 and 80 % and
feedback with it.
Evidence is looked at whenever it changes. Beside it, on complaints, what others do: see
`bench/parts/other_judges.py` and `pairs_judge.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from rich.progress import track

from bench.figure import Figure
from bench.parts import other_judges, pairs_judge
from bench.parts.feedback_world import DAY, PROFILES, Answers, Setting, answers
from bench.parts.judged_rollout import Ended, declared, rollout
from driftgate.events import ServingCounts
from services.promoter.error_rates import failing

DECIDES = ("labels", "complaints", "corrections")
SCARCE = ("thumbs", "review")
SEED = 20_261
FAST_SHARE, FAST_REQUESTS = 0.05, 40_000

Judge = Callable[[Answers, Setting], Ended]


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=canary-judge")
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--profiles", nargs="+", choices=list(PROFILES), help="of these alone")
    given = parser.parse_args(args)
    found = [Figure("repetitions of each", f"{given.repetitions:,}")]
    found += by_profile(given.profiles or list(PROFILES), given.repetitions)
    if given.profiles is None:
        found += [*beside(given.repetitions), *fast_lane(given.repetitions)]
    return found


def by_profile(names: list[str], repetitions: int) -> Iterator[Figure]:
    for name in names:
        base, judge = Setting(PROFILES[name]), promoter(PROFILES[name].name)
        settings = {
            "equal": base,
            "equal, drifting": base.with_(drifts=True),
            "equal, 50 people": base.with_(people=50),
            "equal, 50 people, drifting": base.with_(people=50, drifts=True),
            "20 points worse": base.with_(worse=0.2),
            "10 points worse": base.with_(worse=0.1),
            "20 points worse from day 8 on, 50 people": base.with_(worse=0.2, after=8, people=50),
        }
        ends = {
            what: played(judge, s, repetitions, f"{name}: {what}") for what, s in settings.items()
        }
        yield from equal(name, {w: e for w, e in ends.items() if w.startswith("equal")})
        yield from worse(name, ends)
    yield from (enough(name, repetitions) for name in names if name in SCARCE)


def beside(repetitions: int) -> Iterator[Figure]:
    """What others make of complaints."""
    for title, rule in others().items():
        for what, shift in (("equal", 0.0), ("20 points worse", 0.2), ("10 points worse", 0.1)):
            setting = Setting(PROFILES["complaints"], worse=shift)
            ends_ = played(rule, setting, min(repetitions, 500), f"{title}: {what}")
            back, full = share(ends_, "harm"), reached(ends_)
            told = f"taken back {back:.1%}, reaches 100 % {full:.1%}"
            yield Figure(f"beside, complaints, {what}: {title}", told)


def promoter(name: str) -> Judge:
    repo = declared(name)
    return lambda world, setting: rollout(world, setting, repo)


def others() -> dict[str, Judge]:
    rules: dict[str, Judge] = {
        title: partial(other_rollout, rule) for title, rule in other_judges.RULES.items()
    }
    return rules | {"the promoter's judge before": pairs_judge.rollout}


def other_rollout(rule: other_judges.Rule, world: Answers, setting: Setting) -> Ended:
    return other_judges.rollout(world, setting, rule)


def played(judge: Judge, setting: Setting, repetitions: int, title: str) -> list[Ended]:
    worlds = track(range(repetitions), title, transient=True)
    return [judge(answers(setting, np.random.default_rng([SEED, n])), setting) for n in worlds]


def share(ends: Sequence[Ended], how: str) -> float:
    return sum(end.how == how for end in ends) / len(ends)


def reached(ends: Sequence[Ended]) -> float:
    """How many came to full traffic, whatever became of them there."""
    return sum(end.full < np.inf for end in ends) / len(ends)


def equal(name: str, ends: dict[str, list[Ended]]) -> Iterator[Figure]:
    for what, found in ends.items():
        back = share(found, "harm")
        yield Figure(f"{name}, {what}: taken back", f"{back:.2%}", "≤ 1 %", back <= 0.01)
    found = ends["equal"]
    lost, decides = share(found, "given up"), name in DECIDES
    days = [end.full / DAY for end in found if end.full < np.inf]
    when = f", full after {np.median(days):.1f} days (median)" if days else ""
    good = lost <= 0.05 if decides else None
    goal = "≤ 5 %" if decides else ""
    yield Figure(f"{name}, equal: given up", f"{lost:.1%}{when}", goal, good)


def worse(name: str, ends: dict[str, list[Ended]]) -> Iterator[Figure]:
    by_20, by_10 = ends["20 points worse"], ends["10 points worse"]
    full = reached(by_20)
    yield Figure(f"{name}, 20 points worse: reaches 100 %", f"{full:.2%}", "≤ 1 %", full <= 0.01)
    told = float(np.median([end.told for end in by_20]))
    what = f"{name}, 20 points worse: own answers with feedback until it is gone (median)"
    back = share(by_20, "harm")
    said = f"{told:.0f}; taken back for harm {back:.0%}, else for want of evidence"
    yield Figure(what, said, "≤ 100", told <= 100)
    full = reached(by_10)
    yield Figure(f"{name}, 10 points worse: reaches 100 %", f"{full:.2%}", "≤ 5 %", full <= 0.05)
    what = "20 points worse from day 8 on, 50 people"
    yield Figure(f"{name}, {what}: taken back", f"{share(ends[what], 'harm'):.0%}")


def enough(name: str, repetitions: int) -> Figure:
    """Where feedback is scarce: the traffic at which at most 5 % of equal versions are given up."""
    judge = promoter(name)
    for per_day in (400, 800, 1600, 3200, 6400):
        setting = Setting(PROFILES[name], per_day=per_day)
        ends = played(judge, setting, min(repetitions, 200), f"{name}: {per_day} a day")
        if share(ends, "given up") <= 0.05:
            return Figure(f"{name}: enough traffic", f"{per_day:,} heard answers a day")
    return Figure(f"{name}: enough traffic", "more than 6,400 heard answers a day")


def fast_lane(repetitions: int) -> Iterator[Figure]:
    """Requests that a challenger at 5 % answers until its errors take it back."""
    rng = np.random.default_rng(SEED)
    asked = [until_back(rng, 0.02, 0.20, FAST_REQUESTS) for _ in range(repetitions)]
    p50, p90 = np.percentile(asked, [50, 90])
    good = bool(p50 <= 25 and p90 <= 50)
    what = "errors 2 → 20 %, 5 % canary: requests to the challenger, p50 / p90"
    yield Figure(what, f"{p50:.0f} / {p90:.0f}", "≤ 25 / 50", good)
    # As many requests as 200 a minute are in an hour.
    false = [until_back(rng, 0.02, 0.02, 12_000) < np.inf for _ in range(repetitions)]
    back = float(np.mean(false))
    yield Figure(
        "errors 2 % both, 12,000 requests: taken back", f"{back:.2%}", "≤ 1 %", back <= 0.01
    )


def until_back(rng: np.random.Generator, old: float, new: float, requests: int) -> float:
    """Requests of the challenger until it is taken back; infinite where it is not."""
    of_new = rng.uniform(size=requests) < FAST_SHARE
    failed = rng.uniform(size=requests) < np.where(of_new, new, old)
    tries = np.cumsum(of_new)
    errors_new, errors_old = np.cumsum(failed & of_new), np.cumsum(failed & ~of_new)
    for at in np.flatnonzero(failed & of_new):  # only these can
        record = counts(
            int(tries[at]), int(errors_new[at]), int(at + 1 - tries[at]), int(errors_old[at])
        )
        if failing([record], 1, 2).e_value >= 100:
            return float(tries[at])
    return np.inf


def counts(tries_new: int, errors_new: int, tries_old: int, errors_old: int) -> ServingCounts:
    versions = [
        {
            "version": version,
            "digest": "",
            "answers": tries - errors,
            "errors": errors,
            "shadow_answers": 0,
            "shadow_errors": 0,
        }
        for version, tries, errors in ((1, tries_old, errors_old), (2, tries_new, errors_new))
    ]
    known = {"router": "r", "started": "s", "model": "m", "epoch": 1, "time": 0}
    return ServingCounts.of({**known, "versions": versions})
