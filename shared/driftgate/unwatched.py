"""What a model repo declares and nothing watches. Pure.

`notes` tells it from the repo alone, where each may be meant, since an app may send features and
slices that no case has; so they refuse nothing. `unmeasured` tells it of one version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from driftgate import signals
from driftgate.drift import plan
from driftgate.errors import nearest, shown
from driftgate.features import FEATURES
from driftgate.signals import Reference
from driftgate.slices import ALL
from driftgate.suites import Case
from driftgate.tasks import task_of

if TYPE_CHECKING:
    from driftgate.model_repo import ModelYaml

LOGGED = (*FEATURES, signals.SIMILARITY, signals.LOGPROB)
"""Features that a router logs, its engines' own among them."""


def notes(config: ModelYaml, cases: Iterable[Case]) -> Iterator[str]:
    """A line each. cases: of the repo's own suites."""
    yield from protected(config)
    yield from features(config)
    yield from reviewers(config)
    known = {f"{name}={value}" for case in cases for name, value in case.slices.items()}
    yield from slices(config, known)


def unmeasured(config: ModelYaml, reference: Reference) -> Iterator[str]:
    """Monitors that watch nothing of a version in a slice: its held-out cases measured nothing
    there, and live answers will not either. A line for each monitor."""
    watched = {(what.monitor.name, what.slice) for what in plan.plan(config, reference)}
    for monitor in config.monitors:
        lacking = [
            name for name in plan.declared(monitor, config) if (monitor.name, name) not in watched
        ]
        if lacking:
            yield f"{monitor.name} ({', '.join(lacking)}): no reference for {monitor.value}"


def protected(config: ModelYaml) -> Iterator[str]:
    """Protected slices are watched by every monitor, so they lack one only where there is none."""
    if config.gate.protected and not any(m.signal == "quality" for m in config.monitors):
        names = ", ".join(config.gate.protected)
        yield (
            f"gate.protected: {names}: no monitor has signal quality, so nothing watches after a "
            "release what was protected before it"
        )


def features(config: ModelYaml) -> Iterator[str]:
    known = signals.known(task_of(config.task))
    for monitor in config.monitors:
        if monitor.signal == "input" and monitor.value not in {*known, *LOGGED}:
            yield (
                f"monitors: {monitor.name}: no router logs a feature {shown(monitor.value)}: "
                f"{nearest(monitor.value, list(LOGGED))} It is watched where an app that logs "
                "answers itself sends it"
            )


def reviewers(config: ModelYaml) -> Iterator[str]:
    """Monitors of what two reviewers tell, where no request gets two."""
    task, review = task_of(config.task), config.review
    for monitor in config.monitors:
        signal, *_ = signals.streams(monitor.value, task)
        if signal.by_two and not (review.share and review.twice):
            yield (
                f"monitors: {monitor.name}: no request is looked at by two reviewers, so nothing "
                f"tells {monitor.value}: `review.share` is {review.share:g} and `review.twice` is "
                f"{review.twice:g}, expected both above 0"
            )


def slices(config: ModelYaml, known: Collection[str]) -> Iterator[str]:
    """Those of monitors and of the gate that no case has; nothing where cases have no slices."""
    named = [(f"monitors: {m.name}", name) for m in config.monitors for name in m.slices]
    named += [("gate.protected", name) for name in config.gate.protected]
    for place, name in named:
        if known and name != ALL and name not in known:
            hint = nearest(name, sorted(known))
            yield f"{place}: no case of evals/ is in slice {shown(name)}: {hint}"


def absent(config: ModelYaml, known: Collection[str]) -> Iterator[str]:
    """Slices of monitors and of the gate that no live answer was in. known: those that one was."""
    named = [(f"monitors: {m.name}", name) for m in config.monitors for name in m.slices]
    named += [("gate.protected", name) for name in config.gate.protected]
    for place, name in named:
        if name != ALL and name not in known:
            hint = nearest(name, sorted(known)) if known else "answers have no slices"
            yield f"{place}: no answer is in slice {shown(name)}, so it is not watched: {hint}"
