"""Events become counts: per version, bucket of time, monitor, slice and stream.

Buckets go by the time of the events, and close when the time of a tick has passed their end by
`LATENESS_MS`; until then they take up what arrives, in whatever order and pieces. So the same
events lead to the same counts, however ticks and batches cut them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest

import numpy as np
from numpy.typing import NDArray

from driftgate.drift.observations import Observation
from driftgate.drift.traffic import KEPT, counted
from driftgate.drift.words import EXAMPLES, Words
from driftgate.signals import AnySignal, Reference, Shares
from driftgate.slices import ALL

WIDTH_MS = 60_000
LATENESS_MS = 60_000
SEPARATOR = "\x1f"

Watching = Sequence[tuple[str, Sequence[str], Sequence[AnySignal]]]
"""Monitors of answers: name, slices, signals."""


@dataclass
class Count:
    """Numbers of one stream in a bucket; `n` is 0 where the part's `n` is that of the whole family
    of categories."""

    n: int = 0
    total: float = 0.0
    examples: list[str] = field(default_factory=list)

    def add(self, n: int, total: float, examples: Iterable[str]) -> None:
        self.n += n
        self.total += total
        self.examples = sorted({*self.examples, *examples})[-EXAMPLES:]


@dataclass
class OpenBucket:
    """What a bucket of time holds so far.

    Attributes:
        answers: by version.
        counts: by version, then by monitor, slice and stream, joined by `SEPARATOR`.
        values: answers by slice and value.
        words: what was said that streams read.
        said: how often users spoke, where only their silence counts.
        reviews: what was said of requests that two reviewers look at.
    """

    answers: dict[int, int] = field(default_factory=dict)
    counts: dict[int, dict[str, Count]] = field(default_factory=dict)
    values: dict[str, dict[str, int]] = field(default_factory=dict)
    words: Words = field(default_factory=Words)
    said: int = 0
    reviews: list[Observation] = field(default_factory=list)

    def add(self, version: int, key: str, n: int, total: float, examples: Iterable[str]) -> None:
        self.counts.setdefault(version, {}).setdefault(key, Count()).add(n, total, examples)

    def add_values(self, slices: Iterable[Mapping[str, str]]) -> None:
        for name, values in counted(slices).items():
            known = self.values.setdefault(name, {})
            for value, n in values.items():
                if value in known or len(known) < KEPT:
                    known[value] = known.get(value, 0) + n


def bucket_of(time: int) -> int:
    """Where the bucket of a time begins, ms."""
    return time - time % WIDTH_MS


def closed_until(now: int) -> int:
    """Buckets that begin before this are closed at `now`, ms."""
    return bucket_of(now - LATENESS_MS)


def key_of(monitor: str, slice_name: str, stream: str) -> str:
    return SEPARATOR.join((monitor, slice_name, stream))


def opened(buckets: dict[int, OpenBucket], start: int) -> OpenBucket:
    """The bucket that begins at `start`, ms."""
    if start not in buckets:
        buckets[start] = OpenBucket()
    return buckets[start]


def count(
    buckets: dict[int, OpenBucket],
    answers: Sequence[Observation],
    watching: Watching,
    reference: Reference,
) -> None:
    """Adds answers of one version to the buckets of their time."""
    found: dict[int, list[Observation]] = defaultdict(list)
    for seen in answers:
        found[bucket_of(seen.time)].append(seen)
    for start, together in found.items():
        bucket, batch = opened(buckets, start), Batch(together)
        version = together[0].version
        bucket.answers[version] = bucket.answers.get(version, 0) + len(together)
        bucket.add_values(seen.answer.slices for seen in together)
        for monitor, slices, signals in watching:
            for signal in signals:
                count_signal(bucket, version, batch, monitor, slices, signal, reference)


class Batch:
    """Answers of one version and bucket, by column."""

    def __init__(self, seen: Sequence[Observation]) -> None:
        self.seen = seen
        self.answers = [one.answer for one in seen]
        self._inside: dict[str, NDArray[np.bool_] | None] = {ALL: None}

    def inside(self, slice_name: str) -> NDArray[np.bool_] | None:
        """Which of them are in a slice; None: all."""
        if slice_name not in self._inside:
            name, _, value = slice_name.partition("=")
            self._inside[slice_name] = np.fromiter(
                (answer.slices.get(name) == value for answer in self.answers), bool, len(self.seen)
            )
        return self._inside[slice_name]

    def examples(self, which: NDArray[np.bool_]) -> list[str]:
        """Request ids of some of these, the same in whatever order they came."""
        return nlargest(EXAMPLES, (self.seen[int(at)].request_id for at in np.flatnonzero(which)))


def count_signal(
    bucket: OpenBucket,
    version: int,
    batch: Batch,
    monitor: str,
    slices: Iterable[str],
    signal: AnySignal,
    reference: Reference,
) -> None:
    """What a batch tells of one signal in each slice."""
    if isinstance(signal, Shares):
        count_shares(bucket, version, batch, monitor, slices, signal)
        return
    (stream,) = signal.streams
    told = ((number for _, number in signal.numbers(answer, reference)) for answer in batch.answers)
    x = np.array([next(numbers, np.nan) for numbers in told])
    tells = ~np.isnan(x)
    for slice_name in slices:
        inside = batch.inside(slice_name)
        here = tells if inside is None else tells & inside
        n = int(here.sum())
        if n:
            bad = here & (x >= 1)
            examples = batch.examples(bad)
            key = key_of(monitor, slice_name, stream)
            bucket.add(version, key, n, float(x[here].sum()), examples)


def count_shares(
    bucket: OpenBucket,
    version: int,
    batch: Batch,
    monitor: str,
    slices: Iterable[str],
    signal: Shares,
) -> None:
    """How often each category is met; the `n` of all of them stands once, under no category."""
    code = {part: at for at, part in enumerate(signal.parts)}
    codes = [code.get(signal.category(answer) or "", -1) for answer in batch.answers]
    tells = np.array([signal.category(answer) is not None for answer in batch.answers])
    numbers = np.array(codes)
    for slice_name in slices:
        inside = batch.inside(slice_name)
        here = tells if inside is None else tells & inside
        n = int(here.sum())
        if not n:
            continue
        bucket.add(version, key_of(monitor, slice_name, signal.name), n, 0.0, ())
        met = np.bincount(numbers[here & (numbers >= 0)], minlength=len(signal.parts))
        for at in np.flatnonzero(met):
            key = key_of(monitor, slice_name, signal.streams[at])
            bucket.add(version, key, 0, float(met[at]), batch.examples(here & (numbers == at)))
