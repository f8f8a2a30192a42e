"""Judges a challenger by what production says of it and of the champion. Pure.

*What is compared.* Feedback is a choice of those who give it, so the two versions are compared in
what does not hang on that choice:

    pairs   a label judges both answers. Only where people label any answer alike, and for the
            random review sample.
    told    bad outcomes per answer with feedback,
    heard   bad outcomes per answer that was heard: between the answers that chance gave to the one
            version and to the other, on requests that the two answer differently. Whatever makes
            people speak up, it is the same for both.

A person, or a request of nobody, counts once in each stage and slice, so that one who is loud has
one voice. Each stage is judged on its own answers; but pairs of earlier stages tell as much of who
is right as its own, and show with them that the challenger is not worse. Harm that begins later in
a stage is seen as well: from each of its days on, people are counted anew.

*Harm* takes a version back in any stage, at any look: an e-value (`e_values.harm`) that reaches the
threshold at which all questions together - stages, slices, metrics - are asked with a chance of
`harm_alpha` of taking back a version that harms nobody. Outcomes have half of it, slices and
metrics share the rest. Errors, which the routers count (`error_rates.py`), have `harm_alpha` of
their own.

*Going on* takes the soak and the samples of the stage. The last stage but one also has to show that
the challenger is not worse by `margin` (`e_values.not_worse`), by the users' or by the reviewers'
word, with a chance of `margin_alpha` of being wrong. Where few of those who hear a wrong answer say
so, even a bad version makes few more bad outcomes than the champion, and any margin is met. So what
users say of answers that they heard also has to show that it causes fewer than `max_ratio` times as
many (`e_values.in_proportion`): both have to be shown, so neither takes from the other's chance.
What was not shown within `max_days` is insufficient evidence, and the champion stays.

`bench/canary_judge.py` plays all of this on each way of giving feedback.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from driftgate.feedback_profiles import Counted
from driftgate.model_repo import ModelYaml, Rollout
from driftgate.slices import ALL
from services.promoter.e_values import Events, Units, harm_since, in_proportion, not_worse

OUTCOMES, REVIEW = "outcomes", "review"
"""What users say, and what reviewers say of the random sample."""

LEAST_EACH = 3
"""So many people have to have heard each of the two versions."""

Missing = tuple[str, str] | None
"""What is lacking to go on, as a word and for people."""

Result = Literal["promote", "hold", "roll back", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One question, with all that is known of it in this stage.

    Attributes:
        name: `outcomes`, `review`, or that of a metric.
        events: people whose answers went bad, or pairs in which one version alone was right.
        later: the same, from each later day of the stage on.
        units: people whose time to speak is over, by how much worse the new version did.
        bound: no unit has a larger number.
        fewest: people on the side of the version that fewer heard; None where each judges both.
    """

    name: str
    counted: Counted
    slice: str = ALL
    events: tuple[Events, ...] = ()
    units: tuple[Units, ...] = ()
    bound: float = 1.0
    fewest: int | None = None
    later: tuple[tuple[Events, ...], ...] = ()

    @property
    def known(self) -> int:
        """Samples."""
        return sum(unit.people for unit in self.units)

    @property
    def difference(self) -> float:
        """How many more bad outcomes an answer the new version has, as far as is known."""
        return sum(unit.value * unit.people for unit in self.units) / max(1, self.known)

    @property
    def usual(self) -> float:
        """How many bad outcomes an answer the old version has; of pairs it is not known."""
        return sum(unit.usual * unit.people for unit in self.units) / max(1, self.known)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the store knows of a stage.

    Attributes:
        both: requests that both versions answered; differ: of these, answered differently.
        behind: what the store lacks, in words; empty where it is up to date.
        pairs_since: from when on pairs are counted, ms; 0: from the beginning of the stage.
    """

    comparisons: tuple[Comparison, ...] = ()
    both: int = 0
    differ: int = 0
    behind: str = ""
    pairs_since: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """One question as it stands: e-values beside the thresholds that they have to reach."""

    name: str
    slice: str
    counted: Counted
    known: int
    fewest: int | None
    difference: float
    usual: float
    new: int
    old: int
    harm: float
    harm_at: float
    on_harm: Literal["roll_back", "warn"]
    not_worse: float | None
    not_worse_at: float | None

    @property
    def harms(self) -> bool:
        return self.harm >= self.harm_at

    @property
    def title(self) -> str:
        return self.name if self.slice == ALL else f"{self.name} ({self.slice})"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look says. reason: one word for the log. summary: for people. numbers: all that was
    compared."""

    result: Result
    reason: str
    summary: str
    numbers: dict[str, Any] = field(default_factory=dict)


def analyse(evidence: Evidence, days: float, place: int, repo: ModelYaml) -> Finding:
    """What becomes of a challenger that spent `days` in stage number `place`."""
    rules, stage = repo.rollout, repo.rollout.stages[place]
    found = looks(evidence, repo)
    known, what = samples(evidence, found, stage.percent > 0)
    numbers = told(evidence, found, days) | {
        "samples": known,
        "sampled": what,
        "soak_days": stage.soak,
        "max_days": rules.max_days,
        "min_samples": stage.min_samples,
        "margin": rules.margin,
        "max_ratio": rules.max_ratio,
    }
    missing = (
        soaking(days, stage.soak)
        or too_few(known, what, stage.min_samples)
        or (unproven(found, rules) if place == len(rules.stages) - 2 else None)
    )
    late = f"insufficient evidence in {rules.max_days:g} days" if days > rules.max_days else ""
    stop = harmed(found) or too_different(evidence, repo)
    return concluded(evidence, stop, missing, in_words(found, rules), late, numbers)


def watch(evidence: Evidence, days: float, repo: ModelYaml) -> Finding:
    """What becomes of a new champion; a part of the traffic still hears its predecessor."""
    rules, stage = repo.rollout, repo.rollout.stages[-1]
    found = looks(evidence, repo)
    known, what = samples(evidence, found, heard=True)
    numbers = told(evidence, found, days) | {
        "samples": known,
        "sampled": what,
        "watch_days": rules.watch_days,
        "max_days": rules.max_days,
        "min_samples": stage.min_samples,
    }
    watched = f"watched for {rules.watch_days:g} days"
    missing = (
        ("watch", watched) if days < rules.watch_days else too_few(known, what, stage.min_samples)
    )
    patience = rules.max_days if rules.hold_back else 0  # without one nothing more will be known
    late = "watched without enough evidence" if days >= rules.watch_days + patience else ""
    good = f"no harm shown: {in_words(found, None)}"
    return concluded(evidence, harmed(found), missing, good, late, numbers)


def concluded(
    evidence: Evidence, stop: str, missing: Missing, good: str, late: str, numbers: dict[str, Any]
) -> Finding:
    """What follows from what is known.

    Args:
        stop: why the version is taken back; good: what speaks for it; late: that it had its time.
            Empty where it is not so.
    """
    if stop:
        return Finding("roll back", "harm", stop, numbers)
    if evidence.behind:
        return Finding("hold", "behind", f"the store is behind: {evidence.behind}", numbers)
    if missing is None:
        return Finding("promote", "good", good, numbers)
    reason, summary = missing
    if late:
        return Finding("inconclusive", reason, f"{late}: {summary}", numbers)
    return Finding("hold", reason, summary, numbers)


def looks(evidence: Evidence, repo: ModelYaml) -> list[Look]:
    """Every question with its e-values and thresholds."""
    rules = repo.rollout
    streams = speaking(repo)
    primary = [c for c in evidence.comparisons if is_primary(c)]
    others = [c for c in evidence.comparisons if not is_primary(c)]
    metrics = {metric.name: metric for metric in rules.metrics}
    alpha = rules.harm_alpha / len(rules.stages)
    found = []
    for group, share in ((primary, 0.5 if others else 1.0), (others, 0.5 if primary else 1.0)):
        for one in group:
            metric = metrics.get(one.name)
            decides = one.name in streams and one.slice == ALL
            found.append(
                Look(
                    name=one.name,
                    slice=one.slice,
                    counted=one.counted,
                    known=one.known,
                    fewest=one.fewest,
                    difference=one.difference,
                    usual=one.usual,
                    new=sum(events.new for events in one.events),
                    old=sum(events.old for events in one.events),
                    harm=harm_of(one, metric.margin if metric else 0.0),
                    harm_at=len(group) / (alpha * share),
                    on_harm=metric.on_harm if metric else "roll_back",
                    not_worse=shown(one, rules) if decides else None,
                    not_worse_at=len(streams) / rules.margin_alpha if decides else None,
                )
            )
    return found


def speaking(repo: ModelYaml) -> tuple[str, ...]:
    """Whose word may show that a version is not worse."""
    users = (OUTCOMES,) if repo.feedback.counted else ()
    return (*users, REVIEW) if repo.review.share else users


def is_primary(comparison: Comparison) -> bool:
    return comparison.name in {OUTCOMES, REVIEW} and comparison.slice == ALL


def shown(one: Comparison, rules: Rollout) -> float:
    """The e-value against "worse by the margin, or by the ratio"."""
    e = not_worse(one.units, rules.margin, one.bound)
    if one.counted == "pairs" or rules.max_ratio is None:
        return e
    return float(np.minimum(e, in_proportion(one.units, rules.max_ratio, one.bound)))  # keeps NaN


def harm_of(one: Comparison, margin: float) -> float:
    return harm_since([tolerated(events, margin) for events in (one.events, *one.later)])


def tolerated(events: tuple[Events, ...], margin: float) -> list[Events]:
    """Events by the chance that they would have where the new version causes 1 + margin times as
    many: what is more than that is harm."""
    more = 1 + margin
    return [Events(more * p / (more * p + 1 - p), new, old) for p, new, old in events]


def harmed(found: list[Look]) -> str:
    """Where the challenger does harm, in words; empty where none is shown."""
    worst = [look for look in found if look.harms and look.on_harm == "roll_back"]
    return "; ".join(
        f"it is worse in {look.title}: {look.new} to blame, of the other {look.old}"
        for look in worst
    )


def too_different(evidence: Evidence, repo: ModelYaml) -> str:
    """Whether the two disagree more often than is allowed. Nobody's word is needed for that."""
    limit = repo.rollout.max_disagreement
    if limit is None or not evidence.both:
        return ""
    same = evidence.both - evidence.differ
    e = not_worse([Units(-1.0, evidence.differ), Units(0.0, same)], -limit, 0.0)
    alpha = repo.rollout.harm_alpha / len(repo.rollout.stages)
    told = f"it answers {evidence.differ} of {evidence.both} requests otherwise"
    return f"{told}, allowed are {limit:g}" if e >= 1 / alpha else ""


def soaking(days: float, soak: float) -> Missing:
    return ("soak", f"{days:.3g} of {soak:g} days passed") if days < soak else None


def samples(evidence: Evidence, found: list[Look], heard: bool) -> tuple[int, str]:
    """How many samples of a stage are known, and what they are. Before anybody hears the
    challenger, nobody can say anything of it, but where labels judge both answers."""
    asked = deciding(found)
    if heard or any(look.name == OUTCOMES and look.counted == "pairs" for look in asked):
        numbers = (look.known for look in asked if sound(look))
        return max(numbers, default=0), "samples"
    return evidence.both, "requests answered by both"


def deciding(found: list[Look]) -> list[Look]:
    """The questions that may show that a version is not worse."""
    return [look for look in found if look.not_worse is not None]


def sound(look: Look) -> bool:
    """Whether a question has an answer: numbers, and somebody on either side."""
    both = look.fewest is None or look.fewest >= LEAST_EACH
    return both and math.isfinite(look.difference)


def too_few(known: int, what: str, wanted: int) -> Missing:
    return ("samples", f"{known} of {wanted} {what} are known") if known < wanted else None


def unproven(found: list[Look], rules: Rollout) -> Missing:
    """What nobody's word has shown yet."""
    asked = deciding(found)
    if any(map(proven, asked)):
        return None
    told = "; ".join(
        f"{look.title} {look.difference:+.3f} over {look.known}, evidence {look.not_worse:.3g} of "
        f"{look.not_worse_at:g}"
        for look in asked
    )
    lacking = f"not yet shown that it is {promise(asked, rules)}: {told or 'no feedback'}"
    return "unproven", lacking


def promise(asked: list[Look], rules: Rollout) -> str:
    """What has to be shown."""
    ratio = rules.max_ratio if any(look.counted != "pairs" for look in asked) else None
    return f"not worse by {rules.margin:g}" + (f" nor {ratio:g} times as bad" if ratio else "")


def proven(look: Look) -> bool:
    """Also false for NaN."""
    if look.not_worse is None or look.not_worse_at is None:
        return False
    return look.not_worse >= look.not_worse_at


def in_words(found: list[Look], rules: Rollout | None) -> str:
    """What speaks for a version."""
    asked = [look for look in deciding(found) if look.known]
    told = [f"{look.title} {look.difference:+.3f} over {look.known} samples" for look in asked]
    if rules is not None and any(map(proven, asked)):
        told.insert(0, promise(asked, rules))
    return "; ".join(told) or "nobody was asked yet"


def told(evidence: Evidence, found: list[Look], days: float) -> dict[str, Any]:
    """For the audit."""
    return {
        "days": days,
        "pairs_since": evidence.pairs_since,
        "both": evidence.both,
        "differ": evidence.differ,
        "looks": [asdict(look) for look in found],
        "warnings": [look.title for look in found if look.harms and look.on_harm == "warn"],
    }
