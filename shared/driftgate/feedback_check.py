"""Whether people give feedback as model.yaml declares it. Pure.

Answers that are old enough for feedback (`feedback.settled_hours`) are looked at:

correctness  Do wrong answers get feedback more often than right ones? The review sample knows which
             are wrong, whatever users said.
confidence   Do answers of low confidence get it more often? Known without reviewers, and unsure
             answers are wrong more often.
feedback     Do users say anything at all?
people       Is the feedback that of a few people?
silence      Where silence is declared to mean right: how often do reviewers call a silent answer
             wrong?
kinds        Is there feedback of kinds that no declared profile has?
confirmations  Do people confirm right answers, where they are said to correct wrong ones alone?
one-sided    Does nearly all feedback say one thing, where any answer should get it alike?
late         Does much of it come after the time that is waited for?

Rows of one person are alike, so tests count people: of the few reviewed answers one a person is
taken, by Fisher's exact test; of all answers a score test of covariance has one term a person,
however many rows are theirs (cluster-robust: Liang and Zeger 1986,
https://doi.org/10.1093/biomet/73.1.13), by Student's t with as many degrees of freedom as these
terms are worth. `LEVEL` is strict since this is asked every day. A difference that is significant
and smaller than `MATERIAL` is not told either.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scipy import stats

from driftgate.feedback_profiles import Profile, counted, silence_is_right
from driftgate.shares import wilson

LEVEL = 0.002
MATERIAL = 1.25
"""Feedback on right answers has to be so many times rarer or more frequent than on wrong ones."""

MIN_ANSWERS = 100
SILENT_ANSWERS = 1000
"""Where nobody says a word on so many, fewer than 0.3 % get one (95 %): nothing follows from it."""

MIN_TOLD = 30
MIN_EACH = 10
"""So many people have to have got a wrong answer that was reviewed, and as many a right one."""

MIN_PEOPLE = 30
"""Equally loud people, below which a few of them decide what the feedback says."""

SILENT_WRONG = 0.1
"""More silent answers than this are wrong: too many to be learned from as right ones."""

OTHER_KINDS = 0.05
LATE = 0.1
RIGHT_AT_LEAST = 0.1
"""Nobody serves a model that is right less often: feedback that says so is on wrong ones alone."""

CONFIRMED = 0.05

KINDS: Mapping[Profile, frozenset[str]] = {
    "labels": frozenset({"correction"}),
    "complaints": frozenset({"correction", "rating", "edit"}),
    "corrections": frozenset({"correction"}),
    "thumbs": frozenset({"rating"}),
    "edits": frozenset({"edit"}),
    "review": frozenset(),
}
PROFILE_OF: Mapping[str, Profile] = {
    "rating": "thumbs",
    "edit": "edits",
    "correction": "complaints",
}
HEARD = (
    "under `complaints` bad outcomes are counted per answer that was heard, which holds whatever "
    "people's choice hangs on"
)

Verdict = Literal["as declared", "against", "not enough", "seen"]


@dataclass(frozen=True, slots=True)
class Group:
    """Answers of one person, or of several always the same. told: how many got feedback. x: sum of
    what feedback may hang on. told_x: the same of those with feedback."""

    answers: int
    told: int
    x: float
    told_x: float


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A drawn answer on which reviewers said whether it was right. person: whose request it was."""

    person: str
    right: bool
    told: bool


@dataclass(frozen=True, slots=True)
class Third:
    """Answers of the lowest or highest third by confidence."""

    answers: int
    told: int


@dataclass(frozen=True, slots=True)
class People:
    """Who gave feedback.

    Attributes:
        count: people, as far as apps said whose requests they are.
        told: answers that they gave feedback on; squares: the sum over people of that, squared.
        top_ten, top_hundredth: of `told` by the ten, and by one of a hundred, who gave most.
    """

    count: int = 0
    told: int = 0
    squares: int = 0
    top_ten: int = 0
    top_hundredth: int = 0

    @property
    def effective(self) -> float:
        """So many equally loud people are worth as much (Kish: (Σn)²/Σn²)."""
        return self.told**2 / self.squares if self.squares else 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the store holds of live answers that are old enough.

    Attributes:
        told: answers that got feedback of users in time. late: those that got it later only.
        right, wrong: what the last word on them says; what is left says neither.
        kinds: answers by kind of feedback; one may have several.
        confirmed: answers whose correction gives the label that was answered.
        by_confidence: people with the sums of their answers' confidence.
        low, high: thirds by confidence.
        reviewed: in an order that hangs neither on what is right nor on feedback.
    """

    answers: int = 0
    told: int = 0
    late: int = 0
    right: int = 0
    wrong: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    confirmed: int = 0
    people: People = field(default_factory=People)
    by_confidence: Sequence[Group] = ()
    low: Third = Third(0, 0)
    high: Third = Third(0, 0)
    reviewed: Sequence[Reviewed] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        saw: in words, with numbers. means: for what is decided by it; empty where nothing follows.
        instead: what to declare; empty where the declaration holds.
    """

    about: str
    verdict: Verdict
    saw: str
    means: str = ""
    instead: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def check(declared: Sequence[Profile], seen: Seen) -> list[Finding]:
    """All that can be said of a declaration; findings with verdict `against` are warnings."""
    if seen.answers < MIN_ANSWERS:
        saw = f"{seen.answers:,} answers are old enough, {MIN_ANSWERS} are needed"
        return [Finding("answers", "not enough", saw)]
    users = [profile for profile in declared if profile != "review"]
    found = [kinds(users, seen)]
    if not users:
        return found
    if seen.told + seen.late >= MIN_TOLD:
        found.append(late(seen))
    if seen.told < MIN_TOLD:
        return [*found, feedback(seen)]
    more_reviews = (
        "a larger `review.share`" if "review" in declared else "add review with a `review.share`"
    )
    found += [correctness(users, seen), confidence(users, seen), people(seen, more_reviews)]
    if silence_is_right(declared):
        found.append(silence(seen, more_reviews))
    if counted(users) != "heard":
        found.append(one_sided(users, seen))
    if "corrections" in users and not {"labels", "complaints"} & set(users):
        found.append(confirmations(seen))
    return found


def warnings(findings: Iterable[Finding]) -> Iterator[Finding]:
    return (one for one in findings if one.verdict == "against")


def feedback(seen: Seen) -> Finding:
    """Of users who say too little, or nothing at all."""
    saw = f"{seen.told:,} of {seen.answers:,} answers got feedback, {MIN_TOLD} are needed"
    if seen.told or seen.late or seen.answers < SILENT_ANSWERS:
        return Finding("feedback", "not enough", saw)
    means = "nothing is learned from users, and where silence is taken for right all answers are"
    wanted = "look whether the app sends it; where no user speaks, declare review alone"
    return Finding("feedback", "against", saw, means, wanted)


# ---------------------------------------------------------------- what feedback hangs on


def correctness(users: Collection[Profile], seen: Seen) -> Finding:
    people = one_each(seen.reviewed)
    wrong = [one.told for one in people if not one.right]
    right = [one.told for one in people if one.right]
    if min(len(wrong), len(right)) < MIN_EACH:
        saw = (
            f"one answer a person, reviewers called {len(wrong)} wrong and {len(right)} right, "
            f"{MIN_EACH} of each are needed"
        )
        return Finding("correctness", "not enough", saw)
    table = [[sum(told), len(told) - sum(told)] for told in (wrong, right)]
    p = float(stats.fisher_exact(table).pvalue)
    on_wrong, on_right = sum(wrong) / len(wrong), sum(right) / len(right)
    saw = (
        f"{on_wrong:.0%} of {len(wrong)} wrong and {on_right:.0%} of {len(right)} right answers "
        f"got feedback, by the review sample, one answer a person (p {p:.2g})"
    )
    numbers = {"on_wrong": on_wrong, "on_right": on_right, "p": p}
    return hanging("correctness", users, saw, on_wrong, on_right, numbers)


def confidence(users: Collection[Profile], seen: Seen) -> Finding:
    if not seen.by_confidence or min(seen.low.answers, seen.high.answers) < MIN_ANSWERS / 3:
        return Finding("confidence", "not enough", "too few answers have a confidence")
    p = dependence(seen.by_confidence)
    low, high = seen.low.told / seen.low.answers, seen.high.told / seen.high.answers
    saw = (
        f"{low:.1%} of the third with the lowest confidence got feedback, {high:.1%} of the third "
        f"with the highest (p {p:.2g})"
    )
    numbers = {"on_low": low, "on_high": high, "p": p}
    return hanging("confidence", users, saw, low, high, numbers)


def hanging(
    about: str,
    users: Collection[Profile],
    saw: str,
    bad: float,
    good: float,
    numbers: Mapping[str, float],
) -> Finding:
    """What a difference says: `bad` of the worse answers and `good` of the better got feedback."""
    apart = numbers["p"] < LEVEL and max(bad, good) >= MATERIAL * min(bad, good)
    if not apart or counted(users) == "heard":
        return Finding(about, "seen" if apart else "as declared", saw, numbers=numbers)
    means = (
        "errors are overstated, and pairs of versions favour the one that was not heard"
        if bad > good
        else "errors are understated"
    )
    wanted = f"declare complaints instead of {' and '.join(sorted(users))}: {HEARD}"
    return Finding(about, "against", saw, f"measured on feedback, {means}", wanted, numbers)


def one_each(reviewed: Iterable[Reviewed]) -> list[Reviewed]:
    """The first answer of each person."""
    first: dict[str, Reviewed] = {}
    for one in reviewed:
        first.setdefault(one.person, one)
    return list(first.values())


def dependence(groups: Sequence[Group]) -> float:
    """P-value, two-sided, of "whether an answer gets feedback does not vary with x". Each person
    adds one term to the covariance; the sum of their squares is its variance, also where answers of
    one person are alike."""
    answers = sum(group.answers for group in groups)
    if not answers:
        return 1.0
    rate = sum(group.told for group in groups) / answers
    mean = sum(group.x for group in groups) / answers
    terms = [
        group.told_x - mean * group.told - rate * group.x + group.answers * rate * mean
        for group in groups
    ]
    squares = math.fsum(term**2 for term in terms)
    fourth = math.fsum(term**4 for term in terms)
    if not fourth:
        return 1.0
    freedom = squares**2 / fourth - 1
    if freedom < 1:
        return 1.0
    return float(2 * stats.t.sf(abs(math.fsum(terms)) / math.sqrt(squares), freedom))


# ---------------------------------------------------------------- whose it is, and what it says


def people(seen: Seen, more_reviews: str) -> Finding:
    given = seen.people
    if given.told < MIN_ANSWERS:
        saw = "apps say whose request it was for too few answers with feedback"
        return Finding("people", "not enough", saw)
    saw = (
        f"{given.count:,} people gave feedback; {given.top_ten / given.told:.0%} of it is by ten "
        f"of them, {given.top_hundredth / given.told:.0%} by one of a hundred; it weighs as that "
        f"of {given.effective:.0f} equally loud ones"
    )
    numbers = {
        "people": given.count,
        "effective": given.effective,
        "top_ten": given.top_ten / given.told,
        "top_hundredth": given.top_hundredth / given.told,
    }
    if given.effective >= MIN_PEOPLE:
        return Finding("people", "as declared", saw, numbers=numbers)
    means = "it stands for these few; a change of one of them looks like one of the model"
    wanted = f"no profile mends this: {more_reviews}, since that sample is of all answers"
    return Finding("people", "against", saw, means, wanted, numbers)


def silence(seen: Seen, more_reviews: str) -> Finding:
    people = one_each(seen.reviewed)
    silent = [one for one in people if not one.told]
    wrong = [one for one in people if not one.right]
    if len(silent) < MIN_TOLD:
        saw = f"{len(silent)} silent answers were reviewed, {MIN_TOLD} are needed"
        means = "that silence means right is an assumption that nothing here tests"
        return Finding("silence", "not enough", saw, means, more_reviews)
    missed = sum(not one.right for one in silent)
    low, high = wilson(missed, len(silent))
    most_unheard = len(wrong) >= MIN_EACH and wilson(missed, len(wrong))[0] > 0.5
    saw = (
        f"reviewers call {missed} of {len(silent)} silent answers wrong "
        f"({100 * low:.1f}–{100 * high:.1f} %), and {len(wrong) - missed} with a word"
    )
    numbers = {"silent_wrong": missed / len(silent), "low": low, "high": high}
    if low <= SILENT_WRONG and not most_unheard:
        return Finding("silence", "as declared", saw, numbers=numbers)
    means = "right answers are learned from that are wrong, and errors are understated"
    wanted = f"declare complaints, so that silence says nothing: {HEARD}"
    return Finding("silence", "against", saw, means, wanted, numbers)


def one_sided(users: Collection[Profile], seen: Seen) -> Finding:
    """Any answer gets a word alike, so the share of right ones is that of the model."""
    judged = seen.right + seen.wrong
    if judged < MIN_TOLD:
        return Finding("one-sided", "not enough", f"{judged} words say right or wrong")
    low, high = wilson(seen.right, judged)
    saw = f"{seen.right / judged:.0%} of {judged:,} words say that the answer was right"
    numbers = {"right": seen.right / judged, "low": low, "high": high}
    if high >= RIGHT_AT_LEAST:
        return Finding("one-sided", "as declared", saw, numbers=numbers)
    means = "wrong answers alone get feedback, by which the model would nearly always be wrong"
    silent = "" if "thumbs" in users else "corrections if silence means right, else "
    wanted = f"declare {silent}complaints: {HEARD}"
    return Finding("one-sided", "against", saw, means, wanted, numbers)


def confirmations(seen: Seen) -> Finding:
    """Who corrects wrong answers alone confirms none."""
    corrected = seen.kinds.get("correction", 0)
    if corrected < MIN_TOLD:
        return Finding("confirmations", "not enough", f"{corrected} answers got a correction")
    low, high = wilson(seen.confirmed, corrected)
    saw = f"{seen.confirmed / corrected:.0%} of {corrected:,} corrections give the answered label"
    numbers = {"confirmed": seen.confirmed / corrected, "low": low, "high": high}
    if low <= CONFIRMED:
        return Finding("confirmations", "as declared", saw, numbers=numbers)
    means = "some people confirm right answers, so an answer without a word is not like one"
    wanted = "declare labels if any answer gets its label alike, else complaints"
    return Finding("confirmations", "against", saw, means, wanted, numbers)


def kinds(users: Collection[Profile], seen: Seen) -> Finding:
    """Feedback of kinds that nobody declared is read under a profile that was not meant for it."""
    expected = frozenset().union(*(KINDS[profile] for profile in users))
    total = sum(seen.kinds.values())
    shares = ", ".join(
        f"{kind} on {count / seen.answers:.1%}"
        for kind, count in sorted(seen.kinds.items())
        if count
    )
    saw = f"of {seen.answers:,} answers: {shares or 'no feedback of users'}"
    bar = max(MIN_TOLD, OTHER_KINDS * total)
    others = [
        kind for kind, count in sorted(seen.kinds.items()) if kind not in expected and count >= bar
    ]
    numbers = {kind: count / seen.answers for kind, count in seen.kinds.items()}
    if not others:
        return Finding("kinds", "as declared", saw, numbers=numbers)
    means = f"{' and '.join(others)} is read as the declared profiles say, which have none"
    wanted = f"add {' and '.join(PROFILE_OF[kind] for kind in others)} to the profile"
    return Finding("kinds", "against", saw, means, wanted, numbers)


def late(seen: Seen) -> Finding:
    total = seen.told + seen.late
    low, _ = wilson(seen.late, total)
    saw = f"{seen.late / total:.0%} of the answers with feedback got it after `settled_hours` only"
    numbers = {"late": seen.late / total}
    if low <= LATE:
        return Finding("late", "as declared", saw, numbers=numbers)
    means = "answers count as silent whose feedback is on its way"
    return Finding("late", "against", saw, means, "a larger `feedback.settled_hours`", numbers)
