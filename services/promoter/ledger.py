"""What a stage has shown, kept while it grows. Pure: rows of the store in, evidence out.

Where a label judges both answers, whom chance let hear which of them changes nothing about it: such
pairs of earlier stages count too. All else, and all harm, is of the stage alone.

A look costs what is new: the people of whom something was stored since the look before, and those
whose time to speak ended meanwhile. Who comes first, and in which order rows are read, changes
nothing: a ledger that is filled anew says the same.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, repeat
from typing import Any, NamedTuple

from driftgate import latest_word
from driftgate.buckets import BUCKETS, bucket
from driftgate.events import DAY_MS
from driftgate.feedback_profiles import Counted
from driftgate.model_repo import Metric, ModelYaml
from driftgate.slices import ALL, inside
from driftgate.tasks import task_of
from services.promoter.canary_analysis import OUTCOMES, REVIEW, Comparison, Evidence
from services.promoter.e_values import Events, Units

WINDOW_MS = DAY_MS
"""What a person makes of the answers of one day counts as one sample."""

MOST_DAYS = 60
"""On so many days of a stage, people are counted anew."""

SAME = 1e-5
"""Weights are ten-thousandths."""

ALL_OF = 100_000
"""So many requests of a stage are all compared. Of later ones, the nth is drawn with a chance of
ALL_OF / n by a hash of its id, so that memory grows with the logarithm of what was asked, and what
begins late is still seen."""

OF_ANSWERS = ("latency_ms", "tokens", "cost", "refused", "broken")
"""Metrics that each answer carries. Apps send the others."""


class Trial(NamedTuple):
    """Who is compared.

    Attributes:
        old: the version that was there before; new: the one on trial. since: of the stage, ms.
        chance: with which the new one is heard; answers by another chance, as of a router that is
            behind, are not compared.
        begun: of its first stage, ms; 0: this is the first.
    """

    model: str
    old: int
    new: int
    since: int
    chance: float
    begun: int = 0

    @property
    def first(self) -> int:
        """When the trial began, ms."""
        return self.begun or self.since


@dataclass(slots=True)
class Asked:
    """A request of the stage, by the first answer that was heard.

    Attributes:
        chance: that the new version was the one to be heard.
        other: what the other version answered, unheard; None while that is not known.
        slices: those that are compared by themselves, and `all`.
        numbers: by metric.
    """

    key: str
    alone: bool
    of_new: bool
    chance: float
    at: int
    heard: str
    slices: tuple[str, ...]
    numbers: dict[str, float]
    other: str | None = None
    words: list[Word] = field(default_factory=list)
    sent: dict[str, tuple[int, str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Word:
    """An outcome as the store holds it."""

    outcome_id: str
    kind: str
    label: str | None
    rating: float | None
    edited: str | None
    was_correct: bool | None
    reviewer: str | None
    retracts: str | None
    picked: str | None
    feedback_time: int


Blamed = tuple[float, bool]
"""The chance that the new version was to blame, and whether it was."""


class Told(NamedTuple):
    """What a request says of one question.

    Attributes:
        when: ms.
        blames: None where nobody is to blame.
        worse: how much worse the new version did. usual: how bad the old one did.
    """

    when: int
    blames: Blamed | None
    worse: float
    usual: float = 0.0


class Question(NamedTuple):
    """What is asked of each request.

    Attributes:
        wait: how long silence may still end, ms.
    """

    name: str
    counted: Counted
    wait: int
    ask: Callable[[Asked], Told | None]


class Said(NamedTuple):
    """What a person adds to one comparison.

    Attributes:
        events: whose fault was first, from each day of the stage on.
        unit: how much worse the new version did, and how bad the old, once the time to speak is
            over.
    """

    name: str
    slice: str
    events: tuple[Blamed, ...]
    unit: tuple[float, float] | None
    of_new: bool


@dataclass
class Ledger:
    """One stage.

    Attributes:
        limits: by metric, beyond which a number is bad.
    """

    trial: Trial
    repo: ModelYaml
    limits: Mapping[str, float]
    _asked: dict[str, Asked] = field(default_factory=dict)
    _shadows: dict[str, str] = field(default_factory=dict)
    _outcomes: dict[str, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _later: list[tuple[int, int, str, Mapping[str, Any]]] = field(default_factory=list)
    _people: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    _said: dict[str, list[Said]] = field(default_factory=dict)
    _closes: list[tuple[int, str]] = field(default_factory=list)
    _changed: set[str] = field(default_factory=set)
    _events: dict[tuple[str, str], list[Counter[Blamed]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _units: dict[tuple[str, str], Counter[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    _heard_by: dict[tuple[str, str], Counter[bool]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    _numbers: Iterator[int] = field(default_factory=count)
    _seen: int = 0
    _both: int = 0
    _differ: int = 0

    def __post_init__(self) -> None:
        self._task = task_of(self.repo.task)
        self._slices = (ALL, *protected(self.repo))
        self._questions = tuple(self._asks())

    def add(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of `inferences` or `outcomes`, those of one request in the order of the topic."""
        for row in rows:
            heapq.heappush(self._later, (row["ms"], next(self._numbers), table, row))

    def evidence(self, until: int, behind: str = "") -> Evidence:
        """All that was known at a time, ms, that never goes back."""
        for table, row in self._due(until):
            self._answer(row) if table == "inferences" else self._outcome(row)
        while self._closes and self._closes[0][0] <= until:
            self._changed.add(heapq.heappop(self._closes)[1])
        for key in sorted(self._changed):
            self._again(key, until)
        self._changed.clear()
        found = tuple(self._comparisons())
        return Evidence(found, self._both, self._differ, behind, self.trial.begun)

    def _due(self, until: int) -> list[tuple[str, Mapping[str, Any]]]:
        """Rows of until then, answers first: what is said waits for what it is about."""
        due = []
        while self._later and self._later[0][0] <= until:
            due.append(heapq.heappop(self._later))
        due.sort(key=lambda one: (one[2], one[1]))
        return [(table, row) for _, _, table, row in due]

    def _answer(self, row: Mapping[str, Any]) -> None:
        request_id = row["request_id"]
        if row["role"] == "shadow":
            asked = self._asked.get(request_id)
            if asked is None:
                if self._drawn(request_id):
                    self._shadows.setdefault(request_id, row["output"])
            elif asked.other is None:
                self._beside(asked, row["output"])
            return
        if request_id in self._asked:
            return
        self._seen += 1
        if not self._drawn(request_id):
            return
        asked = self._asked[request_id] = self._heard(row)
        self._people[asked.key].append(asked)
        self._changed.add(asked.key)
        if (output := self._shadows.pop(request_id, None)) is not None:
            self._beside(asked, output)
        for outcome in self._outcomes.pop(request_id, ()):
            self._outcome(outcome)

    def _drawn(self, request_id: str) -> bool:
        return bucket("judge/", request_id) * self._seen < ALL_OF * BUCKETS

    def _heard(self, row: Mapping[str, Any]) -> Asked:
        of_new, person = row["version"] == self.trial.new, row["subject"]
        return Asked(
            key=person or row["request_id"],
            alone=not person,
            of_new=of_new,
            chance=round(row["propensity"] if of_new else 1 - row["propensity"], 6),
            at=row["ms"],
            heard=row["output"],
            slices=tuple(name for name in self._slices if inside(row["slices"], name)),
            numbers={name: row[name] for name in self.limits if name in OF_ANSWERS},
        )

    def _beside(self, asked: Asked, output: str) -> None:
        asked.other = output
        if asked.at >= self.trial.since:
            self._both += 1
            self._differ += output != asked.heard
        self._changed.add(asked.key)

    def _outcome(self, row: Mapping[str, Any]) -> None:
        asked = self._asked.get(row["request_id"])
        if asked is None:  # its answer may be stored later
            if self._drawn(row["request_id"]):
                self._outcomes[row["request_id"]].append(row)
            return
        if row["kind"] == "metric":
            sent = row["feedback_ms"], row["outcome_id"], row["value"]
            asked.sent[row["metric"]] = max(sent, asked.sent.get(row["metric"], sent))
        else:
            asked.words.append(word(row))
        self._changed.add(asked.key)

    # ------------------------------------------------------------ a person

    def _again(self, key: str, until: int) -> None:
        """What a person says now takes the place of what they said."""
        for said in self._said.get(key, ()):
            self._add(said, -1)
        now, closes = self._of_person(self._people[key], until)
        self._said[key] = now
        for said in now:
            self._add(said, 1)
        if closes is not None:
            heapq.heappush(self._closes, (closes, key))

    def _add(self, said: Said, times: int) -> None:
        at = said.name, said.slice
        days = self._events[at]
        days += [Counter() for _ in range(len(said.events) - len(days))]
        for day, event in zip(days, said.events, strict=False):
            day[event] += times
        if said.unit is not None:
            self._units[at][said.unit] += times
            self._heard_by[at][said.of_new] += times

    def _of_person(self, own: Sequence[Asked], until: int) -> tuple[list[Said], int | None]:
        """What a person adds to each comparison, and when the next of it is known, ms."""
        found, closes = [], []
        for question in self._questions:
            of_trial = [(one, t) for one in own if (t := question.ask(one))]
            of_stage = [(one, t) for one, t in of_trial if one.at >= self.trial.since]
            answers = of_trial if question.counted == "pairs" else of_stage
            for of in self._slices:
                told = sorted(t for one, t in answers if of in one.slices)
                if not told:
                    continue
                first = told[0].when
                known = first + (0 if own[0].alone else WINDOW_MS) + question.wait
                day = [one for one in told if one.when < first + WINDOW_MS]
                unit = (
                    mean([one.worse for one in day]),
                    mean([one.usual for one in day]),
                )
                now = sorted(t for one, t in of_stage if of in one.slices)
                found.append(
                    Said(
                        name=question.name,
                        slice=of,
                        events=tuple(self._first_each_day(now)),
                        unit=unit if known <= until else None,
                        of_new=answers[0][0].of_new,
                    )
                )
                if known > until:
                    closes.append(known)
        return found, min(closes, default=None)

    def _first_each_day(self, told: Sequence[Told]) -> Iterator[Blamed]:
        """Whose fault was the first, from each day of the stage on until the last fault."""
        passed = 0
        for one in told:
            if one.blames:
                days = min((one.when - self.trial.since) // DAY_MS + 1, MOST_DAYS)
                yield from repeat(one.blames, days - passed)
                passed = max(days, passed)

    # ------------------------------------------------------------ questions to a request

    def _asks(self) -> Iterator[Question]:
        counted = self.repo.feedback.counted
        settled = self.repo.feedback.settled_ms
        match counted:
            case "pairs":
                yield Question(OUTCOMES, counted, 0, partial(self._pair, of_review=False))
            case "told":
                yield Question(OUTCOMES, counted, 0, self._told)
            case "heard":
                yield Question(OUTCOMES, counted, settled, self._heard_or_silent)
        if self.repo.review.share:
            yield Question(REVIEW, "pairs", 0, partial(self._pair, of_review=True))
        for metric in self.repo.rollout.metrics:
            if metric.name in self.limits:
                yield Question(metric.name, "heard", 0, partial(self._number, metric))

    def _pair(self, one: Asked, of_review: bool) -> Told | None:
        """A label judges both answers."""
        said = word_of(one, of_review)
        if said is None or one.other is None:
            return None
        target = self._task.target(one.heard, said)
        if target is None:
            return None
        heard, other = (self._task.right(output, target) for output in (one.heard, one.other))
        worse = float(other) - float(heard) if one.of_new else float(heard) - float(other)
        return Told(said.feedback_time, (0.5, worse > 0) if worse else None, worse)

    def _told(self, one: Asked) -> Told | None:
        """What was said of an answer that was heard, if anything."""
        said = word_of(one, of_review=False)
        if said is None or said.was_correct is None:
            return None
        bad = is_bad(said)
        return self._blame(one, said.feedback_time, bad, bad)

    def _heard_or_silent(self, one: Asked) -> Told | None:
        """An answer that was heard, whatever was said; what is said late comes too late."""
        ends = one.at + self.repo.feedback.settled_ms
        said, in_time = word_of(one, of_review=False), word_of(one, of_review=False, until=ends)
        return self._blame(one, one.at, is_bad(said), is_bad(in_time))

    def _blame(self, one: Asked, when: int, bad: bool, in_time: bool) -> Told | None:
        """Where the two answer alike, none of them is to blame, and both are as bad as usual."""
        if one.other is None or not self._by_chance(one):
            return None
        differ = one.heard != one.other
        blames = (one.chance, one.of_new) if bad and differ else None
        if not in_time:
            return Told(when, blames, 0.0)
        if not differ:
            return Told(when, blames, 0.0, usual=1.0)
        return Told(when, blames, weight(one), usual=max(0.0, -weight(one)))

    def _by_chance(self, one: Asked) -> bool:
        """Whether chance gave the answer to one of the two, as it does in this stage."""
        return 0 < self.trial.chance < 1 and abs(one.chance - self.trial.chance) < SAME

    def _number(self, metric: Metric, one: Asked) -> Told | None:
        """Whether a number is beyond its limit."""
        sent = one.sent.get(metric.name)
        value = one.numbers.get(metric.name, sent[2] if sent else math.nan)
        if not math.isfinite(value) or not self._by_chance(one):
            return None
        limit = self.limits[metric.name]
        bad = value > limit if metric.better == "lower" else value < limit
        return Told(one.at, (one.chance, one.of_new) if bad else None, weight(one) if bad else 0.0)

    # ------------------------------------------------------------ all people

    def _comparisons(self) -> Iterator[Comparison]:
        for name, counted, _, _ in self._questions:
            for of in self._slices:
                units = self._units[name, of]
                days = [counted_events(day) for day in self._events[name, of]]
                yield Comparison(
                    name=name,
                    counted=counted,
                    slice=of,
                    events=days[0] if days else (),
                    later=tuple(days[1:]),
                    units=tuple(
                        Units(worse, n, usual) for (worse, usual), n in sorted((+units).items())
                    ),
                    bound=1.0 if counted == "pairs" else 1 / (self.trial.chance or 1),
                    fewest=None if counted == "pairs" else self._fewest(name, of),
                )

    def _fewest(self, name: str, of: str) -> int:
        heard = self._heard_by[name, of]
        return min(heard[True], heard[False])


def counted_events(events: Counter[Blamed]) -> tuple[Events, ...]:
    return tuple(
        Events(chance, events[chance, True], events[chance, False])
        for chance in sorted({chance for chance, _ in +events})
    )


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) + 0.0  # no -0


def is_bad(said: Word | None) -> bool:
    return said is not None and said.was_correct is False


def weight(one: Asked) -> float:
    """What a bad answer counts: by the inverse of the chance that it was heard."""
    return 1 / one.chance if one.of_new else -1 / (1 - one.chance)


def word_of(one: Asked, of_review: bool, until: float = math.inf) -> Word | None:
    """The word that counts of those given until then, ms: of reviewers on the random sample, or of
    users."""
    kinds = (
        ("review", "retraction") if of_review else ("rating", "edit", "correction", "retraction")
    )
    said = (word for word in one.words if word.kind in kinds and word.feedback_time <= until)
    return latest_word.latest(said, estimates=True)


def word(row: Mapping[str, Any]) -> Word:
    fields = {name: row[name] for name in Word.__slots__ if name != "feedback_time"}
    return Word(**fields, feedback_time=row["feedback_ms"])


def protected(repo: ModelYaml) -> tuple[str, ...]:
    """Slices with a bar of their own."""
    return tuple(sorted(name for name in repo.gate.protected if name != ALL))
