"""Answers that wait until people had their time to object: who has said nothing by then says
nothing. So each answer that was heard counts once, by the latest word on it at that time. A word
that comes later changes nothing here; the trainer learns from it.

Nearly all answers stay without a word, so answers are counted and only words are kept. Where there
are more answers than monitors need, a part of them is counted that is drawn by a hash of the
request, whatever was said of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import mmh3

from driftgate.drift.observations import NEITHER, Observation, Word
from driftgate.latest_word import latest
from driftgate.signals import Answer
from driftgate.slices import ALL

# Answers of so long are settled together, ms.
WIDTH = 300_000
# Answers of one model that wait at a time: a monitor needs hundreds, and what people say of so many
# takes 4 MB of the checkpoint where a quarter of them gets feedback.
COUNTED = 150_000
# Words that are kept at most, when the answers of a moment are far more than those before.
WORDS = 100_000
# Combinations of slices that a bucket keeps apart, before it keeps only the declared slices.
INSIDE = 500
SEPARATOR = "\x1f"

SILENT = Answer("", error=0.0, rating=NEITHER, edit_distance=0.0)
"""What nobody objected to, as far as quality goes: it was used as it is."""


@dataclass
class OnRequest:
    """What was said of one answer, which was given at `time`, ms."""

    version: int
    inside: str
    time: int
    words: list[Word] = field(default_factory=list)

    @property
    def heard(self) -> Answer:
        """The answer, as far as the word that counts tells of its quality."""
        found = latest(self.words)
        if found is None:
            return SILENT
        return Answer(
            "",
            error=float(found.rating == 0),
            rating=NEITHER if found.thumb is None else found.thumb,
            edit_distance=found.edit_distance or 0.0,
        )

    @property
    def is_good(self) -> bool:
        """Whether it counts as if nobody had said anything."""
        heard = self.heard
        return not heard.error and not heard.edit_distance and (heard.rating or 0) >= NEITHER


@dataclass
class Bucket:
    """Answers of the same `WIDTH`.

    Attributes:
        share: of the requests that are counted.
        answers: by version, then by the monitored slices that they are in.
        said: by request.
    """

    share: float = 1.0
    answers: dict[int, dict[str, int]] = field(default_factory=dict)
    said: dict[str, OnRequest] = field(default_factory=dict)

    @property
    def stands_for(self) -> float:
        return sum(chain.from_iterable(map(dict.values, self.answers.values()))) / self.share


@dataclass(frozen=True, slots=True)
class Settled:
    """Answers of one version and one `WIDTH` from `start`, ms."""

    start: int
    version: int
    answers: dict[str, int]
    bad: Sequence[tuple[str, OnRequest]]

    @property
    def end(self) -> int:
        return self.start + WIDTH

    @property
    def slices(self) -> list[str]:
        inside = [*self.answers, *(on.inside for _, on in self.bad)]
        return sorted({name for joined in inside for name in split(joined)})

    def heard(self, slice_name: str) -> tuple[int, list[tuple[str, OnRequest]]]:
        """How many there are in a slice, and the bad ones among them, by request."""
        bad = [(request, on) for request, on in self.bad if slice_name in split(on.inside)]
        answers = sum(n for inside, n in self.answers.items() if slice_name in split(inside))
        return max(answers, len(bad)), bad


def split(inside: str) -> list[str]:
    return inside.split(SEPARATOR)


@dataclass
class Unsettled:
    """The answers of one model that wait.

    Attributes:
        buckets: by the beginning of their time, ms.
        until: answers before this time, ms, are settled.
        words: that are kept.
        since: when the first answer was given, ms, on which anybody spoke. On those before it
            silence says nothing: most often the app did not send feedback yet.
    """

    buckets: dict[int, Bucket] = field(default_factory=dict)
    until: int = 0
    words: int = 0
    since: int | None = None

    def add(
        self, observations: Iterable[Observation], slices: Collection[str], settled_ms: int
    ) -> int:
        """Answers, each once, and words on them, in the order of their time. `slices` are those
        that are declared, which are kept whatever there is. Says how many words were too many to
        keep."""
        dropped = 0
        for seen in observations:
            start = seen.dated - seen.dated % WIDTH
            if start < self.until:
                continue
            bucket = self.buckets.get(start) or self.opened(start, settled_ms)
            if bucket.share < 1 and draw(seen.request_id) >= bucket.share:
                continue
            if seen.kind == "answer":
                counts = bucket.answers.setdefault(seen.version, {})
                inside = inside_of(seen.answer)
                if inside not in counts and len(counts) >= INSIDE:
                    inside = inside_of(seen.answer, slices)
                counts[inside] = counts.get(inside, 0) + 1
            elif seen.word and seen.word.feedback_time <= seen.dated + settled_ms:
                dropped += not self.keep(seen, seen.word, bucket)
        return dropped

    def opened(self, start: int, settled_ms: int) -> Bucket:
        """A bucket that counts as many as there is room for, if as many come as in the last one."""
        before = max((at for at in self.buckets if at < start), default=None)
        expected = self.buckets[before].stands_for if before is not None else 0.0
        room = COUNTED * WIDTH / (settled_ms + WIDTH)
        bucket = Bucket(min(1.0, room / expected) if expected else 1.0)
        self.buckets[start] = bucket
        return bucket

    def keep(self, seen: Observation, word: Word, bucket: Bucket) -> bool:
        """Keeps a word once; False where there are too many."""
        on = bucket.said.get(seen.request_id)
        if on and any(word.outcome_id == known.outcome_id for known in on.words):
            return True
        if self.words >= WORDS:
            return False
        if on is None:
            on = OnRequest(seen.version, inside_of(seen.answer), seen.dated)
            bucket.said[seen.request_id] = on
        on.words.append(word)
        self.words += 1
        start = seen.dated - seen.dated % WIDTH
        self.since = start if self.since is None else min(self.since, start)
        return True

    def settle(self, now: int, settled_ms: int) -> Iterator[Settled]:
        """Takes out the answers that had their time, by time."""
        self.until = max(self.until, (now - settled_ms) // WIDTH * WIDTH)
        for start in sorted(at for at in self.buckets if at < self.until):
            bucket = self.buckets.pop(start)
            self.words -= sum(len(on.words) for on in bucket.said.values())
            if self.since is None or start < self.since:
                continue
            bad = [(at, on) for at, on in sorted(bucket.said.items()) if not on.is_good]
            for version in sorted({*bucket.answers, *(on.version for _, on in bad)}):
                own = [(at, on) for at, on in bad if on.version == version]
                yield Settled(start, version, bucket.answers.get(version, {}), own)


def inside_of(answer: Answer, slices: Collection[str] | None = None) -> str:
    """The slices that an answer is in, or those of some."""
    own = (f"{name}={value}" for name, value in answer.slices.items())
    return SEPARATOR.join([ALL, *sorted(name for name in own if slices is None or name in slices)])


def draw(request_id: str) -> float:
    """0 to 1, of a request for ever."""
    return float(mmh3.hash64(request_id, signed=False)[0]) / 2.0**64
