"""Which streams alarm: folds answers and outcomes, by buckets of time, into evidence.

Every stream is a signal in a slice, as answered live by one version, against a reference of this
version's own; so a new version starts without history. What outcomes say of quality, and whether
the reference is that of the evaluation or the first live answers, follows from the feedback profile
(`quality`). A request counts once in each stream, however often it is delivered.

Answers count at the time when they were given, and what is said of them when it could be known. A
change is dated by the answers that show it, not by when people said so. What arrives after its
bucket was closed is late: words on answers then count in the next one, and answers are only told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftgate.drift import budget, counts, deduplication, second_reviews
from driftgate.drift.alarms import Alarm, Condition, Improvement
from driftgate.drift.counts import WIDTH_MS, OpenBucket, Watching, bucket_of
from driftgate.drift.deduplication import Seen
from driftgate.drift.lanes import Floats
from driftgate.drift.live_tails import LiveTails
from driftgate.drift.observations import Observation
from driftgate.drift.plan import Key, Watched, declared, plan
from driftgate.drift.quality import Baseline, Basis
from driftgate.drift.settlement import SILENT, Settled, Unsettled
from driftgate.drift.traffic import Traffic
from driftgate.drift.version_streams import Bucket, Fresh, Inputs, VersionStreams
from driftgate.drift.words import latest_of_each
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.model_repo import ModelYaml, Monitor
from driftgate.signals import AnySignal, Reference, streams
from driftgate.slices import ALL
from driftgate.tasks import Task, task_of

# Weight of the past at each answer in the share of a version.
FADING = 0.99
# Versions of a model whose evidence is kept, for the day when one is rolled back to.
VERSIONS_KEPT = 8

BASES: Mapping[str, Basis] = {"outcome": "told", "review": "reviewed", "pair": "twice"}
"""What words of each kind tell when they are said."""


@dataclass
class Evidence:
    """All that is known of one model.

    Attributes:
        streams: by version.
        live: fading count of live answers, by version.
        first: when each version first answered, ms.
        tails: where the tails of live signals begin, by version.
        seen: requests that were counted.
        unsettled: answers that wait for what people will say.
        buckets: of time that are not closed yet, by their beginning, ms.
        closed: buckets that begin before this are closed, ms; 0 before the first.
        reviews: words of reviewers that wait for those of a second one, by request.
        traffic: answers by slice and value.
        dropped: words that were too many to keep, since the last tick.
        late: answers that came after their bucket was closed, since the last tick.
    """

    streams: dict[int, VersionStreams] = field(default_factory=dict)
    live: dict[int, float] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    tails: dict[int, LiveTails] = field(default_factory=dict)
    seen: deduplication.Stored = field(default_factory=Seen)
    unsettled: Unsettled = field(default_factory=Unsettled)
    buckets: dict[int, OpenBucket] = field(default_factory=dict)
    closed: int = 0
    reviews: dict[str, list[Observation]] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    dropped: int = 0
    late: int = 0

    @property
    def live_version(self) -> int | None:
        """The version that gave most of the newest answers."""
        live = self.live
        return max(live, key=lambda version: (live[version], version), default=None)

    def count_live(self, answers: Mapping[int, int]) -> None:
        """Answers by version, of one bucket."""
        fade = FADING ** sum(answers.values())
        for version in self.live:
            self.live[version] *= fade
        for version, n in answers.items():
            self.live[version] = self.live.get(version, 0.0) + (1 - FADING**n) / (1 - FADING)

    def forget(self) -> None:
        """Drops the versions that are too old to matter."""
        for version in sorted(self.live, key=lambda v: self.live[v])[:-VERSIONS_KEPT]:
            del self.live[version]
            for known in (self.streams, self.first, self.tails):
                known.pop(version, None)


@dataclass(frozen=True, slots=True)
class Told:
    """What a tick tells, each in the order of time; of alarms also what their streams were
    given."""

    alarms: tuple[tuple[Alarm, Inputs], ...] = ()
    improvements: tuple[Improvement, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def alarms_alone(self) -> list[Alarm]:
        return [alarm for alarm, _ in self.alarms]


@dataclass
class Layout:
    """The streams of one version, the rows that they have, and what a number of each row spends of
    the budget of false alarms."""

    wanted: list[Watched]
    rows: dict[str, int]
    per_number: Floats
    by_key: dict[Key, list[Watched]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_key = defaultdict(list)
        for what in self.wanted:
            self.by_key[what.key].append(what)


class Monitoring:
    """What is watched of one model under one config: made for a fold, and thrown away."""

    def __init__(
        self, evidence: Evidence, config: ModelYaml, references: Mapping[int, Reference]
    ) -> None:
        self.evidence, self.config, self.references = evidence, config, references
        self.task = task_of(config.task)
        self.quality = [m for m in config.monitors if m.signal == "quality"]
        self.others = [m for m in config.monitors if m.signal != "quality"]
        self.busy: list[str] = []
        self._names: list[str] = []
        self._layouts: dict[int, Layout] = {}
        self._signals: dict[tuple[str, int], tuple[AnySignal, ...]] = {}
        self._measured: dict[int, tuple[int, Reference]] = {}

    def look_at_traffic(self) -> None:
        """Slices that have enough traffic by now are watched, and share the budget."""
        traffic = self.evidence.traffic
        looked = (traffic.busy if self.quality else [], list(traffic.counts))
        if looked != (self.busy, self._names):
            self.busy, self._names = looked
            self._layouts.clear()

    def reference(self, version: int) -> Reference:
        """What is known of a version: by held-out cases, and by its first live answers."""
        measured, tails = self.references.get(version, {}), self.evidence.tails.get(version)
        if tails is None or not tails.cuts:
            return measured
        if version not in self._measured or len(tails.cuts) != self._measured[version][0]:
            self._measured[version] = len(tails.cuts), {**measured, **tails.reference}
        return self._measured[version][1]

    def signals(self, monitor: Monitor, version: int) -> tuple[AnySignal, ...]:
        key = monitor.name, version
        if key not in self._signals:
            known = self.reference(version)
            both = monitor.both_sides
            self._signals[key] = streams(monitor.value, self.task, known, both_sides=both)
        return self._signals[key]

    def answers(self, version: int) -> Watching:
        """What is watched of its answers."""
        return [(m.name, declared(m, self.config), self.signals(m, version)) for m in self.others]

    def layout(self, version: int) -> Layout:
        if version not in self._layouts:
            wanted = plan(self.config, self.reference(version), self.busy)
            own = self.evidence.streams.setdefault(version, VersionStreams())
            rows = own.align(wanted)
            stakes = budget.stakes(self.config, self.evidence.traffic.counts)
            per_number = np.zeros(len(own.names))
            for what in wanted:
                per_number[rows[what.name]] = stakes[what.monitor.name]
            self._layouts[version] = Layout(wanted, rows, per_number)
        return self._layouts[version]

    @property
    def slices(self) -> set[str]:
        """Those that are declared for quality."""
        found = (declared(monitor, self.config) for monitor in self.quality)
        return {ALL}.union(*found)


def live_references(
    evidence: Evidence, config: ModelYaml, references: Mapping[int, Reference] | None = None
) -> Iterator[tuple[int, Baseline]]:
    """The references that are measured on live answers, of what is declared, by version."""
    for version, own in sorted(evidence.streams.items()):
        for what in plan(config, (references or {}).get(version, {})):
            if what.under and not what.improves and what.name in own.names:
                n, total = own.measured(what.name)
                basis = what.source.basis
                yield version, Baseline(what.name, basis, what.under, round(n), total, what.bad)


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
) -> Told:
    """Moves `evidence` on by the observations, in any order, and by the time of the tick, `now`,
    ms; tells what alarms.

    `references` are those of the verdicts, by version; a version without one counts as live
    traffic, and is not monitored.
    """
    watch = Monitoring(evidence, config, references)
    watch.look_at_traffic()
    given = [seen for seen in observations if believable(seen, config, watch.task, now)]
    take_up(watch, given)
    until = max(evidence.closed, counts.closed_until(now))
    settled = settled_by(watch, until)
    found: list[tuple[Alarm | Improvement | Condition, Inputs | None]] = []
    due = {start for start in evidence.buckets if start < until} | settled.keys()
    buckets = {start: evidence.buckets.pop(start, OpenBucket()) for start in sorted(due)}
    words = words_by_bucket(evidence, buckets, config)
    for start, bucket in buckets.items():
        found += close(watch, start, bucket, words.get(start, ()), settled.get(start, ()))
    evidence.closed = until
    evidence.forget()
    return Told(
        tuple((one, inputs) for one, inputs in found if isinstance(one, Alarm) and inputs),
        tuple(one for one, _ in found if isinstance(one, Improvement)),
        tuple(one for one, _ in found if isinstance(one, Condition)),
    )


def take_up(watch: Monitoring, given: Sequence[Observation]) -> None:
    """Answers count in the bucket of their time, once; words wait for theirs to close."""
    evidence = watch.evidence
    heard = [seen for seen in given if seen.kind == "answer"]
    fresh = [heard[at] for at in evidence.seen.unknown([seen.identity for seen in heard])]
    evidence.seen.add([seen.identity for seen in fresh])
    in_time = [seen for seen in fresh if seen.time >= evidence.closed]
    evidence.late += len(fresh) - len(in_time)
    for version, together in by_version(in_time).items():
        first = min(seen.time for seen in together)
        evidence.first[version] = min(first, evidence.first.get(version, first))
        tails = evidence.tails.setdefault(version, LiveTails())
        signals = [s for m in watch.others for s in watch.signals(m, version)]
        tails.add(signals, (seen.answer for seen in together))
        counts.count(evidence.buckets, together, watch.answers(version), watch.reference(version))
    words = [seen for seen in given if seen.kind != "answer"]
    if watch.config.feedback.counted == "heard":
        said = (seen for seen in words if seen.kind == "outcome")
        together = sorted([*fresh, *said], key=lambda seen: seen.order)
        settled_ms = watch.config.feedback.settled_ms
        evidence.dropped += evidence.unsettled.add(together, watch.slices, settled_ms)
    for seen in words:
        start = bucket_of(max(seen.time, evidence.closed))
        evidence.buckets.setdefault(start, OpenBucket()).words.append(seen)


def by_version(seen: Iterable[Observation]) -> dict[int, list[Observation]]:
    found: dict[int, list[Observation]] = defaultdict(list)
    for one in seen:
        found[one.version].append(one)
    return found


def settled_by(watch: Monitoring, until: int) -> dict[int, list[Settled]]:
    """The answers that had their time before `until`, ms, by the bucket in which that was so."""
    found: dict[int, list[Settled]] = defaultdict(list)
    if watch.config.feedback.counted == "heard":
        settled_ms = watch.config.feedback.settled_ms
        for settled in watch.evidence.unsettled.settle(until, settled_ms):
            found[bucket_of(settled.end + settled_ms - 1)].append(settled)
    return found


def words_by_bucket(
    evidence: Evidence, buckets: Mapping[int, OpenBucket], config: ModelYaml
) -> dict[int, list[Observation]]:
    """What counts of the words in buckets, each request once."""
    telling = []
    for start, bucket in buckets.items():
        said = sorted(bucket.words, key=lambda seen: seen.order)
        pairs = second_reviews.pairs(evidence.reviews, said, config, start)
        telling += [(start, seen) for seen in (*latest_of_each(said), *pairs)]
    names = [seen.identity for _, seen in telling]
    new = evidence.seen.unknown(names) if names else []
    evidence.seen.add([names[at] for at in new])
    found: dict[int, list[Observation]] = defaultdict(list)
    for start, seen in (telling[at] for at in new):
        found[start].append(seen)
    return found


def close(
    watch: Monitoring,
    start: int,
    bucket: OpenBucket,
    words: Iterable[Observation],
    settled: Iterable[Settled],
) -> Iterator[tuple[Alarm | Improvement | Condition, Inputs | None]]:
    """Gives each stream what its bucket holds, and says what alarms."""
    evidence = watch.evidence
    fresh: dict[int, dict[int, list[Fresh]]] = defaultdict(lambda: defaultdict(list))
    for version in bucket.counts:
        add_answers(fresh[version], watch, version, start, bucket.counts[version])
    add_words(fresh, watch, words)
    for one in settled:
        add_settled(fresh[one.version], watch, watch.layout(one.version), one)
    for version in sorted(version for version, rows in fresh.items() if rows):
        layout, own = watch.layout(version), evidence.streams[version]
        yield from own.add(spent(watch, version, start, fresh[version]), layout.wanted, layout.rows)
    evidence.count_live(bucket.answers)
    evidence.traffic.add(bucket.values)
    watch.look_at_traffic()


def spent(
    watch: Monitoring, version: int, start: int, fresh: Mapping[int, Sequence[Fresh]]
) -> Bucket:
    """The bucket of a version, with what it may spend of the budget of false alarms."""
    evidence = watch.evidence
    own = evidence.streams[version]
    alive = sum(len(each.names) for each in evidence.streams.values())
    end = start + WIDTH_MS
    passed = min(max(end - own.until, WIDTH_MS), DAY_MS) if own.until else WIDTH_MS
    by_time = passed * budget.stake_per_ms(watch.config, alive)
    return Bucket(version, start, end, fresh, watch.layout(version).per_number, by_time)


Rows = dict[int, list[Fresh]]


def give(rows: Rows, layout: Layout, key: Key, fresh: Fresh) -> None:
    """Numbers for the streams of a key; those that are watched for a fall get the rest to 1."""
    for what in layout.by_key.get(key, ()):
        total = fresh.n - fresh.total if what.falls else fresh.total
        examples = () if what.falls else fresh.examples
        rows[layout.rows[what.name]].append(Fresh(fresh.time, fresh.n, total, examples))


def add_answers(
    rows: Rows,
    watch: Monitoring,
    version: int,
    start: int,
    counted: Mapping[str, counts.Count],
) -> None:
    """What answers say by themselves."""
    layout = watch.layout(version)
    for monitor, slices, signals in watch.answers(version):
        for where in ((monitor, slice_name) for slice_name in slices):
            for signal in signals:
                whole = counted.get(counts.key_of(*where, signal.name))
                if whole is None:
                    continue
                for stream in signal.streams:
                    own = counted.get(counts.key_of(*where, stream)) or counts.Count()
                    numbers = Fresh(start, whole.n, own.total, tuple(own.examples))
                    give(rows, layout, (*where, stream, "answers"), numbers)


def add_words(fresh: Mapping[int, Rows], watch: Monitoring, words: Iterable[Observation]) -> None:
    """What was said of answers."""
    for one in words:
        layout, reference = watch.layout(one.version), watch.reference(one.version)
        own = [f"{name}={value}" for name, value in one.answer.slices.items()]
        for monitor in watch.quality:
            for signal in watch.signals(monitor, one.version):
                for stream, x in signal.numbers(one.answer, reference):
                    numbers = Fresh(one.dated, 1, x, (one.request_id,) if x >= 1 else ())
                    for slice_name in (ALL, *own):
                        key = monitor.name, slice_name, stream, BASES[one.kind]
                        give(fresh[one.version], layout, key, numbers)


def add_settled(rows: Rows, watch: Monitoring, layout: Layout, settled: Settled) -> None:
    """What settled answers say, where silence counts."""
    for slice_name in settled.slices:
        answers, bad = settled.heard(slice_name)
        for monitor in watch.quality:
            for signal in watch.signals(monitor, settled.version):
                for stream, silent in signal.numbers(SILENT, {}):
                    key: Key = (monitor.name, slice_name, stream, "heard")
                    good = answers - len(bad)
                    give(rows, layout, key, Fresh(settled.start, good, good * silent))
                for request_id, on in bad:
                    for stream, x in signal.numbers(on.heard, {}):
                        key = (monitor.name, slice_name, stream, "heard")
                        examples = (request_id,) if x >= 1 else ()
                        give(rows, layout, key, Fresh(on.time, 1, x, examples))
