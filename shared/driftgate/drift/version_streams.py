"""The evidence of all streams of one version, as arrays with a row for each stream."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from driftgate.drift import detectors, lanes
from driftgate.drift.alarms import Alarm, Condition, Improvement
from driftgate.drift.counts import bucket_of
from driftgate.drift.dating import Change, change
from driftgate.drift.detectors import OURS, RiverDetector
from driftgate.drift.history import BINS, History, no_counts
from driftgate.drift.lanes import Floats
from driftgate.drift.packed import Doubles
from driftgate.drift.plan import Watched
from driftgate.drift.quality import REFERENCE_PAIRS, in_words, needed
from driftgate.events import DAY_MS

# The newest numbers of a stream that has alarmed, by which it is calm again.
NEWEST = 100
# Requests that are told as examples, and the evidence from which on they are kept.
EXAMPLES, SUSPICIOUS = 3, 1e-3
# How long a stream is kept that is watched no more, since its newest number.
KEPT_MS = 30 * DAY_MS
# What is kept of a stream in the arrays, bytes: lanes, bar, live reference, newest number, history.
BYTES = 8 * len(lanes.ALTERNATIVES) + 8 + 16 + 8 + 8 * BINS


@dataclass(frozen=True, slots=True)
class Fresh:
    """Numbers that a bucket gives to one stream.

    Attributes:
        time: of the answers, ms.
        n, total: of the numbers.
        examples: request ids of some that are bad.
    """

    time: int
    n: float
    total: float
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bucket:
    """Numbers about one version in one span of time.

    Attributes:
        start, end: ms.
        fresh: the numbers of some rows.
        per_number: what a number of each row spends of the budget of false alarms.
        by_time: what each row spends by the time that has passed, likewise.
    """

    version: int
    start: int
    end: int
    fresh: Mapping[int, Sequence[Fresh]]
    per_number: Floats
    by_time: Floats | float = 0.0


class Inputs(NamedTuple):
    """Enough to raise an alarm again: the lanes before the bucket, and what it gave them."""

    lanes: tuple[float, ...]
    mean: float
    stake: float
    n: float
    total: float


Found = Iterator[tuple[Alarm | Improvement | Condition, Inputs | None]]


@dataclass
class VersionStreams:
    """
    Attributes:
        names: of the streams, by row.
        evidence: lanes of each, see `driftgate.drift.lanes`.
        mean: the bar of each; NaN while a live reference has too few answers.
        base: count and sum of the numbers that measure live references.
        heard: end of the bucket of the newest number of each, ms; 0 before the first.
        until: end of the newest bucket, ms.
        under: what the live references hold under.
        others: detectors of river that stand in the place of lanes, by stream.
        examples: newest request ids that are bad, of streams with some evidence.
        alarmed: streams that have alarmed and are not calm again, or were calm: whether they are.
    """

    names: list[str] = field(default_factory=list)
    evidence: Doubles = field(default_factory=lambda: lanes.empty(0))
    mean: Doubles = field(default_factory=lambda: np.zeros(0))
    base: Doubles = field(default_factory=lambda: np.zeros((0, 2)))
    heard: Doubles = field(default_factory=lambda: np.zeros(0))
    history: History = field(default_factory=History)
    until: int = 0
    under: str = ""
    others: dict[str, detectors.Stored] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    alarmed: dict[str, bool] = field(default_factory=dict)

    def align(self, wanted: Sequence[Watched]) -> dict[str, int]:
        """Makes a row for each stream that has none, begins those anew whose bar was moved, and
        drops those that are neither wanted nor heard any more. The rows, by name."""
        self._drop_idle({what.name for what in wanted})
        rows = {name: row for row, name in enumerate(self.names)}
        new = [what for what in wanted if what.name not in rows]
        rows |= {what.name: len(self.names) + at for at, what in enumerate(new)}
        self._grow([what.name for what in new])
        under = next((what.under for what in wanted if what.under), self.under)
        anew, self.under = under != self.under, under
        for what in wanted:
            row = rows[what.name]
            if what.under and anew:
                self.base[row] = 0
            self._set_bar(row, what)
        return rows

    def seen(self, name: str) -> tuple[float, float]:
        """Count and sum of all numbers of a stream, its live reference included."""
        n, total = self.history.counts[self.names.index(name)].sum(axis=0)
        return float(n), float(total)

    def measured(self, name: str) -> tuple[float, float]:
        """Count and sum of the numbers that measure a stream's live reference."""
        n, total = self.base[self.names.index(name)]
        return float(n), float(total)

    def _grow(self, names: Sequence[str]) -> None:
        self.names += names
        self.evidence = np.concatenate([self.evidence, lanes.empty(len(names))])
        self.mean = np.concatenate([self.mean, np.full(len(names), np.nan)])
        self.base = np.concatenate([self.base, np.zeros((len(names), 2))])
        self.heard = np.concatenate([self.heard, np.zeros(len(names))])
        self.history.counts = np.concatenate([self.history.counts, no_counts(len(names))])

    def _drop_idle(self, wanted: Collection[str]) -> None:
        """A slice may have other busy values each week, and a version may serve for years."""
        heard = self.heard > self.until - KEPT_MS
        kept = [at for at, name in enumerate(self.names) if heard[at] or name in wanted]
        if len(kept) == len(self.names):
            return
        self.names = [self.names[at] for at in kept]
        self.evidence, self.mean, self.base = self.evidence[kept], self.mean[kept], self.base[kept]
        self.heard, self.history.counts = self.heard[kept], self.history.counts[kept]
        names = set(self.names)
        for known in (self.others, self.examples):
            for name in known.keys() - names:
                del known[name]

    def _set_bar(self, row: int, what: Watched) -> None:
        bar = self.with_bar(row, what).mean
        bar = np.nan if bar is None else bar
        moved = bar != self.mean[row] and not (np.isnan(bar) and np.isnan(self.mean[row]))
        other = self.others.get(what.name)
        if moved or (other is not None and other.name != what.monitor.detector):
            self.evidence[row], self.mean[row] = 0, bar
            self.others.pop(what.name, None)
        if what.monitor.detector != OURS and not np.isnan(bar) and what.name not in self.others:
            self.others[what.name] = RiverDetector(what.monitor.detector, float(bar))

    def with_bar(self, row: int, what: Watched) -> Watched:
        """A stream with its bar, once there is one: a live reference holds when it has enough
        answers."""
        if not what.under:
            return what
        n, total = self.base[row]
        if n < needed(what.source.basis):
            return what
        mean = 1 - total / n if what.falls else total / n
        return what.measured(mean, n)

    def add(self, bucket: Bucket, wanted: Sequence[Watched], rows: Mapping[str, int]) -> Found:
        """Takes up a bucket, and says what it tells."""
        counts = self._count(bucket)
        self.until = bucket.end
        self.heard[counts[:, 0] > 0] = bucket.end
        ready = ~np.isnan(self.mean)
        self.base[~ready] += counts[~ready]
        n, total = np.where(ready[:, None], counts, 0.0).T
        stakes = np.where(ready, bucket.per_number * n + bucket.by_time, 0.0)
        before = self.evidence
        grown = lanes.grown(before, np.where(ready, self.mean, 0.5), n, total, stakes)
        self.evidence = np.where(ready[:, None], grown, before)
        level = lanes.level(self.evidence)
        self._keep_examples(bucket.fresh, level)
        watched = {rows[what.name]: what for what in wanted}
        full = level >= lanes.ALARM
        for name, other in self.others.items():
            row = rows.get(name)
            if row is not None:
                full[row] = self._heard(other, *counts[row])
                # Its lanes are shown and do not alarm: nothing else would ever begin them anew.
                self.evidence[row] = np.minimum(self.evidence[row], lanes.ALARM)
        for row in sorted(map(int, np.flatnonzero(full)), key=self.names.__getitem__):
            if row in watched:
                inputs = Inputs(tuple(before[row]), self.mean[row], stakes[row], n[row], total[row])
                yield self._alarm(row, watched[row], float(level[row]), bucket), inputs
        yield from ((one, None) for one in self._conditions(rows, watched, bucket))
        for row in map(int, np.flatnonzero(~ready & (self.base[:, 0] >= REFERENCE_PAIRS))):
            if row in watched and self.base[row, 0] >= needed(watched[row].source.basis):
                self._set_bar(row, watched[row])

    def _count(self, bucket: Bucket) -> Floats:
        """(streams, 2): what the bucket gives to each; it stands in the history by now."""
        newest = max((one.time for given in bucket.fresh.values() for one in given), default=0)
        self.history.open(bucket_of(min(newest, bucket.start)))
        counts = np.zeros((len(self.names), 2))
        for row, given in bucket.fresh.items():
            for one in given:
                counts[row] += one.n, one.total
                self.history.counts[row, self.history.bin(one.time)] += one.n, one.total
        return counts

    @staticmethod
    def _heard(other: RiverDetector, n: float, total: float) -> bool:
        """Whether a detector of river alarms; it is not given more numbers once it does."""
        for x in spread(n, total):
            other.update(x)
            if other.drift_detected:
                return True
        return False

    def _keep_examples(self, fresh: Mapping[int, Sequence[Fresh]], level: Floats) -> None:
        for row, given in fresh.items():
            name = self.names[row]
            if level[row] < SUSPICIOUS:
                self.examples.pop(name, None)
            elif new := [example for one in given for example in one.examples]:
                self.examples[name] = [*self.examples.get(name, ()), *new][-EXAMPLES:]

    def _alarm(self, row: int, what: Watched, level: float, bucket: Bucket) -> Alarm | Improvement:
        """The alarm of a stream, whose evidence begins anew."""
        what = self.with_bar(row, what)
        assert what.reference is not None and what.mean is not None
        starts, n, total = self.history.of(row)
        began = change(starts, bucket.end, n, total, what.reference, what.mean)
        alarm = Alarm(
            version=bucket.version,
            stream=what.name,
            monitor=what.monitor.name,
            signal=what.monitor.signal,
            slice=what.slice,
            part=what.part,
            severity=what.monitor.severity,
            known=bucket.end,
            since=began.since,
            earliest=began.earliest,
            latest=began.latest,
            n=began.n,
            bad=began.total,
            reference=what.reference,
            mean=what.mean,
            level=level,
            examples=tuple(self.examples.get(what.name, ())),
            summary=summary(what, began),
        )
        self.evidence[row] = 0
        if what.name in self.others:
            self.others[what.name] = RiverDetector(what.monitor.detector, what.mean)
        if what.improves:
            return Improvement(alarm)
        self.alarmed[what.name] = False
        return alarm

    def _conditions(
        self, rows: Mapping[str, int], watched: Collection[int], bucket: Bucket
    ) -> Iterator[Condition]:
        """Streams that have alarmed and are calm by now, or calm no more, or watched no more."""
        for name, was in list(self.alarmed.items()):
            row = rows.get(name)
            if row is None or row not in watched:
                del self.alarmed[name]
                yield Condition(bucket.version, name, bucket.end, calm=True, watched=False)
                continue
            n, total = self.history.newest(row, NEWEST)
            calm = bool(n >= NEWEST and total / n <= self.mean[row])
            if calm != was:
                self.alarmed[name] = calm
                yield Condition(bucket.version, name, bucket.end, calm)


def spread(n: float, total: float) -> Iterator[float]:
    """Numbers of a bucket whose order nobody kept: ones spread evenly among zeros."""
    if total != round(total):
        yield from [total / n] * round(n)
        return
    for at in range(round(n)):
        yield float((at + 1) * total // n - at * total // n)


def summary(what: Watched, began: Change) -> str:
    """For people: errors rose from 9 % to 32 % (es): 31 wrong of 96, expected 9."""
    assert what.reference is not None
    where = ", ".join(part for part in (what.part, what.slice) if part)
    mean, before = began.total / max(began.n, 1), what.reference
    expected = began.n * before
    if what.falls:
        mean, before, expected = 1 - mean, 1 - before, began.n - expected
    total = began.n - began.total if what.falls else began.total
    told = in_words(what.source.basis, what.bad)
    counted = f": {told}" if told and (what.under or what.source.basis == "reviewed") else ""
    moved = "fell" if what.falls else "rose"
    return (
        f"{what.monitor.name}{counted} {moved} from {before * 100:.0f} % to {mean * 100:.0f} % "
        f"({where}): {f'{total:.0f} {what.bad}'.strip()} of {began.n}, expected {expected:.0f}"
    )
