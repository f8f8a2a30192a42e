"""Which streams of a version are watched, each with its bar.

A stream is a signal in a slice. Every monitor watches `all`, the slices that it names and the
protected ones; one of quality also each slice value that has enough traffic, without being told. A
bar is the mean that held-out cases measured, or the version's own first answers did, and what is
tolerated above. Improvement of quality has a stream of its own, which is told and never alarms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from driftgate.drift.quality import Basis, Source, measured_under, sources
from driftgate.model_repo import ModelYaml, Monitor
from driftgate.signals import AnySignal, Reference, Shares, streams
from driftgate.slices import ALL
from driftgate.tasks import task_of

ANSWERS = Source("answers")

HIGHEST = 1 - 1e-6
# So many cases of the whole are taken to stand beside those of a slice, so that the luck of a
# handful neither blinds its stream nor makes it nervous.
PRIOR_CASES = 20
# Standard errors of the reference that the bar leaves room for where they are more than what is
# tolerated: of what is declared, and of slices that are watched by themselves, which are many.
ROOM, ROOM_OF_MANY = 2.0, 3.0
# Held-out cases with which a slice that is watched by itself needs no live reference.
ENOUGH_CASES = 200

Key = tuple[str, str, str, Basis]
"""Monitor, slice, signal and where the numbers come from."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One stream of one version.

    Attributes:
        falls: it is watched for numbers that fall; what is counted is then 1 less each.
        improves: a change is for the better, so that it is told and alarms nobody.
        automatic: nobody named its slice.
        bad: see `AnySignal`.
        reference, mean: what was measured, and the highest mean that is tolerated; None while a
            live reference has too few answers.
        cases: held-out ones behind the reference, or at the root of a live one.
        under: what a live reference holds under; empty where it was measured on held-out cases.
    """

    name: str
    monitor: Monitor
    slice: str
    signal: str
    source: Source
    falls: bool = False
    improves: bool = False
    automatic: bool = False
    bad: str = ""
    reference: float | None = None
    mean: float | None = None
    cases: float = 0.0
    under: str = ""

    @property
    def key(self) -> Key:
        return self.monitor.name, self.slice, self.signal, self.source.basis

    @property
    def part(self) -> str:
        """What of the monitor's value this is, such as a label; or nothing."""
        return part_of(self.signal)

    def measured(self, mean: float, cases: float) -> Watched:
        """With what was measured, whichever way it is watched."""
        mean = 1 - mean if self.falls else mean
        room = ROOM_OF_MANY if self.automatic else ROOM
        bar = tolerated_mean(mean, cases, self.monitor.tolerance, room)
        return replace(self, reference=mean, mean=bar, cases=cases)


def tolerated_mean(mean: float, cases: float, tolerance: float, room: float = ROOM) -> float:
    """The highest tolerated mean of a signal that was measured as `mean` on so many cases: higher
    by `tolerance`, or by as many standard errors of the reference where those are more, so that a
    version is not blamed for the luck of a small evaluation."""
    smooth = (mean * cases + 1) / (cases + 2)
    error = math.sqrt(smooth * (1 - smooth) / max(cases, 1))
    return min(max(mean, 0.0) + max(tolerance, room * error), HIGHEST)


def plan(config: ModelYaml, reference: Reference, busy: Iterable[str] = ()) -> list[Watched]:
    """Every stream of a version. None where nothing was measured, and nothing will be.

    Args:
        reference: see `driftgate.reference`.
        busy: slices that have enough traffic to be watched by themselves.
    """
    task = task_of(config.task)
    busy = list(busy)
    return [
        what
        for monitor in config.monitors
        for signal in streams(monitor.value, task, reference, both_sides=monitor.both_sides)
        for source in sources_of(signal, config)
        for slice_name in slices_of(monitor, signal, config, busy)
        for stream in signal.streams
        for what in watched(monitor, slice_name, stream, signal, source, config, reference)
    ]


def sources_of(signal: AnySignal, config: ModelYaml) -> tuple[Source, ...]:
    """Where the numbers of a signal come from."""
    return sources(config, by_two=signal.by_two) if signal.about == "quality" else (ANSWERS,)


def slices_of(
    monitor: Monitor, signal: AnySignal, config: ModelYaml, busy: Sequence[str] = ()
) -> list[str]:
    """Those that a monitor watches: declared ones first, each once. Two reviewers look at so few
    requests that no other slice has enough."""
    by_themselves = busy if signal.about == "quality" and not signal.by_two else ()
    return list(dict.fromkeys([*declared(monitor, config), *by_themselves]))


def declared(monitor: Monitor, config: ModelYaml) -> list[str]:
    """All traffic, slices that it names, and the protected ones."""
    return list(dict.fromkeys([ALL, *monitor.slices, *config.gate.protected]))


def watched(
    monitor: Monitor,
    slice_name: str,
    stream: str,
    signal: AnySignal,
    source: Source,
    config: ModelYaml,
    reference: Reference,
) -> Iterator[Watched]:
    """The stream, and that of its improvement."""
    mean, cases = measured_in(slice_name, stream, reference)
    automatic = slice_name not in declared(monitor, config)
    is_live = source.is_live or signal.live or (source.basis == "reviewed" and not cases)
    if automatic and cases < ENOUGH_CASES:
        is_live = True
    if not cases and not is_live:
        return
    name = name_of(monitor, slice_name, stream, source.basis)
    what = Watched(
        name,
        monitor,
        slice_name,
        stream,
        source,
        automatic=automatic,
        bad=signal.bad,
        under=measured_under(config) if is_live else "",
    )
    for each in sides(what, signal):
        yield each if is_live else each.measured(mean, cases)
    bar = 1 - config.gate.min_accuracy
    if stream == "error" and slice_name == ALL and not is_live and mean < bar < HIGHEST:
        name = bar_name(monitor, source.basis)
        yield replace(what, name=name, reference=mean, mean=bar, cases=cases)


def sides(what: Watched, signal: AnySignal) -> Iterator[Watched]:
    """A rise, and where it is asked for a fall. A fall of what is bad is an improvement."""
    yield what
    if what.monitor.signal == "quality" and not what.automatic:
        yield replace(what, name=f"{what.name}:better", falls=True, improves=True)
    elif what.monitor.both_sides and isinstance(signal, Shares):
        yield replace(what, name=f"{what.name}:fall", falls=True)


def measured_in(slice_name: str, signal: str, reference: Reference) -> tuple[float, float]:
    """Mean and cases of a slice, a few of the whole beside its own; without cases where it has
    none."""
    cases = reference.get(f"n|{signal}|{slice_name}", 0.0)
    if not cases:
        return 0.0, 0.0
    mean = reference[f"{signal}|{slice_name}"]
    whole = reference.get(f"{signal}|{ALL}")
    if slice_name == ALL or whole is None:
        return mean, cases
    return (mean * cases + whole * PRIOR_CASES) / (cases + PRIOR_CASES), cases + PRIOR_CASES


def name_of(monitor: Monitor, slice_name: str, signal: str, basis: Basis) -> str:
    parts = (monitor.name, slice_name, part_of(signal), "reviewed" if basis == "reviewed" else "")
    return ":".join(filter(None, parts))


def bar_name(monitor: Monitor, basis: Basis) -> str:
    """Of the stream of all errors that is measured against the gate's bar."""
    return f"{name_of(monitor, ALL, 'error', basis)}:bar"


def part_of(signal: str) -> str:
    """What of a monitor's value a signal is, or nothing."""
    return signal.partition(":")[2]
