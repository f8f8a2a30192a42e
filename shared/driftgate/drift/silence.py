"""What apps no longer send, or never did: answers, feedback, a slice, a feature. Pure.

A stream that is given nothing alarms at nothing, so its silence is told by itself: once, and once
when it is over. It is told a day after the newest number at the latest, where so many numbers were
to be expected meanwhile that chance does not explain that none came; of what comes seldom, later.
What was silent before and came back is told only after a longer silence than that one: nobody wants
to hear of each night and weekend. A pause that comes again stays known; one that does not is
forgotten, so that a single long one does not hide later outages.

All that one cause silences is one *part*, the widest that holds: an app that is away silences all
of its slices, and is told alone.

Looks go by buckets of time. So however ticks cut the stream, the same is told.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from driftgate.drift.lanes import Floats
from driftgate.drift.plan import Watched
from driftgate.drift.quality import Basis
from driftgate.drift.version_streams import VersionStreams
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.limits import date
from driftgate.slices import ALL

# With the time until the next look, and until a bucket is closed, it is told within the day. What
# comes once a day, for half an hour or longer, is never silent.
LOOK_MS, SILENT_MS = HOUR_MS // 4, 23 * HOUR_MS + HOUR_MS // 2
# What was not heard for so long is silent together with what is told: what comes seldom falls
# silent some hours before the rest of its part.
TOGETHER_MS = SILENT_MS // 2
# So many numbers were to be expected and none came: by chance once in 20,000 times (e^-10).
EXPECTED = 10.0
# A silence that came and went is told again when one lasts so many times as long.
LONGER = 1.25
# A pause that does not come again is forgotten, half of it in so long a time.
HALF_FORGOTTEN_MS = 60 * DAY_MS
# The part of the answers in which a slice is waited for that no version was ever asked in, and the
# part of them about which something is said.
RARE = 0.01
# Topic `drift.alerts` keeps a month: what lasts longer is told again before that.
REMINDER_MS = 28 * DAY_MS

Kind = Literal["open", "update", "close"]


class Part(NamedTuple):
    """What falls silent at once. An empty monitor or slice stands for all; a slice without a value
    for all of its values."""

    monitor: str
    slice: str
    basis: Basis

    @property
    def name(self) -> str:
        return ":".join((self.monitor or "*", self.slice or ALL, self.basis))

    def holds(self, other: Part) -> bool:
        """Whether the numbers of another part are its own."""
        is_value = other.slice.startswith(f"{self.slice}=")
        return (
            self.monitor in ("", other.monitor)
            and (self.slice in ("", other.slice) or is_value)
            and self.basis == other.basis
        )

    def silences(self, other: Part) -> bool:
        """Whether another part has to be silent where this one is. Nothing is said of answers that
        are not given."""
        gives = self.basis == "answers" and not self.monitor
        return self.holds(other._replace(basis=self.basis) if gives else other)

    @property
    def summary(self) -> str:
        what = f"numbers for monitor {self.monitor}" if self.monitor else SENT[self.basis]
        return f"{what} in slice {self.slice}" if self.slice else what


SENT: Mapping[Basis, str] = {
    "answers": "answers",
    "told": "feedback",
    "heard": "answers that people had time to object to",
    "reviewed": "reviews of the random sample",
}
ANSWERS, FEEDBACK, REVIEWS = Part("", "", "answers"), Part("", "", "told"), Part("", "", "reviewed")


def in_slice(name: str) -> Part:
    """The answers in a slice."""
    return Part("", name, "answers")


@dataclass(frozen=True, slots=True)
class Silence:
    """A part that is silent, or was.

    Attributes:
        version: that answers meanwhile, or did last.
        since: of its newest number, or from when on one was waited for, ms.
        at: when this was told, ms.
        expected: numbers that were to be expected meanwhile.
        ever: whether it was ever heard.
        why: it ended, in words.
    """

    part: Part
    version: int
    since: int
    at: int
    expected: float
    ever: bool
    kind: Kind = "open"
    why: str = ""

    @property
    def summary(self) -> str:
        lasted = f"after {(self.at - self.since) / DAY_MS:.1f} days"
        if self.kind == "close":
            return f"over ({self.why} {lasted}): no {self.part.summary}"
        still = f"still ({lasted}): " if self.kind == "update" else ""
        since = f"since {date(self.since)}" if self.ever else f"yet, since {date(self.since)}"
        return f"{still}no {self.part.summary} {since}, expected {self.expected:.0f}"


@dataclass
class Heard:
    """What came of one sort: how many, and when the first and the newest did, ms."""

    n: int = 0
    first: int = 0
    last: int = 0

    def add(self, n: int, start: int, end: int) -> None:
        self.first = self.first if self.n else start
        self.n, self.last = self.n + n, end


@dataclass
class Silences:
    """
    Attributes:
        heard: what came of answers, of those in each declared slice, of feedback and of reviews, by
            the name of the part.
        told: what is silent.
        longest: how long what came back was silent, by name, as far as it is not forgotten, ms.
        looked: when it was looked at last, ms.
        newest: when what came back was heard last, by name, as of that look, ms.
    """

    heard: dict[str, Heard] = field(default_factory=dict)
    told: list[Silence] = field(default_factory=list)
    longest: dict[str, int] = field(default_factory=dict)
    looked: int = 0
    newest: dict[str, int] = field(default_factory=dict)

    def hear(self, part: Part, n: int, start: int, end: int) -> None:
        if n:
            self.heard.setdefault(part.name, Heard()).add(n, start, end)

    def of(self, part: Part) -> Heard:
        return self.heard.get(part.name, Heard())

    def _open(self, silence: Silence) -> Silence:
        self.told.append(silence)
        return silence

    def _end(self, silence: Silence, at: int, why: str) -> Silence:
        self.told.remove(silence)
        name, lasted = silence.part.name, at - silence.since
        self.longest[name] = max(lasted, self.longest.get(name, 0))
        return replace(silence, at=at, kind="close", why=why)

    def _remind(self, silence: Silence, at: int) -> Silence:
        again = replace(silence, at=at, kind="update")
        self.told[self.told.index(silence)] = again
        return again

    def _least(self, part: Part) -> float:
        """How long a silence is at the least that is told, ms."""
        return max(SILENT_MS, LONGER * self.longest.get(part.name, 0))

    # -------------------------------------------------------------- all answers

    def without_answers(self, version: int | None, until: int) -> Iterator[Silence]:
        """What is to be told of a model that has not answered by then, ms, at the times when it
        was due."""
        told = next((one for one in self.told if one.part == ANSWERS), None)
        while version is not None and (due := self._due(told)) is not None and due <= until:
            if told is None:
                since, pace = self.of(ANSWERS).last, self._pace
                told = self._open(Silence(ANSWERS, version, since, due, pace * (due - since), True))
            else:
                told = self._remind(told, due)
            yield told

    def _due(self, told: Silence | None) -> int | None:
        """When the silence of all answers is told next, ms; None: never."""
        if told is not None:
            return told.at + REMINDER_MS
        if self.of(ANSWERS).n < EXPECTED:
            return None
        return self.of(ANSWERS).last + round(max(self._least(ANSWERS), EXPECTED / self._pace))

    @property
    def _pace(self) -> float:
        """Answers in a ms."""
        answers = self.of(ANSWERS)
        return answers.n / max(answers.last - answers.first, DAY_MS)

    def answered(self, at: int) -> Iterator[Silence]:
        """Answers come again."""
        for one in [one for one in self.told if one.part == ANSWERS]:
            yield self._end(one, at, "they come again")

    # -------------------------------------------------------------- parts of them

    def is_due(self, at: int) -> bool:
        """Whether it is time for a look."""
        return at // LOOK_MS > self.looked // LOOK_MS

    def look(self, streams: Streams, at: int) -> Iterator[Silence]:
        """What of the version that answers is silent by then, ms, or is no more. Nothing is said of
        parts while there are no answers."""
        self.looked = at
        self._forget(streams)
        for one in list(self.told):
            if one.part != ANSWERS:
                yield from self._go_on(one, streams, at)
        if any(one.part == ANSWERS for one in self.told):
            return
        sources = [(part, self._found(part, streams)) for part in streams.sources]
        for part, found in (*sources, *streams.silent(at)):
            if found.expected < EXPECTED or any(one.part.silences(part) for one in self.told):
                continue
            wide = self._widest(part, streams, at)
            since = max(self._heard(wide, streams)) or found.since
            if at - since >= self._least(wide):
                yield self._open(
                    Silence(wide, streams.version, since, at, found.expected, found.ever)
                )

    def _forget(self, streams: Streams) -> None:
        """By the time that passed from newest number to newest number: nothing is forgotten while a
        part is silent, and a pause that is over is known by its length again."""
        for name, part in streams.parts().items() if self.longest else ():
            if name in self.longest:
                newest = max([self.of(part).last, *self._heard(part, streams)])
                passed = max(newest - self.newest.get(name, newest), 0)
                left = self.longest[name] * 0.5 ** (passed / HALF_FORGOTTEN_MS)
                self.longest[name], self.newest[name] = max(round(left), passed), newest

    def _go_on(self, one: Silence, streams: Streams, at: int) -> Iterator[Silence]:
        """What there is to say of a silence that was told."""
        heard = self._heard(one.part, streams)
        if not heard:
            yield self._end(one, at, "nothing declared waits for it any more,")
        elif max(heard) > one.since:
            yield self._end(one, at, "it comes again")
        elif at - one.at >= REMINDER_MS:
            yield self._remind(one, at)

    def _heard(self, part: Part, streams: Streams) -> list[int]:
        """When all that is declared of a part was heard last, ms."""
        sources = (self.of(source).last for source in streams.sources if part.holds(source))
        return [*sources, *map(streams.heard, streams.within(part))]

    def _found(self, part: Part, streams: Streams) -> Found:
        """Of what is waited for whatever monitors count of it."""
        came = self.of(part)
        since = came.last if came.n else streams.first
        share = least(came.n) / max(self.of(ANSWERS).n, 1) if came.n else RARE
        return Found(since, share * streams.answers_since(since), bool(came.n))

    def _widest(self, part: Part, streams: Streams, at: int) -> Part:
        """The widest part that is silent with this one."""
        wide = streams.widest(part, at) if part.monitor else part
        answers = in_slice(wide.slice)
        if answers not in streams.sources or self.of(answers).last > at - TOGETHER_MS:
            return wide
        name = in_slice(wide.slice.partition("=")[0])
        beside = [other for other in streams.sources if name.holds(other)]
        is_name = all(self.of(each).last <= at - TOGETHER_MS for each in beside)
        return name if is_name else answers


class Found(NamedTuple):
    """Since when a part is silent, ms, how many numbers were to be expected meanwhile, and whether
    it was ever heard."""

    since: int
    expected: float
    ever: bool


class Streams:
    """What was declared to be watched of a version.

    Attributes:
        first: its first answer, ms.
        names: a stream of each part.
        sources: what monitors wait for, whatever they count of it: slices, feedback, reviews.
    """

    def __init__(
        self,
        version: int,
        first: int,
        wanted: Iterable[Watched],
        slices: Iterable[str],
        known: Mapping[int, VersionStreams],
    ) -> None:
        self.version, self.first = version, first
        self.names: dict[Part, str] = {}
        self._beside: dict[tuple[str, Basis], list[Part]] = defaultdict(list)
        for what in wanted:
            part = Part(what.monitor.name, what.slice, what.source.basis)
            if not (what.automatic or what.improves or part in self.names):
                self.names[part] = what.name
                self._beside[part.slice, part.basis].append(part)
        bases = {part.basis for part in self.names}
        self.sources = [in_slice(name) for name in slices]
        self.sources += [FEEDBACK] if bases & {"told", "heard"} else []
        self.sources += [REVIEWS] if "reviewed" in bases else []
        others = sorted(known.keys() - {version}, reverse=True)
        self._numbers = [Numbers(known[each]) for each in (version, *others)]

    def heard(self, part: Part) -> int:
        """When its newest number came, of whichever version, ms; 0: never."""
        return max(numbers.heard(self.names[part]) for numbers in self._numbers)

    def within(self, part: Part) -> list[Part]:
        """What monitors count of a part; none of a source."""
        is_source = part in self.sources or (not part.monitor and part.basis == "answers")
        return [] if is_source else [one for one in self.names if part.holds(one)]

    def parts(self) -> Mapping[str, Part]:
        """All that may be told, by name."""
        slices = [in_slice(part.slice.partition("=")[0]) for part in self.sources if part.slice]
        wide = [part._replace(monitor="") for part in self.names]
        whole = [part._replace(slice="") for part in self.names]
        found = (ANSWERS, *slices, *wide, *whole, *self.sources, *self.names)
        return {part.name: part for part in found}

    def silent(self, at: int) -> Iterator[tuple[Part, Found]]:
        """What monitors count nothing of by then, ms."""
        for part in self.names:
            heard = self.heard(part)
            if heard <= at - SILENT_MS:
                since = heard or self.first
                expected = self._share(part, since) * self.answers_since(since)
                yield part, Found(since, expected, bool(heard))

    def widest(self, part: Part, at: int) -> Part:
        """The widest part that is silent with this one: all that a monitor counts, or all that is
        said in a slice."""
        whole, wide = part._replace(slice=ALL), part._replace(monitor="")
        if part.slice == ALL or (whole in self.names and not self._is_alive(whole, at)):
            return part._replace(slice="")
        beside = self._beside[part.slice, part.basis]
        if part.basis == "answers" or any(self._is_alive(one, at) for one in beside):
            return part
        return wide

    def answers_since(self, time: int) -> float:
        """At the least, as far as the bins of the history tell."""
        return self._numbers[0].busiest_since(time)

    def _is_alive(self, part: Part, at: int) -> bool:
        return self.heard(part) > at - TOGETHER_MS

    def _share(self, part: Part, since: int) -> float:
        """The part of the answers that gives a number: as it was, in this version or an older one;
        else that of the slice, in which each answer should."""
        name = self.names[part]
        for numbers in self._numbers:
            if share := numbers.share(name, since):
                return share
        if part.basis != "answers":
            return RARE
        own = self._numbers[0]
        beside = self._beside[part.slice, part.basis]
        shares = (own.share(self.names[other], own.until) for other in beside)
        return max(shares, default=0.0) or (1.0 if part.slice == ALL else RARE)


class Numbers:
    """How many numbers each stream of a version had, and when."""

    def __init__(self, own: VersionStreams) -> None:
        self.until = own.until
        self._rows = {name: row for row, name in enumerate(own.names)}
        self._heard, self._starts = own.heard, np.array(own.history.starts, np.int64)
        counts = own.history.counts[:, : len(self._starts), 0]
        self._n = counts.sum(axis=1, dtype=np.float64)
        self._busiest: Floats = counts[int(self._n.argmax())] if self._n.size else np.zeros(0)

    def heard(self, stream: str) -> int:
        row = self._rows.get(stream)
        return 0 if row is None else int(self._heard[row])

    def busiest_since(self, time: int) -> float:
        """Numbers of the stream that has most, in bins that begin no earlier."""
        return float(self._busiest[self._starts >= time].sum())

    def share(self, stream: str, until: int) -> float:
        """Of the numbers of the busiest stream up to then, ms; 0 where it had none."""
        row = self._rows.get(stream)
        n = 0.0 if row is None else least(float(self._n[row]))
        before = float(self._busiest[self._starts <= until].sum())
        return min(n / max(before, 1.0), 1.0)


def least(n: float) -> float:
    """Two standard errors below a count."""
    return max(n - 2 * math.sqrt(n), 0.0)
