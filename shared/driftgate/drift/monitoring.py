"""Which monitors alarm: folds answers and outcomes, in the order of their time, into evidence.

Every stream is a signal in a slice, as answered live by one version, against a reference of this
version's own; so a new version starts without history. What outcomes say of quality, and whether
the reference is that of the evaluation or the first live answers, follows from the feedback profile
(`quality`). A request counts once in each stream, however often it is delivered. A change is dated
by the answers that show it, not by when people said so.

What is folded at a tick are the observations before its positions and its time, sorted by their own
time. The same ticks so lead to the same alerts, with the same ids, in whatever order topics were
polled and however often the service was killed. Other ticks, as from a faster clock, lead to the
same alerts as long as each observation arrived before the tick that follows its time; one that
arrives later counts among those of a later tick.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from driftgate.drift import deduplication, detectors
from driftgate.drift.deduplication import Seen
from driftgate.drift.detectors import Detector, build
from driftgate.drift.observations import Observation
from driftgate.drift.quality import (
    IN_WORDS,
    Baseline,
    Basis,
    Source,
    measured_under,
    sources,
)
from driftgate.drift.settlement import Settled, Unsettled
from driftgate.events import DAY_MS, HOUR_MS, DriftAlert
from driftgate.latest_word import RETRACTION, latest
from driftgate.model_repo import ModelYaml, Monitor
from driftgate.signals import AnySignal, Reference, streams
from driftgate.slices import ALL
from driftgate.tasks import Task, task_of

ANSWERS = Source("answers")

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
    """One stream of one version: what it is, its bar and its threshold.

    Attributes:
        reference, mean: what was measured, and the highest mean that is tolerated; None while a
            live reference has too few answers.
        under: what a live reference holds under; empty where it was measured on held-out cases.
    """

    name: str
    monitor: Monitor
    slice: str
    signal: str
    source: Source
    threshold: float
    reference: float | None = None
    mean: float | None = None
    under: str = ""

    @property
    def part(self) -> str:
        """What of the monitor's value this is, such as a label; or nothing."""
        return part_of(self.signal)

    def with_reference(self, mean: float, cases: float) -> Watched:
        tolerated = tolerated_mean(mean, cases, self.monitor.tolerance)
        return replace(self, reference=mean, mean=tolerated)

    def detector(self) -> Detector:
        """A detector without history."""
        assert self.mean is not None
        return build(self.monitor.detector, self.mean, self.threshold)


Watching = tuple[Monitor, tuple[AnySignal, ...]]
Plan = dict[tuple[str, str, str, Basis], Watched]


class Reading(NamedTuple):
    """A number that a stream is given.

    Attributes:
        turn: of all readings of a tick.
        time: of the answer, ms.
        known: since when the number could be known, ms.
    """

    turn: int
    x: float
    time: int
    known: int


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
        self.since = min(self.since, time)
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
        baselines: references that are measured on live answers, by version, then by stream.
        unsettled: answers that wait for what people will say.
        dropped: words that were too many to keep, since the last tick.
    """

    streams: dict[int, dict[str, Stream]] = field(default_factory=dict)
    live: dict[int, float] = field(default_factory=dict)
    seen: deduplication.Stored = field(default_factory=Seen)
    baselines: dict[int, dict[str, Baseline]] = field(default_factory=dict)
    unsettled: Unsettled = field(default_factory=Unsettled)
    dropped: int = 0

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
            self.baselines.pop(version, None)

    def baseline(self, version: int, what: Watched) -> Baseline:
        """The live reference of a stream, begun anew where its profile is another one by now."""
        found = self.baselines.setdefault(version, {})
        if what.name not in found or found[what.name].under != what.under:
            found[what.name] = Baseline(what.source.basis, what.under)
        return found[what.name]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert, the same in words, and what the detector was given: from `state`, with the numbers
    `values`, it comes to the same alarm again."""

    event: DriftAlert
    summary: str
    inputs: Mapping[str, Any]


def tolerated_mean(mean: float, cases: float, tolerance: float) -> float:
    """The highest tolerated mean of a signal that was measured as `mean` on so many cases.

    It lies `tolerance` above, and by one standard error of the reference further, so that a version
    is not blamed for the luck of a small evaluation.
    """
    smooth = (mean * cases + 1) / (cases + 2)
    return min(mean + tolerance + math.sqrt(smooth * (1 - smooth) / cases), HIGHEST)


def threshold(monitor: Monitor, count: int) -> float:
    """The evidence at which a monitor of so many streams in each slice alarms: with at most
    `updates` updates for an event, an average run of `updates` x 1e6 / budget updates keeps the
    budget of false alarms."""
    updates = len(monitor.slices) * count
    return updates * MILLION / monitor.false_alarms_per_million


def plan(config: ModelYaml, reference: Reference) -> Plan:
    """Every stream of a version: by monitor, slice, signal and where its numbers come from. None
    where nothing was measured, and nothing will be."""
    task = task_of(config.task)
    under = measured_under(config)
    found: Plan = {}
    for monitor in config.monitors:
        names = [name for each in streams(monitor.value, task) for name in each.streams]
        watched_sources = sources(config) if monitor.signal == "quality" else (ANSWERS,)
        for source in watched_sources:
            for slice_name in monitor.slices:
                for signal in names:
                    cases = reference.get(f"n|{signal}|{slice_name}", 0.0)
                    is_live = source.is_live or (source.basis == "reviewed" and not cases)
                    what = Watched(
                        name_of(monitor, slice_name, signal, source.basis),
                        monitor,
                        slice_name,
                        signal,
                        source,
                        threshold(monitor, len(names)),
                        under=under if is_live else "",
                    )
                    if cases and not is_live:
                        what = what.with_reference(reference[f"{signal}|{slice_name}"], cases)
                    if cases or is_live:
                        found[monitor.name, slice_name, signal, source.basis] = what
    return found


def name_of(monitor: Monitor, slice_name: str, signal: str, basis: Basis) -> str:
    parts = (monitor.name, slice_name, part_of(signal), "reviewed" if basis == "reviewed" else "")
    return ":".join(filter(None, parts))


def part_of(signal: str) -> str:
    """What of a monitor's value a signal is, or nothing."""
    return signal.partition(":")[2]


BASES: Mapping[str, Basis] = {"answer": "answers", "outcome": "told", "review": "reviewed"}
"""What an observation of each kind tells at once."""


def affected(
    seen: Observation, watching: Iterable[Watching], reference: Reference, planned: Plan
) -> Iterator[tuple[Watched, float]]:
    """The streams that an observation affects at once, and the number that it gives each."""
    basis = BASES[seen.kind]
    for monitor, signals in watching:
        if (monitor.signal == "quality") != (basis != "answers"):
            continue
        numbers = [one for signal in signals for one in signal.numbers(seen.answer, reference)]
        for slice_name in filter(seen.answer.inside, monitor.slices):
            for signal, x in numbers:
                what = planned.get((monitor.name, slice_name, signal, basis))
                if what is not None:
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
    telling = latest_of_each(given)
    fresh = [telling[at] for at in evidence.seen.unknown([seen.identity for seen in telling])]
    by_version = {v: plan(config, references.get(v, {})) for v in {s.version for s in fresh}}
    numbers = by_stream(fresh, watching, references, by_version)

    evidence.seen.add([seen.identity for seen in fresh])
    evidence.count_live(fresh)
    for settled in settle(evidence, fresh, given, config, now):
        version = settled.version
        if version not in by_version:
            by_version[version] = plan(config, references.get(version, {}))
        add_settled(numbers.setdefault(version, {}), settled, watching, by_version[version], config)
    for version, wanted in by_version.items():
        align(evidence.streams.setdefault(version, {}), wanted.values())
    alarms: dict[str, tuple[int, Alarm]] = {}
    for version, found in numbers.items():
        for what, readings in found.values():
            for turn, alarm in alarms_of(config, version, what, evidence, readings, now):
                alarms.setdefault(alarm.event.alert_id, (turn, alarm))
    evidence.forget()
    return [alarm for _, alarm in sorted(alarms.values(), key=lambda found: found[0])]


def latest_of_each(observations: Sequence[Observation]) -> list[Observation]:
    """All answers, and of the words on each request the one that counts, if it tells right from
    wrong; users' words and those of the random review each by themselves."""
    said: dict[tuple[str, str], list[Observation]] = defaultdict(list)
    withdrawn: dict[str, list[Observation]] = defaultdict(list)
    for seen in observations:
        if seen.word is not None and seen.word.kind == RETRACTION:
            withdrawn[seen.request_id].append(seen)
        elif seen.kind != "answer":
            said[seen.kind, seen.request_id].append(seen)
    counted = {id(one) for each in said.values() for one in latest_word(each, withdrawn)}
    return [seen for seen in observations if seen.kind == "answer" or id(seen) in counted]


def latest_word(
    said: Sequence[Observation], withdrawn: Mapping[str, Sequence[Observation]]
) -> Iterator[Observation]:
    """The one of these observations on a request that counts, if any does."""
    by_word = {seen.word: seen for seen in said if seen.word is not None}
    taken_back = (seen.word for seen in withdrawn.get(said[0].request_id, ()))
    word = latest([*by_word, *(word for word in taken_back if word is not None)])
    # What an older release kept says of itself that it tells.
    counts = by_word[word] if word is not None else said[0] if not by_word else None
    if counts is not None and counts.answer.error is not None:
        yield counts


def settle(
    evidence: Evidence,
    fresh: Iterable[Observation],
    given: Iterable[Observation],
    config: ModelYaml,
    now: int,
) -> Iterator[Settled]:
    """The answers that had their time, where silence counts. `given` holds all words, of which any
    may be the one that counts in the end."""
    if config.feedback.counted != "heard":
        return
    slices = sorted({name for monitor in config.monitors for name in monitor.slices} | {ALL})
    answers = (seen for seen in fresh if seen.kind == "answer")
    words = (seen for seen in given if seen.kind == "outcome")
    waiting, settled_ms = evidence.unsettled, config.feedback.settled_ms
    evidence.dropped += waiting.add([*answers, *words], slices, settled_ms)
    yield from waiting.settle(now, settled_ms)


Numbers = dict[str, tuple[Watched, list[Reading]]]
"""By the stream's name."""


def add_settled(
    numbers: Numbers,
    settled: Settled,
    watching: Iterable[Watching],
    planned: Plan,
    config: ModelYaml,
) -> None:
    """What settled answers say to each stream in which silence counts."""
    for monitor, signals in watching:
        for slice_name, signal in ((name, signal) for name in monitor.slices for signal in signals):
            for time, answer in settled.heard(slice_name):
                for name, x in signal.numbers(answer, {}):
                    what = planned.get((monitor.name, slice_name, name, "heard"))
                    if what is not None:
                        readings = numbers.setdefault(what.name, (what, []))[1]
                        known = time + config.feedback.settled_ms
                        readings.append(Reading(len(readings), x, time, known))


def by_stream(
    observations: Iterable[Observation],
    watching: Sequence[Watching],
    references: Mapping[int, Reference],
    plans: Mapping[int, Plan],
) -> dict[int, Numbers]:
    """The numbers of each stream, in the order of the observations, by version."""
    found: dict[int, Numbers] = {version: {} for version in plans}
    turn = 0
    for seen in observations:
        version = seen.version
        affects, reference = found[version], references.get(version, {})
        for what, x in affected(seen, watching, reference, plans[version]):
            reading = Reading(turn, x, seen.dated, seen.time)
            affects.setdefault(what.name, (what, []))[1].append(reading)
            turn += 1
    return found


def alarms_of(
    config: ModelYaml,
    version: int,
    what: Watched,
    evidence: Evidence,
    readings: Sequence[Reading],
    now: int,
) -> Iterator[tuple[int, Alarm]]:
    """Gives a stream its numbers; its alarms, each with its turn. The first numbers measure the
    reference where it is live."""
    first = 0
    if what.under:
        baseline = evidence.baseline(version, what)
        while first < len(readings) and not baseline.is_ready:
            baseline.add(readings[first].x)
            first += 1
        if not baseline.is_ready:
            return
        what = what.with_reference(baseline.mean, baseline.answers)
        align(evidence.streams[version], [what])
    stream = evidence.streams[version][what.name]
    state = stream.detector.state
    for index in range(first, len(readings)):
        turn, x, time, known = readings[index]
        if stream.update(x, time):
            values = [reading.x for reading in readings[first : index + 1]]
            event = alert(config.model, version, known, what, stream, now)
            yield turn, Alarm(event, summary(what, stream), replay(what, state, values, config))
            stream.restart(what.detector())
            state, first = stream.detector.state, index + 1


def align(streams: dict[str, Stream], wanted: Iterable[Watched]) -> None:
    """Opens the streams that are new, and anew those whose bar was moved by a new config."""
    for what in wanted:
        if what.mean is None:
            continue
        fresh, found = what.detector(), streams.get(what.name)
        if found is None or identity(found.detector) != identity(fresh):
            streams[what.name] = Stream(fresh)


def identity(detector: Detector) -> tuple[str, float, float]:
    return detector.name, detector.mean, detector.threshold


def replay(
    what: Watched, state: list[float], values: list[float], config: ModelYaml
) -> dict[str, Any]:
    """Enough to raise the alarm again: `build(...)`, `restore(state)`, `update` by each value. And
    what the numbers are."""
    told = IN_WORDS.get(what.source.basis)
    measured = {"measured": told, "feedback": config.feedback.model_dump()} if told else {}
    return measured | {
        "detector": what.monitor.detector,
        "mean": what.mean,
        "threshold": what.threshold,
        "state": state,
        "values": values,
    }


def alert(
    model: str, version: int, known: int, what: Watched, stream: Stream, now: int
) -> DriftAlert:
    """The alert of a stream that alarms by what could be known at `known`, ms."""
    monitor, detector = what.monitor, stream.detector
    assert what.reference is not None and what.mean is not None
    return DriftAlert(
        alert_id=f"{model}@{version}:{what.name}:{known}",
        model=model,
        version=version,
        monitor=monitor.name,
        signal=monitor.signal,
        slice=what.slice,
        detector=monitor.detector,
        statistic=detector.statistic,
        threshold=detector.threshold,
        events=stream.events,
        window_start=stream.since,
        window_end=known,
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
    assert what.reference is not None
    where = ", ".join(part for part in (what.part, what.slice) if part)
    before, after = (f"{mean * 100:.0f} %" for mean in (what.reference, stream.recent_mean))
    told = IN_WORDS.get(what.source.basis)
    counted = f": {told}" if told and (what.under or what.source.basis == "reviewed") else ""
    return f"{what.monitor.name}{counted} rose from {before} to {after} ({where})"
