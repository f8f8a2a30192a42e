"""Which monitors alarm: folds answers and outcomes, in the order of their time, into evidence.

Every stream is a signal in a slice, as answered live by one version, against the reference that
this version's own evaluation measured; so a new version starts without history. A request counts
once in each stream, however often it is delivered.

What is folded at a tick are the observations before its positions and its time, sorted by their own
time. The same ticks so lead to the same alerts, with the same ids, in whatever order topics were
polled and however often the service was killed. Other ticks, as from a faster clock, lead to the
same alerts as long as each observation arrived before the tick that follows its time; one that
arrives later counts among those of a later tick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftgate.events import DAY_MS, HOUR_MS, DriftAlert
from driftgate.model_repo import ModelYaml, Monitor
from driftgate.signals import Reference, Signal, streams
from driftgate.tasks import Task, task_of
from services.drift_detector import deduplication, detectors
from services.drift_detector.deduplication import Seen
from services.drift_detector.detectors import Detector, build
from services.drift_detector.observations import Observation

# Weight of the past at each step of the recent mean: the newest hundred numbers or so.
FADING = 0.99
# Versions of a model whose evidence is kept, for the day when one is rolled back to.
VERSIONS_KEPT = 8
MILLION = 1e6
HIGHEST = 1 - 1e-6
# The alternative, as a share of the way from the tolerated mean to 1, by which the start of a
# change is dated.
DATING = 0.12


@dataclass(frozen=True, slots=True)
class Watched:
    """One stream of one version: what it is, its bar and its threshold."""

    name: str
    monitor: Monitor
    slice: str
    signal: str
    reference: float
    mean: float
    threshold: float

    @property
    def part(self) -> str:
        """What of the monitor's value this is, such as a label; or nothing."""
        return part_of(self.signal)

    def detector(self) -> Detector:
        """A detector without history."""
        return build(self.monitor.detector, self.mean, self.threshold)


Plan = dict[tuple[str, str, str], Watched]
Watching = tuple[Monitor, tuple[Signal, ...]]


@dataclass
class Stream:
    """The evidence of one stream.

    Attributes:
        events: numbers seen since the reference was set.
        recent: sum and weight of the fading mean.
        rise: evidence, as a logarithm, of a change that began at `since` (CUSUM).
    """

    detector: detectors.Stored
    events: int = 0
    recent: tuple[float, float] = (0.0, 0.0)
    rise: float = 0.0
    since: int = 0

    @property
    def recent_mean(self) -> float:
        total, weight = self.recent
        return total / weight

    def update(self, x: float, time: int) -> bool:
        """One more number; whether it alarms."""
        if self.rise <= 0:
            self.rise, self.since = 0.0, time
        detector, (total, weight) = self.detector, self.recent
        self.rise += math.log1p(DATING * (x - detector.mean) / detector.mean)
        self.events += 1
        self.recent = (total * FADING + x, weight * FADING + 1)
        detector.update(x)
        return detector.drift_detected

    def restart(self, detector: Detector) -> None:
        """Begins new evidence, as after an alarm."""
        self.detector, self.rise = detector, 0.0


@dataclass
class Evidence:
    """All streams of all versions of one model.

    Attributes:
        streams: by version, then by the stream's name.
        live: fading count of live answers, by version.
        seen: requests that were counted.
    """

    streams: dict[int, dict[str, Stream]] = field(default_factory=dict)
    live: dict[int, float] = field(default_factory=dict)
    seen: deduplication.Stored = field(default_factory=Seen)

    @property
    def live_version(self) -> int | None:
        """The version that gave most of the newest answers."""
        counts = self.live
        return max(counts, key=lambda version: (counts[version], version), default=None)

    def count_live(self, observations: Iterable[Observation]) -> None:
        for seen in observations:
            if seen.kind == "answer":
                for version in self.live:
                    self.live[version] *= FADING
                self.live[seen.version] = self.live.get(seen.version, 0.0) + 1

    def forget(self) -> None:
        """Drops the versions that are too old to matter."""
        for version in sorted(self.live, key=lambda v: self.live[v])[:-VERSIONS_KEPT]:
            del self.live[version]
            self.streams.pop(version, None)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert, the same in words, and what the detector was given: from `state`, with the numbers
    `values`, it comes to the same alarm again."""

    event: DriftAlert
    summary: str
    inputs: Mapping[str, Any]


# What an observation says to a stream: in which turn, of all readings of a tick, and the number.
Reading = tuple[int, float, Observation]


def bar(reference: Reference, signal: str, slice_name: str, tolerance: float) -> float | None:
    """The highest tolerated mean of a signal in a slice; None where nothing was measured.

    It lies `tolerance` above the reference, and by one standard error of the reference further,
    so that a version is not blamed for the luck of a small evaluation.
    """
    cases = reference.get(f"n|{signal}|{slice_name}", 0.0)
    if not cases:
        return None
    mean = reference[f"{signal}|{slice_name}"]
    smooth = (mean * cases + 1) / (cases + 2)
    return min(mean + tolerance + math.sqrt(smooth * (1 - smooth) / cases), HIGHEST)


def threshold(monitor: Monitor, count: int) -> float:
    """The evidence at which a monitor of so many streams in each slice alarms: with at most
    `updates` updates for an event, an average run of `updates` x 1e6 / budget updates keeps the
    budget of false alarms."""
    updates = len(monitor.slices) * count
    return updates * MILLION / monitor.false_alarms_per_million


def plan(config: ModelYaml, reference: Reference) -> Plan:
    """Every stream of a version: by monitor, slice and signal. None where nothing was measured."""
    task = task_of(config.task)
    found = {}
    for monitor in config.monitors:
        signals = streams(monitor.value, task)
        for slice_name in monitor.slices:
            for signal in (signal.name for signal in signals):
                mean = bar(reference, signal, slice_name, monitor.tolerance)
                if mean is not None:
                    parts = (monitor.name, slice_name, part_of(signal))
                    found[monitor.name, slice_name, signal] = Watched(
                        ":".join(filter(None, parts)),
                        monitor,
                        slice_name,
                        signal,
                        reference[f"{signal}|{slice_name}"],
                        mean,
                        threshold(monitor, len(signals)),
                    )
    return found


def part_of(signal: str) -> str:
    """What of a monitor's value a signal is, or nothing."""
    return signal.partition(":")[2]


def affected(
    seen: Observation, watching: Iterable[Watching], reference: Reference, planned: Plan
) -> Iterator[tuple[Watched, float]]:
    """The streams that an observation affects, and the number that it gives each."""
    for monitor, signals in watching:
        if (monitor.signal == "quality") != (seen.kind == "outcome"):
            continue
        numbers = [(signal.name, signal.told(seen.answer, reference)) for signal in signals]
        for slice_name in filter(seen.answer.inside, monitor.slices):
            for signal, x in numbers:
                what = planned.get((monitor.name, slice_name, signal))
                if what is not None and x is not None:
                    yield what, x


def believable(seen: Observation, config: ModelYaml, task: Task, now: int) -> bool:
    """Whether an observation may count; what may not is refused by ingest-logger with a dead
    letter, as out of its time or an answer that nobody declared."""
    earliest = now - config.data.keep_days * DAY_MS
    latest = now + config.data.ahead_hours * HOUR_MS
    possible = task.outputs is None or seen.answer.output in task.outputs
    return possible and earliest <= seen.time <= latest


def fold(
    evidence: Evidence,
    observations: Iterable[Observation],
    now: int,
    config: ModelYaml,
    references: Mapping[int, Reference],
) -> list[Alarm]:
    """Moves `evidence` on by the observations, in any order, and tells what alarms.

    `references` are those of the verdicts, by version; a version without one counts as live
    traffic, and is not monitored. `now` is the time of the tick, ms. An error leaves the evidence
    as it was.
    """
    task = task_of(config.task)
    watching = [(monitor, streams(monitor.value, task)) for monitor in config.monitors]
    given = [seen for seen in observations if believable(seen, config, task, now)]
    given.sort(key=lambda seen: seen.order)
    fresh = [given[index] for index in evidence.seen.unknown([seen.identity for seen in given])]
    plans = {v: plan(config, references.get(v, {})) for v in {seen.version for seen in fresh}}
    numbers = by_stream(fresh, watching, references, plans)

    evidence.seen.add([seen.identity for seen in fresh])
    evidence.count_live(fresh)
    for version, wanted in plans.items():
        align(evidence.streams.setdefault(version, {}), wanted.values())
    alarms: dict[str, tuple[int, Alarm]] = {}
    for version, found in numbers.items():
        for what, values in found.values():
            stream = evidence.streams[version][what.name]
            for turn, alarm in alarms_of(config.model, what, stream, values, now):
                alarms.setdefault(alarm.event.alert_id, (turn, alarm))
    evidence.forget()
    return [alarm for _, alarm in sorted(alarms.values(), key=lambda found: found[0])]


def by_stream(
    observations: Iterable[Observation],
    watching: Sequence[Watching],
    references: Mapping[int, Reference],
    plans: Mapping[int, Plan],
) -> dict[int, dict[str, tuple[Watched, list[Reading]]]]:
    """The numbers of each stream, in the order of the observations, by version and name."""
    found: dict[int, dict[str, tuple[Watched, list[Reading]]]] = {version: {} for version in plans}
    turn = 0
    for seen in observations:
        version = seen.version
        affects, reference = found[version], references.get(version, {})
        for what, x in affected(seen, watching, reference, plans[version]):
            affects.setdefault(what.name, (what, []))[1].append((turn, x, seen))
            turn += 1
    return found


def alarms_of(
    model: str, what: Watched, stream: Stream, readings: Sequence[Reading], now: int
) -> Iterator[tuple[int, Alarm]]:
    """Gives a stream its numbers; its alarms, each with its turn."""
    state, first = stream.detector.state, 0
    for index, (turn, x, seen) in enumerate(readings):
        if stream.update(x, seen.time):
            values = [x for _, x, _ in readings[first : index + 1]]
            event = alert(model, seen, what, stream, now)
            yield turn, Alarm(event, summary(what, stream), replay(what, state, values))
            stream.restart(what.detector())
            state, first = stream.detector.state, index + 1


def align(streams: dict[str, Stream], wanted: Iterable[Watched]) -> None:
    """Opens the streams that are new, and anew those whose bar was moved by a new config."""
    for what in wanted:
        fresh, found = what.detector(), streams.get(what.name)
        if found is None or identity(found.detector) != identity(fresh):
            streams[what.name] = Stream(fresh)


def identity(detector: Detector) -> tuple[str, float, float]:
    return detector.name, detector.mean, detector.threshold


def replay(what: Watched, state: list[float], values: list[float]) -> dict[str, Any]:
    """Enough to raise the alarm again: `build(...)`, `restore(state)`, `update` by each value."""
    return {
        "detector": what.monitor.detector,
        "mean": what.mean,
        "threshold": what.threshold,
        "state": state,
        "values": values,
    }


def alert(model: str, last: Observation, what: Watched, stream: Stream, now: int) -> DriftAlert:
    """The alert of a stream that alarms at `last`."""
    monitor, detector = what.monitor, stream.detector
    return DriftAlert(
        alert_id=f"{model}@{last.version}:{what.name}:{last.time}",
        model=model,
        version=last.version,
        monitor=monitor.name,
        signal=monitor.signal,
        slice=what.slice,
        detector=monitor.detector,
        statistic=detector.statistic,
        threshold=detector.threshold,
        events=stream.events,
        window_start=stream.since,
        window_end=last.time,
        severity=monitor.severity,
        evidence={
            "reference": what.reference,
            "tolerance": monitor.tolerance,
            "tolerated_mean": what.mean,
            "recent_mean": stream.recent_mean,
            "n": float(stream.events),
            "statistic": detector.statistic,
            "threshold": detector.threshold,
        },
        time=now,
    )


def summary(what: Watched, stream: Stream) -> str:
    """For people: errors rose from 9 % to 17 % (all)."""
    where = ", ".join(part for part in (what.part, what.slice) if part)
    before, after = (f"{mean * 100:.0f} %" for mean in (what.reference, stream.recent_mean))
    return f"{what.monitor.name} rose from {before} to {after} ({where})"
