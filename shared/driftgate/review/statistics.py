"""How far the review sample is, and what it says about each version."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from driftgate.events import DAY_MS, HOUR_MS, Feedback
from driftgate.review import agreement, sample
from driftgate.review.agreement import Agreement
from driftgate.review.queue import Progress, Words, answer_of, progress
from driftgate.shares import wilson
from driftgate.tasks import Said, Task

MONDAY_MS = 4 * DAY_MS  # 1970-01-05
WEEK_MS = 7 * DAY_MS
MISSED = "missed"
# What a request is once it is too old to be asked. The label of one reviewer of two counts.
IN_THE_END = {
    Progress.OPEN: MISSED,
    Progress.SECOND: Progress.LABELLED,
    Progress.LABELLED: Progress.LABELLED,
    Progress.SKIPPED: Progress.SKIPPED,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The part `review` of model.yaml, and how old a request may be to be asked, ms."""

    model: str
    share: float
    twice: float
    asked_ms: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Requests of the sample that were asked within some time. without_text: those of which only
    the hash of the text was kept; nobody can look at them."""

    requests: int
    without_text: int


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A request that reviewers said something of. version, output: of the answer that was heard.
    time: of the request, ms."""

    request_id: str
    time: int
    version: int
    output: str
    said: Words


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of a version's live answers, by the sample; `low` to `high`: 95 % interval."""

    labelled: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Week:
    """Requests of the sample by the week in which they were asked.

    Attributes:
        begins: its Monday, ms.
        labelled: also those too old to be asked that one of two reviewers labelled.
        missed: too old to be asked, and nobody labelled them. Estimates lack them.
        wait_hours: median time from the request to the first review; None without one.
    """

    begins: int
    drawn: int
    without_text: int
    labelled: int
    skipped: int
    second: int
    open: int
    missed: int
    wait_hours: float | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """picked: requests that were reviewed for their value and enter no estimate."""

    weeks: tuple[Week, ...]
    picked: int
    wait_hours: float | None
    agreement: Agreement
    by_instructions: Mapping[str, Agreement]
    by_reviewers: Mapping[str, Agreement]
    accuracy: Mapping[int, Accuracy]


def statistics(
    drawn: Mapping[int, tuple[Drawn, Drawn]],
    reviewed: Sequence[Reviewed],
    rules: Rules,
    task: Task,
    now: int,
) -> Statistics:
    """
    Args:
        drawn: by the Monday of the week, ms: all drawn requests, and those of them that are not
            too old to be asked.
        reviewed: what was said of requests of these weeks, drawn or picked.
    """
    own = [one for one in reviewed if sample.drawn(rules.model, one.request_id, rules.share)]
    doubles = agreement.doubly_reviewed(one.said for one in own)
    by_week: defaultdict[int, list[Reviewed]] = defaultdict(list)
    for one in own:
        by_week[monday(one.time)].append(one)
    return Statistics(
        weeks=tuple(
            week(begins, every, young, by_week[begins], rules, now)
            for begins, (every, young) in sorted(drawn.items())
        ),
        picked=sum(any(word.picked for word in one.said.values()) for one in reviewed),
        wait_hours=wait_hours(own),
        agreement=agreement.agreement([one.labels for one in doubles]),
        by_instructions=agreement.by_instructions(doubles),
        by_reviewers=agreement.by_reviewers(doubles),
        accuracy=accuracies(reviewed, task),
    )


def week(
    begins: int, every: Drawn, young: Drawn, own: Sequence[Reviewed], rules: Rules, now: int
) -> Week:
    """Young requests that nobody said a word of are open, older ones are missed."""
    counts: Counter[str] = Counter()
    for one in own:
        far = progress_of(one, rules)
        old = one.time < now - rules.asked_ms
        counts[IN_THE_END[far] if old else far] += 1
    young_own = sum(one.time >= now - rules.asked_ms for one in own)
    askable, young_askable = askable_of(every), askable_of(young)
    untouched = max(0, young_askable - young_own)
    untouched_old = max(0, askable - young_askable - (len(own) - young_own))
    return Week(
        begins=begins,
        drawn=every.requests,
        without_text=every.without_text,
        labelled=counts[Progress.LABELLED],
        skipped=counts[Progress.SKIPPED],
        second=counts[Progress.SECOND],
        open=counts[Progress.OPEN] + untouched,
        missed=counts[MISSED] + untouched_old,
        wait_hours=wait_hours(own),
    )


def askable_of(drawn: Drawn) -> int:
    return drawn.requests - drawn.without_text


def progress_of(one: Reviewed, rules: Rules) -> Progress:
    return progress(one.said, 1 + sample.twice(rules.model, one.request_id, rules.twice))


def wait_hours(own: Iterable[Reviewed]) -> float | None:
    """Median time from a request to its first review."""
    waits = [min(word.time for word in one.said.values()) - one.time for one in own]
    return median(waits) / HOUR_MS if waits else None


def accuracies(reviewed: Iterable[Reviewed], task: Task) -> dict[int, Accuracy]:
    """By version. The last word of the random sample counts. Each request stands for as many as
    its chance to be drawn says (Hájek's ratio); the interval is Wilson's, of as many requests as
    these weights are worth (Kish: (Σw)²/Σw²), which is their number while the share stays."""
    votes: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for one in reviewed:
        word = last_drawn(one.said)
        if word is None or word.propensity is None:
            continue
        right = task.was_correct(one.output, Said(word.label, word.rating, word.edited))
        if right is not None:
            votes[one.version].append((1 / word.propensity, right))
    return {version: accuracy(votes[version]) for version in sorted(votes)}


def last_drawn(said: Words) -> Feedback | None:
    """The last review that says something, of those by which the sample was drawn."""
    words = (word for word in said.values() if word.propensity and answer_of(word) is not None)
    return max(words, key=lambda word: (word.time, word.feedback_id), default=None)


def accuracy(votes: Sequence[tuple[float, bool]]) -> Accuracy:
    """Of at least one weight and whether it was right."""
    total = sum(weight for weight, _ in votes)
    share = sum(weight for weight, right in votes if right) / total
    worth = max(1, int(total**2 / sum(weight**2 for weight, _ in votes) + 1e-9))
    return Accuracy(len(votes), share, *wilson(round(share * worth), worth))


def monday(ms: int) -> int:
    """Midnight of the Monday before a time, UTC, ms."""
    return ms - (ms - MONDAY_MS) % WEEK_MS
