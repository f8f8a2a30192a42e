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

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from driftgate.drift import budget, counts, deduplication, second_reviews
from driftgate.drift.alarms import Alarm, Condition, Improvement
from driftgate.drift.counts import WIDTH_MS, OpenBucket, Watching, bucket_of
from driftgate.drift.deduplication import Seen, hashed
from driftgate.drift.lanes import Floats
from driftgate.drift.live_tails import LiveTails
from driftgate.drift.observations import Observation
from driftgate.drift.plan import Key, Watched, declared, plan
from driftgate.drift.quality import Baseline, Basis, sources
from driftgate.drift.settlement import SILENT, Settled, Unsettled
from driftgate.drift.silence import ANSWERS, FEEDBACK, REVIEWS, Silence, Silences, Streams, in_slice
from driftgate.drift.traffic import Traffic
from driftgate.drift.version_streams import Bucket, Fresh, Inputs, VersionStreams
from driftgate.drift.words import Saying
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.latest_word import RETRACTION
from driftgate.model_repo import ModelYaml, Monitor
from driftgate.signals import AnySignal, Reference, streams
from driftgate.slices import ALL
from driftgate.tasks import Task, task_of

# Weight of the past at each answer in the share of a version.
FADING = 0.99
# Versions of a model whose evidence is kept, for the day when one is rolled back to.
VERSIONS_KEPT = 8

Found = tuple[Alarm | Improvement | Condition | Silence, Inputs | None]
"""What there is to tell; of an alarm also what its stream was given."""

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
        silences: what is sent no more.
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
    silences: Silences = field(default_factory=Silences)
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
        """Drops the versions that are too old to matter, also those that words come about still."""
        answering = {version for bucket in self.buckets.values() for version in bucket.answers}
        every: tuple[dict[int, Any], ...] = (self.live, self.streams, self.first, self.tails)
        versions = sorted(
            set().union(*every), key=lambda v: (v in answering, self.live.get(v, 0.0), v)
        )
        for version in versions[:-VERSIONS_KEPT]:
            for known in every:
                known.pop(version, None)


@dataclass(frozen=True, slots=True)
class Told:
    """What a tick tells, each in the order of time; of alarms also what their streams were
    given. `baselines`, by version, are the live references that begin to be measured, so that
    nothing alarms yet, and those that are measured by now."""

    alarms: tuple[tuple[Alarm, Inputs], ...] = ()
    improvements: tuple[Improvement, ...] = ()
    conditions: tuple[Condition, ...] = ()
    silences: tuple[Silence, ...] = ()
    baselines: tuple[tuple[int, Baseline], ...] = ()

    @property
    def alarms_alone(self) -> list[Alarm]:
        return [alarm for alarm, _ in self.alarms]


@dataclass
class Layout:
    """The streams of one version, the rows that they have, and what a number of each row spends of
    the budget of false alarms; `by_time` is 1 for those that spend of it as time passes."""

    wanted: list[Watched]
    rows: dict[str, int]
    per_number: Floats
    by_time: Floats
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
        self.declared = config.slices
        bases = {source.basis for source in sources(config)}
        self.kinds = {kind for kind, basis in BASES.items() if basis in bases}
        self.busy: list[str] = []
        self._names: list[str] = []
        self._layouts: dict[int, Layout] = {}
        self._signals: dict[tuple[str, int], tuple[AnySignal, ...]] = {}
        self._measured: dict[int, tuple[int, Reference]] = {}
        self._before: dict[int, dict[str, Baseline]] = {}

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
            self._before.setdefault(version, live_references(own, wanted))
            rows = own.align(wanted)
            stakes = budget.stakes(self.config, self.evidence.traffic.counts)
            per_number, by_time = np.zeros((2, len(own.names)))
            for what in wanted:
                per_number[rows[what.name]] = stakes[what.monitor.name]
                by_time[rows[what.name]] = 1
            self._layouts[version] = Layout(wanted, rows, per_number, by_time)
        return self._layouts[version]

    @property
    def stake_per_ms(self) -> float:
        """What a stream spends of a budget that is spent by time, which all share."""
        whole = budget.per_ms(self.config)
        if not whole:
            return 0.0
        watched = sum(len(self.layout(version).wanted) for version in self.evidence.streams)
        return whole / max(watched, 1)

    def baselines(self) -> Iterator[tuple[int, Baseline]]:
        """Live references that are not what they were before this fold."""
        for version, before in sorted(self._before.items()):
            now = live_references(self.evidence.streams[version], self.layout(version).wanted)
            for name, baseline in now.items():
                if name not in before or before[name].status != baseline.status:
                    yield version, baseline

    def hears(self, seen: Observation) -> bool:
        """Whether any stream reads a word, or what a retraction takes back."""
        taken_back = seen.word is not None and seen.word.kind == RETRACTION
        return bool(self.kinds) if taken_back else seen.kind in self.kinds

    def saying(self, seen: Observation) -> Saying:
        """What is said of an answer."""
        reference = self.reference(seen.version)
        numbers = (
            (monitor.name, stream, x)
            for monitor in self.quality
            for signal in self.signals(monitor, seen.version)
            for stream, x in signal.numbers(seen.answer, reference)
        )
        slices = tuple(f"{name}={value}" for name, value in seen.answer.slices.items())
        minute = bucket_of(seen.dated)
        return Saying(seen.version, BASES[seen.kind], minute, slices, tuple(numbers))

    @property
    def slices(self) -> set[str]:
        """Those that are declared for quality."""
        found = (declared(monitor, self.config) for monitor in self.quality)
        return {ALL}.union(*found)


def live_references(own: VersionStreams, wanted: Iterable[Watched]) -> dict[str, Baseline]:
    """The references that are measured on live answers, of what is declared, by stream."""
    rows, found = {name: row for row, name in enumerate(own.names)}, {}
    for what in wanted:
        told = what.under and not what.improves and not what.automatic
        if told and what.name in rows:
            n, total = own.base[rows[what.name]]
            basis = what.source.basis
            found[what.name] = Baseline(
                what.name, basis, what.under, round(n), float(total), what.bad
            )
    return found


def believable(seen: Observation, config: ModelYaml, task: Task, now: int) -> bool:
    """Whether an observation may count. What may not is refused by ingest-logger with a dead
    letter, as out of its time or an answer that nobody declared; and nobody can look up the answer
    that a word is about once its retention has passed."""
    earliest = now - config.data.keep_days * DAY_MS
    latest = now + config.data.ahead_hours * HOUR_MS
    possible = task.outputs is None or seen.answer.output in task.outputs
    return possible and earliest <= seen.dated and seen.time <= latest


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
    given = [seen for seen in observations if believable(seen, config, watch.task, now)]
    take_up(watch, given)
    until = max(evidence.closed, counts.closed_until(now))
    settled = settled_by(watch, until)
    found: list[Found] = []
    due = {start for start in evidence.buckets if start < until} | settled.keys()
    buckets = {start: evidence.buckets.pop(start, OpenBucket()) for start in sorted(due)}
    for start, bucket in buckets.items():
        found += telling(evidence.silences.without_answers(evidence.live_version, start))
        found += close(watch, start, bucket, settled.get(start, ()))
    found += telling(evidence.silences.without_answers(evidence.live_version, until))
    evidence.closed = until
    baselines = tuple(watch.baselines())
    evidence.forget()
    return Told(
        tuple((one, inputs) for one, inputs in found if isinstance(one, Alarm) and inputs),
        tuple(one for one, _ in found if isinstance(one, Improvement)),
        tuple(one for one, _ in found if isinstance(one, Condition)),
        tuple(one for one, _ in found if isinstance(one, Silence)),
        baselines,
    )


def take_up(watch: Monitoring, given: Sequence[Observation]) -> None:
    """Answers count in the bucket of their time, once, and words in that of theirs."""
    evidence = watch.evidence
    heard = [seen for seen in given if seen.kind == "answer"]
    names = hashed([seen.identity for seen in heard])
    fresh = [heard[at] for at in evidence.seen.add(names).tolist()]
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
        said = [seen for seen in words if seen.kind == "outcome"]
        together = sorted([*fresh, *said], key=lambda seen: seen.order)
        settled_ms = watch.config.feedback.settled_ms
        evidence.dropped += evidence.unsettled.add(together, watch.slices, settled_ms)
        for at in evidence.seen.add(hashed([seen.identity for seen in said])).tolist():
            counts.opened(evidence.buckets, arrival(watch, said[at])).said += 1
    for seen in filter(watch.hears, words):
        saying = None if seen.answer.error is None else watch.saying(seen)
        counts.opened(evidence.buckets, arrival(watch, seen)).words.add(seen, saying)
    for seen in words:
        if second_reviews.is_of_two(seen, watch.config):
            counts.opened(evidence.buckets, arrival(watch, seen)).reviews.append(seen)


def arrival(watch: Monitoring, seen: Observation) -> int:
    """The bucket that a word counts in."""
    return bucket_of(max(seen.time, watch.evidence.closed))


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


def close(
    watch: Monitoring,
    start: int,
    bucket: OpenBucket,
    settled: Iterable[Settled],
) -> Iterator[Found]:
    """Gives each stream what its bucket holds, and says what alarms and what is silent."""
    evidence = watch.evidence
    watch.look_at_traffic()
    fresh: dict[int, Rows] = defaultdict(lambda: defaultdict(list))
    for version in bucket.counts:
        add_answers(fresh[version], watch, version, start, bucket.counts[version])
    said = Counter[Basis]()
    for saying, n, examples in bucket.words.count(evidence.seen):
        said[saying.basis] += n
        add_saying(fresh[saying.version], watch.layout(saying.version), saying, n, examples)
    for pair in new_pairs(watch, start, bucket):
        saying = watch.saying(pair)
        layout = watch.layout(saying.version)
        add_saying(fresh[saying.version], layout, saying, 1, [pair.request_id])
    for one in settled:
        add_settled(fresh[one.version], watch, watch.layout(one.version), one)
    for version in sorted(version for version, rows in fresh.items() if rows):
        layout, own = watch.layout(version), evidence.streams[version]
        yield from own.add(spent(watch, version, start, fresh[version]), layout.wanted, layout.rows)
    evidence.count_live(bucket.answers)
    evidence.traffic.add(bucket.values)
    yield from telling(silent(watch, start, bucket, said))


def new_pairs(watch: Monitoring, start: int, bucket: OpenBucket) -> list[Observation]:
    """What two reviewers have said of one request by now, each request once."""
    evidence = watch.evidence
    if not bucket.reviews:
        return []
    said = sorted(bucket.reviews, key=lambda seen: seen.order)
    found = second_reviews.pairs(evidence.reviews, said, watch.config, start)
    return [found[at] for at in evidence.seen.add(hashed([one.identity for one in found])).tolist()]


def silent(
    watch: Monitoring, start: int, bucket: OpenBucket, said: Mapping[Basis, int]
) -> Iterator[Silence]:
    """What is sent no more, or again, by a bucket that was closed; `said` are the words in it."""
    evidence, silences, end = watch.evidence, watch.evidence.silences, start + WIDTH_MS
    silences.hear(ANSWERS, sum(bucket.answers.values()), start, end)
    for slice_name in watch.declared:
        name, _, value = slice_name.partition("=")
        silences.hear(in_slice(slice_name), bucket.values.get(name, {}).get(value, 0), start, end)
    silences.hear(FEEDBACK, said["told"] + bucket.said, start, end)
    silences.hear(REVIEWS, said["reviewed"], start, end)
    if bucket.answers:
        yield from silences.answered(end)
    version = evidence.live_version
    if version is not None and silences.is_due(end):
        layout = watch.layout(version)
        first = evidence.first.get(version, start)
        streams = Streams(version, first, layout.wanted, watch.declared, evidence.streams)
        yield from silences.look(streams, end)


def telling(silences: Iterable[Silence]) -> Iterator[Found]:
    return ((one, None) for one in silences)


def spent(
    watch: Monitoring, version: int, start: int, fresh: Mapping[int, Sequence[Fresh]]
) -> Bucket:
    """The bucket of a version, with what it may spend of the budget of false alarms."""
    own, layout, end = watch.evidence.streams[version], watch.layout(version), start + WIDTH_MS
    passed = min(max(end - own.until, WIDTH_MS), DAY_MS) if own.until else WIDTH_MS
    by_time = passed * watch.stake_per_ms * layout.by_time
    return Bucket(version, start, end, fresh, layout.per_number, by_time)


Rows = dict[int, list[Fresh]]


def give(
    rows: Rows,
    layout: Layout,
    key: Key,
    time: int,
    n: int,
    total: float,
    examples: Iterable[str] = (),
) -> None:
    """Numbers for the streams of a key; those that are watched for a fall get the rest to 1."""
    for what in layout.by_key.get(key, ()):
        fresh = Fresh(time, n, n - total) if what.falls else Fresh(time, n, total, tuple(examples))
        rows[layout.rows[what.name]].append(fresh)


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
                    key: Key = (*where, stream, "answers")
                    give(rows, layout, key, start, whole.n, own.total, own.examples)


def add_saying(rows: Rows, layout: Layout, saying: Saying, n: int, examples: Iterable[str]) -> None:
    """What was said of so many answers."""
    for monitor, stream, x in saying.numbers:
        shown = examples if x >= 1 else ()
        for slice_name in (ALL, *saying.slices):
            key = monitor, slice_name, stream, saying.basis
            give(rows, layout, key, saying.time, n, n * x, shown)


def add_settled(rows: Rows, watch: Monitoring, layout: Layout, settled: Settled) -> None:
    """What settled answers say, where silence counts."""
    for slice_name in settled.slices:
        answers, bad = settled.heard(slice_name)
        for monitor in watch.quality:
            for signal in watch.signals(monitor, settled.version):
                for stream, silent in signal.numbers(SILENT, {}):
                    key: Key = (monitor.name, slice_name, stream, "heard")
                    good = answers - len(bad)
                    give(rows, layout, key, settled.start, good, good * silent)
                for request_id, on in bad:
                    for stream, x in signal.numbers(on.heard, {}):
                        key = (monitor.name, slice_name, stream, "heard")
                        examples = (request_id,) if x >= 1 else ()
                        give(rows, layout, key, on.time, 1, x, examples)
