"""Feedback as people give it: the shipped world, paced, on real services, under each feedback
profile, with a model repo that declares it. A roll-back is wrong where the version was not worse by
the world's own labels, on the requests that it and the other both answered. `thumbs`, `review` and
`loud-users` are held to no gain, but to name what they could not learn or decide. `--profile` plays
one, or a mix such as complaints,review; `--weeks` the first weeks alone, where neither is asked;
`--pace` how many times as fast as the machine's clock."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.figure import Figure
from bench.parts import decisions, rollbacks
from driftgate.errors import DriftgateError
from services.simulator import demo
from services.simulator.demo import Plan
from services.simulator.lengths import WEEKS, Calendar
from services.simulator.paced import PACE
from services.simulator.profiles import NAMES, Mix, mix_of
from services.simulator.report import week_of
from services.simulator.session import Played

LEAST_GAIN = 0.10
GAINING = {"labels", "complaints", "corrections", "late"}


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", action="append", help="again for several; all by default")
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--pace", type=float, default=PACE)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(args)
    mixes = [mix_of(name) for name in given.profile or NAMES]
    return [figure for mix in mixes for figure in of(mix, given.weeks, given.pace, given.seed)]


def of(mix: Mix, weeks: int, pace: float, seed: int) -> list[Figure]:
    """What came of one profile; that it did not end, where it did not, and the next is played."""
    state = Path(".driftgate/bench").resolve()
    demo.empty(state)
    plan = shortened(demo.example_plan(state, Calendar(seed=seed), mix=mix), weeks)
    report = Path(f".driftgate/bench-{mix.name.replace(', ', '-')}.html")
    try:
        played = demo.run_plan(plan, state, report, mix, Console(), seed, pace)
    except DriftgateError as error:
        return [Figure(mix.name, f"did not end: {error}", "ends", False)]
    demo.show(played, report, (), Console())
    return figures(mix, plan, played, whole=weeks >= WEEKS)


def shortened(plan: Plan, weeks: int) -> Plan:
    """Its first weeks, on the same dates."""
    return replace(plan, world=replace(plan.world, days=plan.world.days[: weeks * 7]))


def figures(mix: Mix, plan: Plan, played: Played, whole: bool) -> list[Figure]:
    facts, told = played.facts, played.told
    back = [row["words"] for row in taken_back(played) if wrong(row, played)]
    early, asked = before_it_moves(plan, played), weeks_of_drift(plan, played)
    dead = facts.counts["dead_letters"]
    found = [
        Figure("answers with feedback of users", f"{told.share:.1%}"),
        Figure("rollouts", rollouts(played)),
        Figure("wrong roll-backs", listed(back), "0", not back),
        Figure("drift-fired retrains, in weeks", ", ".join(asked) or "none"),
        Figure("of these before the world moves", listed(early), "0", not early),
        Figure("false alarms by the world's labels", str(len(played.false_alarms))),
        gain(mix, played, whole),
        lacked(mix, played, whole),
        Figure("dead letters", str(dead), "0", not dead),
        Figure("how it went", "; ".join(played.notes)),
    ]
    return [replace(figure, what=f"{mix.name}: {figure.what}") for figure in found]


def rollouts(played: Played) -> str:
    """Versions that were tried, and what became of them."""
    states = played.facts.rollouts
    tried = {row["challenger"] for row in states if row["challenger"] is not None}
    champions = {row["champion"] for row in states} & tried
    given_up = {row["version"] for row in played.facts.audit if row["decision"] == "give-up"}
    back = {rollbacks.compared(row["inputs"])[0] for row in taken_back(played)}
    return (
        f"{len(tried)}: {len(champions)} to full traffic, {len(back)} taken back, "
        f"{len(given_up)} given up"
    )


def taken_back(played: Played) -> list[dict[str, str]]:
    """Decisions by which a version lost its traffic, as the store has them."""
    return [
        row for row in played.facts.audit if decisions.takes_back(row["service"], row["decision"])
    ]


def wrong(row: dict[str, str], played: Played) -> bool:
    return rollbacks.wrong(row["inputs"], played.facts.answers, played.truths)


def weeks_of_drift(plan: Plan, played: Played) -> list[str]:
    return [
        f"{week_of(request['ms'], plan.world.start):.1f}" for request in played.facts.drift_requests
    ]


def before_it_moves(plan: Plan, played: Played) -> list[str]:
    """Retrains that drift fired before anything had changed. In the first weeks shares of labels
    shift, as slowly as they do for all its time; then the first cause that is an event comes."""
    moves = min(cause.week for cause in plan.causes if cause.week > 1)
    return [
        f"week {week_of(request['ms'], plan.world.start):.1f}: {request['words']}"
        for request in played.facts.drift_requests
        if week_of(request["ms"], plan.world.start) < moves
    ]


def gain(mix: Mix, played: Played, whole: bool) -> Figure:
    """Accuracy of the last four weeks against the frozen baseline's."""
    last = [week for week in played.result.weeks[-4:] if week.frozen_baseline is not None]
    loop = sum(week.loop or 0.0 for week in last) / max(1, len(last))
    found = played.result.advantage or 0.0
    what = "accuracy against the frozen baseline, last four weeks"
    value = f"{loop:.1%} against {loop - found:.1%}, {100 * found:+.1f} points"
    names = {profile.name for profile in mix.users}
    if not whole or not names & GAINING:
        return Figure(what, value)
    return Figure(what, value, f"≥ {100 * LEAST_GAIN:+.0f} points", found >= LEAST_GAIN)


def lacked(mix: Mix, played: Played, whole: bool) -> Figure:
    """What was named as lacking evidence: some is, where little was gained."""
    value = "; ".join(played.lacking) or "nothing"
    named = bool(played.lacking) or (played.result.advantage or 0.0) >= LEAST_GAIN
    if not whole or {profile.name for profile in mix.users} & GAINING:
        return Figure("named as lacking evidence", value)
    return Figure("named as lacking evidence", value, "named, or the gain is there", named)


def listed(faults: list[str]) -> str:
    return f"{len(faults)}: {'; '.join(faults)}" if faults else "0"
