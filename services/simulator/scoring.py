"""Counts answers against the world's own labels, which the loop never sees. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev
from typing import Any

from services.simulator.kinds import Kind

FIRST = 1  # the version trained on the launch data: the frozen baseline
LAST = 4  # weeks that the comparison with it is made over


@dataclass(frozen=True, slots=True)
class Truth:
    """What the world knows of one request. target: what is right. known: whether it could be, see
    `KnownLabels`."""

    week: int
    target: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """Of how many answers something was said: by users, of right and of wrong ones, and by
    reviewers."""

    right: int = 0
    wrong: int = 0
    told_right: int = 0
    told_wrong: int = 0
    reviewed: int = 0

    @property
    def share(self) -> float:
        """Of answers that users said something of."""
        return (self.told_right + self.told_wrong) / max(1, self.right + self.wrong)

    @property
    def words(self) -> str:
        """For people."""
        answers = self.right + self.wrong
        return (
            f"users said something of {self.share:.1%} of {answers:,} answers "
            f"({self.told_wrong / max(1, self.wrong):.1%} of the wrong and "
            f"{self.told_right / max(1, self.right):.1%} of the right ones), reviewers of "
            f"{self.reviewed / max(1, answers):.1%}"
        )


@dataclass(frozen=True, slots=True)
class Week:
    """One week's count. Accuracies 0..1, None without answers.

    Attributes:
        known: share of the live answers whose true label had had feedback before they were asked:
            no model can get more right.
        loop_grade, frozen_grade: how right answers are in degrees, 0..1; None where there are none.
        well_formed: share of the live answers that have the declared format.
    """

    week: int
    answers: int
    loop: float | None
    frozen_baseline: float | None
    champion: int
    known: float = 1.0
    loop_grade: float | None = None
    frozen_grade: float | None = None
    well_formed: float = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """How the loop did.

    Attributes:
        refreshed: first week in which a version other than the first gave most answers.
        below: weeks from the one after `refreshed` in which the loop was under what the gate line
            asks of the labels that could be known; all such weeks when there was no refresh.
        below_line: such weeks under the gate line itself.
        advantage: mean of loop less frozen baseline over the last four weeks, 0..1.
    """

    weeks: tuple[Week, ...]
    gate: float
    refreshed: int | None
    below: tuple[int, ...]
    advantage: float | None
    below_line: tuple[int, ...] = ()

    @property
    def held(self) -> bool:
        return not self.below and (self.advantage is None or self.advantage >= 0)


def by_week(answers: Iterable[Judged]) -> tuple[Week, ...]:
    """Weekly accuracy of the loop (live answers) and of the frozen baseline (version 1, live or as
    a shadow)."""
    loop: dict[int, list[Judged]] = defaultdict(list)
    frozen: dict[int, list[Judged]] = defaultdict(list)
    for one in answers:
        if one.live:
            loop[one.truth.week].append(one)
        if one.version == FIRST:
            frozen[one.truth.week].append(one)
    return tuple(week_of(week, loop[week], frozen[week]) for week in sorted(loop))


def week_of(week: int, loop: Sequence[Judged], frozen: Sequence[Judged]) -> Week:
    return Week(
        week,
        len(loop),
        mean([one.right for one in loop]),
        mean([one.right for one in frozen]),
        most_common([one.version for one in loop]),
        sum(one.truth.known for one in loop) / len(loop),
        mean([one.grade for one in loop if one.grade is not None]),
        mean([one.grade for one in frozen if one.grade is not None]),
        sum(one.well_formed for one in loop) / len(loop),
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer beside the truth."""

    request_id: str
    truth: Truth
    version: int
    live: bool
    right: bool
    grade: float | None
    well_formed: bool


def judged(
    truths: Mapping[str, Truth], answers: Iterable[Mapping[str, Any]], kind: Kind
) -> Iterator[Judged]:
    """Those to requests of the world. `answers` have request_id, version, role and output, one of
    each version and role."""
    for answer in answers:
        name, output = answer["request_id"], answer["output"]
        if (truth := truths.get(name)) is None:
            continue
        yield Judged(
            name,
            truth,
            answer["version"],
            answer["role"] == "live",
            kind.right(output, truth.target),
            kind.grade(output, truth.target),
            kind.well_formed(output),
        )


@dataclass(frozen=True, slots=True)
class Gain:
    """How much more often the loop was right than the frozen baseline on the same requests.

    low, high: 95 % interval of the mean of paired differences, by the normal approximation.
    """

    requests: int
    mean: float
    low: float
    high: float


def gain(answers: Iterable[Judged]) -> Gain | None:
    """Over the last `LAST` weeks; None where hardly anything was answered by both."""
    loop: dict[str, Judged] = {}
    frozen: dict[str, Judged] = {}
    for one in answers:
        if one.live:
            loop[one.request_id] = one
        if one.version == FIRST:
            frozen[one.request_id] = one
    last = max((one.truth.week for one in loop.values()), default=0)
    differences = [
        float(loop[name].right) - float(frozen[name].right)
        for name in loop.keys() & frozen.keys()
        if loop[name].truth.week > last - LAST
    ]
    if len(differences) < 2:
        return None
    centre = sum(differences) / len(differences)
    half = NormalDist().inv_cdf(0.975) * stdev(differences) / len(differences) ** 0.5
    return Gain(len(differences), centre, centre - half, centre + half)


def judge(weeks: Sequence[Week], gate: float) -> Result:
    """Whether the loop held: at or above the gate line in every week after its first refresh. The
    line is asked of the answers whose label could be known: no model can answer with a label that
    no feedback has named."""
    refreshed = next((week.week for week in weeks if week.champion != FIRST), None)
    later = [(w, w.loop) for w in weeks if w.week > (refreshed or 0) and w.loop is not None]
    below = tuple(week.week for week, loop in later if loop < gate * week.known)
    below_line = tuple(week.week for week, loop in later if loop < gate)
    gains = [
        week.loop - week.frozen_baseline
        for week in weeks[-LAST:]
        if week.loop is not None and week.frozen_baseline is not None
    ]
    return Result(tuple(weeks), gate, refreshed, below, mean(gains), below_line)


def false_alarms(
    requests: Iterable[Mapping[str, Any]],
    right: Sequence[tuple[int, int, bool]],
    reference: Mapping[int, float],
    window_ms: int,
    tolerance: float,
) -> list[str]:
    """Ids of drift-fired requests before which the live version was, by the world's labels, as good
    as at its own evaluation (less `tolerance`) over the last `window_ms`.

    Args:
        right: (time, version, whether it was right) of every live answer.
        reference: accuracy of each version in its verdict.
    """
    false = []
    for request in requests:
        end = request["time"]
        recent = [entry for entry in right if end - window_ms <= entry[0] < end]
        if not recent:
            continue
        version = most_common([entry[1] for entry in recent])
        accuracy = mean([entry[2] for entry in recent if entry[1] == version])
        known = reference.get(version)
        if accuracy is not None and known is not None and accuracy >= known - tolerance:
            false.append(request["retrain_id"])
    return false


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def most_common(values: Sequence[int]) -> int:
    return max(sorted(set(values)), key=values.count)
