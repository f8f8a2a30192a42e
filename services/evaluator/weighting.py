"""What held-out cases say of all answers, by how each was obtained. Pure.

Feedback is a choice of those who give it. Where people mostly say something when an answer was
wrong, cases with feedback are mostly those that the champion got wrong: on them any other version
looks better than it is, and every version worse than it is. So cases are weighted, or left out,
until what remains stands for all answers, by the first of these that holds:

    labels      any answer gets its label alike: each case counts as one
    review      enough cases of the random review sample, in protected slices too: they alone, each
                by 1 / propensity
    silence     it means right, as declared: all answers of a time are cases, or a random part is
    rates       the review sample is too small to be the cases, and still tells how many answers are
                wrong: those whose answer was wrong when it was heard, and those whose was right,
                are weighted to that proportion (post-stratification; Holt and Smith 1979,
                https://doi.org/10.2307/2344652), so long as within the two feedback hangs on
                nothing that the versions differ in
    none        nothing of that: an accuracy cannot be told, and harm only where even cases that
                favour the candidate show it; answers that are only rated are left out, since what
                should have been answered instead of a wrong one is never told

Rows of a seed file count as one each: who wrote them answers for what they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from driftgate.model_repo import Feedback, Gate
from driftgate.shares import wilson
from driftgate.slices import inside
from driftgate.suites import MIN_SLICE_CASES, SILENCE, Case

# Reviews that tell how many answers are wrong: of 10 %, to 5 points (one standard error).
MIN_REVIEWS = 30
# Cases of answers that were right, and of such that were wrong, so that each can stand for all.
MIN_STRATUM = 10


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is known of the time that held-out cases are of.

    Attributes:
        since, settled: of recent answers, ms: the first, and until when people had their time to
            object.
        reviewed: answers of the random review sample. reviewed_wrong: the share of wrong ones.
    """

    since: int = 0
    settled: int | None = None
    reviewed: int = 0
    reviewed_wrong: float | None = None

    def is_recent(self, case: Case) -> bool:
        return case.obtained.time >= self.since

    def is_settled(self, case: Case) -> bool:
        return self.is_recent(case) and (self.settled is None or case.obtained.time <= self.settled)


@dataclass(frozen=True, slots=True)
class MeasuredOn:
    """What an accuracy on held-out cases is an accuracy of.

    Attributes:
        is_representative: of all answers.
        summary: in words; empty where there is nothing to say.
    """

    is_representative: bool = True
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Weighing:
    """The weight of each case that counts, by its id; their mean is 1."""

    weights: Mapping[str, float]
    on: MeasuredOn

    def weight(self, case: Case) -> float | None:
        """None where a case is left out. Those of frozen suites count as one."""
        return self.weights.get(case.id) if case.layer == "task" else 1.0


ALIKE = MeasuredOn()


def weigh(cases: Sequence[Case], feedback: Feedback, dataset: Dataset, gate: Gate) -> Weighing:
    """How held-out cases are weighted under a feedback profile."""
    users = set(feedback.profile) - {"review"}
    seeds = [case for case in cases if not case.obtained.is_logged]
    logged = [case for case in cases if case.obtained.is_logged]
    drawn = [case for case in logged if case.obtained.propensity is not None]
    told = [case for case in logged if case.obtained.propensity is None]
    if not told:
        summary = (
            "" if not drawn else f"of {len(drawn)} drawn for review and {len(seeds)} seed rows"
        )
        return Weighing(even(seeds) | inverse(drawn), MeasuredOn(summary=summary))
    if users <= {"labels", "thumbs"} and "labels" in users:
        # A rating tells the right answer only where the answer was right.
        labelled = [c for c in told if users == {"labels"} or c.obtained.word != "rating"]
        return Weighing(even(seeds) | even(labelled) | inverse(drawn), ALIKE)
    if are_enough(list(filter(dataset.is_recent, drawn)), gate):
        summary = f"of {len(drawn)} drawn at random for review, and {len(seeds)} seed rows"
        return Weighing(even(seeds) | inverse(drawn), MeasuredOn(summary=summary))
    if feedback.silence_is_right and any(case.obtained.word == SILENCE for case in logged):
        settled = [case for case in logged if dataset.is_settled(case)]
        summary = "where nobody objected the answer counts as right, as feedback.profile declares"
        return Weighing(even(seeds) | even(settled), MeasuredOn(summary=summary))
    recent = [case for case in logged if dataset.is_recent(case)]
    return by_rates(seeds, recent, dataset) or unweighted(seeds, drawn, told, users)


def are_enough(cases: Sequence[Case], gate: Gate) -> bool:
    """Whether cases can be judged by themselves, in each protected slice too."""
    sizes = [sum(inside(case.slices, name) for case in cases) for name in gate.protected]
    return len(cases) >= gate.min_cases and all(size >= MIN_SLICE_CASES for size in sizes)


def even(cases: Sequence[Case]) -> dict[str, float]:
    return {case.id: 1.0 for case in cases}


def inverse(drawn: Sequence[Case]) -> dict[str, float]:
    """By 1 / propensity, of mean 1."""
    return scaled({case.id: 1 / (case.obtained.propensity or 1.0) for case in drawn})


def scaled(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight * len(weights) / total for name, weight in weights.items()}


def by_rates(seeds: Sequence[Case], recent: Sequence[Case], dataset: Dataset) -> Weighing | None:
    """Cases weighted so that as many of the answers that people heard were wrong as the review
    sample says; None where that or one of the two sorts is too few."""
    share = dataset.reviewed_wrong
    wrong = [case for case in recent if case.obtained.heard_right is False]
    right = [case for case in recent if case.obtained.heard_right is True]
    if share is None or dataset.reviewed < MIN_REVIEWS or min(len(wrong), len(right)) < MIN_STRATUM:
        return None
    low, high = wilson(share * dataset.reviewed, dataset.reviewed)
    half = 0.5 / dataset.reviewed  # of a review: where none was wrong, a few answers still are
    share = min(max(share, half), 1 - half)
    count = len(wrong) + len(right)
    weights = {case.id: share * count / len(wrong) for case in wrong}
    weights |= {case.id: (1 - share) * count / len(right) for case in right}
    summary = (
        f"weighted so that {share:.0%} of the answers heard were wrong, as of "
        f"{dataset.reviewed} drawn for review ({low:.0%} to {high:.0%})"
    )
    return Weighing(even(seeds) | weights, MeasuredOn(summary=summary))


def unweighted(
    seeds: Sequence[Case], drawn: Sequence[Case], told: Sequence[Case], users: AbstractSet[str]
) -> Weighing:
    """What is left where nothing tells how the cases stand for all answers. By a declared profile
    wrong answers get feedback more often than right ones, so that cases favour whoever is not the
    champion; those that are rated, and so were right, disfavour it, and are left out."""
    if users <= {"thumbs"}:
        summary = (
            f"insufficient evidence in {len(told)} answers with feedback, which are left out: they "
            "stand for no others"
        )
        return Weighing(even(seeds) | inverse(drawn), MeasuredOn(summary=summary))
    rated = {case.id for case in told if case.obtained.word == "rating" and "thumbs" in users}
    summary = (
        "insufficient evidence, since held-out cases are those that people complained about: "
        "accuracy is not that of traffic, and only harm that shows even so is judged"
    )
    kept = [case for case in (*seeds, *drawn, *told) if case.id not in rated]
    return Weighing(even(kept), MeasuredOn(is_representative=False, summary=summary))


def dataset(card: Mapping[str, Any] | None, feedback: Feedback) -> Dataset:
    """What a dataset card says; those of older releases say less."""
    if card is None:
        return Dataset()
    since, labels = card["split"]["recent_since"], card["labels"]
    return Dataset(
        since=ms(since) if since else 0,
        settled=ms(card["ends"]) - feedback.settled_ms,
        reviewed=labels.get("reviewed", 0),
        reviewed_wrong=labels.get("reviewed_wrong"),
    )


def ms(stamp: str) -> int:
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)
