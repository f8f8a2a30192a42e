"""Counts answers against the world's own labels, which the loop never sees. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftgate.events import Feedback

FIRST = 1  # the version trained on the launch data: the frozen baseline


@dataclass(frozen=True, slots=True)
class Truth:
    """What the world knows of one request. known: whether its label was, see `KnownLabels`."""

    week: int
    label: str
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


@dataclass
class KnownLabels:
    """Since when each label could be known: always for the labels of the launch data, for others
    since the first feedback that rightly named it. A mistaken name teaches nothing of the label."""

    since: dict[str, int]  # ms

    @classmethod
    def at_launch(cls, labels: Iterable[str]) -> KnownLabels:
        return cls(dict.fromkeys(labels, 0))

    def add(self, truth: str, feedback: Feedback) -> None:
        """Feedback on a request whose true label is `truth`. A rating names no label: it confirms
        an answer, whose label is known already."""
        if feedback.label == truth:
            self.since[truth] = min(feedback.time, self.since.get(truth, feedback.time))

    def at(self, label: str, time: int) -> bool:
        """Whether feedback on a label had come before a moment, ms."""
        return label in self.since and self.since[label] < time


@dataclass(frozen=True, slots=True)
class Week:
    """One week's count. Accuracies 0..1, None without answers. known: share of the live answers
    whose true label had had feedback before they were asked: no model can get more right."""

    week: int
    answers: int
    loop: float | None
    frozen_baseline: float | None
    champion: int
    known: float = 1.0


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


def by_week(truths: Mapping[str, Truth], answers: Iterable[Mapping[str, Any]]) -> tuple[Week, ...]:
    """Weekly accuracy of the loop (live answers) and of the frozen baseline (version 1, live or as
    a shadow). `answers` have request_id, version, role and output, one of each version and role."""
    loop: dict[int, list[bool]] = defaultdict(list)
    frozen_baseline: dict[int, list[bool]] = defaultdict(list)
    served: dict[int, list[int]] = defaultdict(list)
    known: dict[int, list[bool]] = defaultdict(list)
    for answer in answers:
        truth = truths.get(answer["request_id"])
        if truth is None:
            continue
        right = answer["output"] == truth.label
        if answer["role"] == "live":
            loop[truth.week].append(right)
            served[truth.week].append(answer["version"])
            known[truth.week].append(truth.known)
        if answer["version"] == FIRST:
            frozen_baseline[truth.week].append(right)
    return tuple(
        Week(
            week,
            len(loop[week]),
            mean(loop[week]),
            mean(frozen_baseline[week]),
            most_common(served[week]),
            sum(known[week]) / len(known[week]),
        )
        for week in sorted(loop)
    )


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
        for week in weeks[-4:]
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
