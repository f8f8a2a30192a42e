"""Which monitors alarm: folds answers and outcomes, in the order of their time, into evidence.

Every stream is a signal in a slice, as answered live by one version, against the reference that
this version's own evaluation measured; so a new version starts without history. A request counts
once in each stream, however often it is delivered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from driftgate.events import DAY_MS, HOUR_MS, Event
from driftgate.model_repo import ModelYaml, Monitor
from driftgate.reference import Answer, Reference, signals
from services.drift_detector.worsening import Detector, Stored, build

# Requests remembered against repeated delivery. Producers repeat within seconds, and our own
# position is kept beside the evidence, so that a restart repeats nothing.
REMEMBERED = 10_000
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
class Observation:
    """What monitors need of one record. `kind` tells which monitors: answers come from topic
    `inferences`, outcomes from `outcomes`. `origin` and `offset` say where it lay."""

    kind: Literal["answer", "outcome"]
    request_id: str
    model: str
    version: int
    time: int
    answer: Answer
    origin: str
    offset: int

    @property
    def order(self) -> tuple[int, str, str, int]:
        return self.time, self.kind, self.request_id, self.offset


@dataclass(frozen=True, slots=True)
class Watched:
    """One stream of one version: what it is, its bar and its threshold."""

    monitor: Monitor
    slice: str
    signal: str
    reference: float
    mean: float
    threshold: float

    @property
    def label(self) -> str:
        """The label whose share this is, or nothing."""
        return self.signal.partition(":")[2]

    @property
    def name(self) -> str:
        return ":".join(part for part in (self.monitor.name, self.slice, self.label) if part)

    def detector(self) -> Detector:
        """A detector without history."""
        return build(self.monitor.detector, self.mean, self.threshold)


Plan = dict[tuple[str, str, str], Watched]


@dataclass
class Stream:
    """The evidence of one stream.

    Attributes:
        events: numbers seen since the reference was set.
        recent: sum and weight of the fading mean.
        rise: evidence, as a logarithm, of a change that began at `since` (CUSUM).
    """

    detector: Stored
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
        self.rise += math.log1p(DATING * (x - self.detector.mean) / self.detector.mean)
        self.events += 1
        self.recent = (self.recent[0] * FADING + x, self.recent[1] * FADING + 1)
        self.detector.update(x)
        return self.detector.drift_detected

    def restart(self, detector: Detector) -> None:
        """Begins new evidence, as after an alarm."""
        self.detector, self.rise = detector, 0.0


@dataclass
class Evidence:
    """All streams of all versions.

    Attributes:
        streams: by `model@version`, then by the stream's name.
        live: fading count of live answers by model and version.
        seen: requests that were counted, oldest first.
    """

    streams: dict[str, dict[str, Stream]] = field(default_factory=dict)
    live: dict[str, dict[int, float]] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)

    def live_version(self, model: str) -> int | None:
        """The version that gave most of the newest answers."""
        counts = self.live.get(model, {})
        return max(counts, key=lambda version: (counts[version], version), default=None)

    def first_time(self, observation: Observation) -> bool:
        """Whether this request is new; it is not from now on."""
        name = f"{observation.kind}:{observation.model}:{observation.request_id}"
        if name in self.seen:
            return False
        self.seen[name] = None
        return True

    def count_live(self, observation: Observation) -> None:
        counts = self.live.setdefault(observation.model, {})
        for version in counts:
            counts[version] *= FADING
        counts[observation.version] = counts.get(observation.version, 0.0) + 1

    def forget(self) -> None:
        """Drops what is too old to matter."""
        for name in list(self.seen)[:-REMEMBERED]:
            del self.seen[name]
        for model, counts in self.live.items():
            for version in sorted(counts, key=lambda v: counts[v])[:-VERSIONS_KEPT]:
                del counts[version]
                self.streams.pop(f"{model}@{version}", None)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A `drift.alerts` event, the same in words, and what the detector was given: from `state`,
    with the numbers `values`, it comes to the same alarm again."""

    event: Event
    words: str
    inputs: Mapping[str, Any]


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


def threshold(monitor: Monitor, labels: int) -> float:
    """The evidence at which a monitor alarms: with at most `updates` updates for an event, an
    average run of `updates` x 1e6 / budget updates keeps the budget of false alarms."""
    updates = len(monitor.slices) * (labels if monitor.value == "share" else 1)
    return updates * MILLION / monitor.false_alarms_per_million


def plan(config: ModelYaml, reference: Reference) -> Plan:
    """Every stream of a version: by monitor, slice and signal. None where nothing was measured."""
    labels = config.task.labels
    streams = {}
    for monitor in config.monitors:
        names = [f"share:{label}" for label in labels] if monitor.value == "share" else None
        for slice_name in monitor.slices:
            for signal in names or [monitor.value]:
                mean = bar(reference, signal, slice_name, monitor.tolerance)
                if mean is not None:
                    streams[monitor.name, slice_name, signal] = Watched(
                        monitor,
                        slice_name,
                        signal,
                        reference[f"{signal}|{slice_name}"],
                        mean,
                        threshold(monitor, len(labels)),
                    )
    return streams


def moved(
    seen: Observation, config: ModelYaml, reference: Reference, streams: Plan
) -> Iterator[tuple[Watched, float]]:
    """The streams that an observation moves, and by what number."""
    for monitor in config.monitors:
        if (monitor.signal == "quality") != (seen.kind == "outcome"):
            continue
        numbers = list(signals(monitor.value, seen.answer, reference, config.task.labels))
        for slice_name in filter(seen.answer.inside, monitor.slices):
            for signal, x in numbers:
                what = streams.get((monitor.name, slice_name, signal))
                if what is not None:
                    yield what, x


def believable(seen: Observation, config: ModelYaml, now: int) -> bool:
    """Whether an observation may count; what may not is refused by ingest-logger with a dead
    letter, as out of its time or an answer that nobody declared."""
    earliest = now - config.data.keep_days * DAY_MS
    latest = now + config.data.ahead_hours * HOUR_MS
    return earliest <= seen.time <= latest and seen.answer.output in config.task.labels


def fold(
    evidence: Evidence,
    observations: Iterable[Observation],
    now: int,
    configs: Mapping[str, ModelYaml],
    references: Mapping[str, Reference],
) -> list[Alarm]:
    """Moves `evidence` on by the observations, in any order, and tells what alarms.

    `references` are those of the verdicts, by `model@version`; a version without one counts as
    live traffic, and is not monitored. `now` is the time of the tick, ms.
    """
    alarms: list[Alarm] = []
    plans: dict[str, Plan] = {}
    fed: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for seen in sorted(observations, key=lambda observation: observation.order):
        config = configs.get(seen.model)
        if config is None or not believable(seen, config, now) or not evidence.first_time(seen):
            continue
        if seen.kind == "answer":
            evidence.count_live(seen)
        version = f"{seen.model}@{seen.version}"
        reference = references.get(version, {})
        streams = evidence.streams.setdefault(version, {})
        if version not in plans:
            plans[version] = plan(config, reference)
            align(streams, plans[version].values())
        for what, x in moved(seen, config, reference, plans[version]):
            stream = streams[what.name]
            state, values = fed.setdefault((version, what.name), (stream.detector.state, []))
            values.append(x)
            if stream.update(x, seen.time):
                event = alert(seen, what, stream, now)
                alarms.append(Alarm(event, words(what, stream), replay(what, state, values)))
                stream.restart(what.detector())
                del fed[version, what.name]
    evidence.forget()
    return alarms


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
        "values": list(values),
    }


def alert(last: Observation, what: Watched, stream: Stream, now: int) -> Event:
    """The `drift.alerts` event of a stream that alarms at `last`."""
    monitor = what.monitor
    evidence = {
        "reference": what.reference,
        "tolerance": monitor.tolerance,
        "tolerated_mean": what.mean,
        "recent_mean": stream.recent_mean,
        "n": float(stream.events),
        "statistic": stream.detector.statistic,
        "threshold": stream.detector.threshold,
    }
    return {
        "alert_id": f"{last.model}@{last.version}:{what.name}:{last.time}",
        "model": last.model,
        "version": last.version,
        "monitor": monitor.name,
        "signal": monitor.signal,
        "slice": what.slice,
        "detector": monitor.detector,
        "statistic": stream.detector.statistic,
        "threshold": stream.detector.threshold,
        "events": stream.events,
        "window_start": stream.since,
        "window_end": last.time,
        "severity": monitor.severity,
        "evidence": evidence,
        "time": now,
    }


def words(what: Watched, stream: Stream) -> str:
    """For people: errors rose from 9 % to 17 % (all)."""
    where = ", ".join(part for part in (what.label, what.slice) if part)
    before, after = (f"{mean * 100:.0f} %" for mean in (what.reference, stream.recent_mean))
    return f"{what.monitor.name} rose from {before} to {after} ({where})"
