"""Whether the stages of a rollout can ever show what they are to show. Pure.

A rollout that cannot go on, whatever the new version is worth, ends each time as "insufficient
evidence": the owner hears of it weeks later, from a good version that was given up. So the
declaration is refused while it is written. Model repos that are stored already go on as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from driftgate.buckets import BUCKETS

if TYPE_CHECKING:
    from driftgate.model_repo import ModelYaml

LEAST_PERCENT = 100 / BUCKETS


class Problem(NamedTuple):
    """A value by which something can never be shown.

    Attributes:
        place: keys of model.yaml from the top.
        expected: what would do, for people.
    """

    place: tuple[str | int, ...]
    value: Any
    expected: str


def problems(repo: ModelYaml) -> Iterator[Problem]:
    """Why no version can show what the rules of a model repo ask for; nothing if one can."""
    rules = repo.rollout
    if len(rules.stages) == 1:  # all traffic at once, which asks for no evidence
        return
    yield from unheard_percents(repo)
    yield from stages_too_long(repo)
    if not rules.shadow_share:
        expected = (
            "more than 0: versions are compared on requests that both answered, and these are none"
        )
        yield Problem(("rollout", "shadow_share"), rules.shadow_share, expected)
    yield from nobody_to_prove(repo)


def unheard_percents(repo: ModelYaml) -> Iterator[Problem]:
    """Weights are ten-thousandths: below one of them nobody hears a version, or everybody does."""
    why = "people are dealt out so finely"
    expected = f"0, or from {LEAST_PERCENT:g} to {100 - LEAST_PERCENT:g}, or 100: {why}"
    for place, stage in enumerate(repo.rollout.stages):
        if 0 < stage.percent < 100 and weight(stage.percent) in {0, BUCKETS}:
            yield Problem(("rollout", "stages", place, "percent"), stage.percent, expected)
    kept = repo.rollout.hold_back
    if kept and not weight(kept):
        expected = f"0, or at least {LEAST_PERCENT:g}: {why}"
        yield Problem(("rollout", "hold_back"), kept, expected)


def weight(percent: float) -> int:
    """As routing deals it out."""
    return round(percent * BUCKETS / 100)


def stages_too_long(repo: ModelYaml) -> Iterator[Problem]:
    """A stage that is given up before its soak is over. The last one lasts `watch_days`."""
    longest = repo.rollout.max_days
    for place, stage in enumerate(repo.rollout.stages[:-1]):
        if stage.soak > longest:
            expected = f"at most `rollout.max_days`, {longest:g} days: a stage is given up then"
            yield Problem(("rollout", "stages", place, "soak"), stage.soak, expected)


def nobody_to_prove(repo: ModelYaml) -> Iterator[Problem]:
    """The last stage before full traffic has to show that a version is not worse by the margin, by
    what reviewers say, or users."""
    rules, feedback = repo.rollout, repo.feedback
    if repo.review.share or feedback.counted == "pairs":
        return  # said of what nobody heard, too
    place, last = len(rules.stages) - 2, rules.stages[-2]
    if not last.percent:
        expected = (
            f"above 0: the last stage before 100 % has to show that a version is not worse, and "
            f"under the feedback profile {feedback.profile} only who hears a version says anything "
            f"of it. Add a stage such as {{name: half, percent: 50}} after this one, or a review "
            f"sample: `review.share`, and review in `feedback.profile`"
        )
        yield Problem(("rollout", "stages", place, "percent"), last.percent, expected)
    elif feedback.counted == "heard" and rules.max_days * 24 <= feedback.settled_hours:
        expected = (
            f"more days than the {feedback.settled_hours:g} hours of `feedback.settled_hours`, and "
            f"one more where requests have a subject: before, nobody's silence counts, and a stage "
            f"is given up without a sample"
        )
        yield Problem(("rollout", "max_days"), rules.max_days, expected)
