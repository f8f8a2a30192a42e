"""Which of the numbers that were told of answers say how good one was. Pure.

A number says so by its name and scale, as the user gives them, `helpful=1..5`. Where nothing is
given, the only name whose numbers are all 0 or 1 is taken, such as thumbs. What another model
judged is never taken: a judge decides nothing. All other numbers are metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from driftgate.errors import BadConfig, nearest
from driftgate.imports.history import Word
from driftgate.labelled.findings import Findings
from driftgate.labelled.pairs import LeftOut

NONE = "none"
NO_NUMBER = "its {} is no number"


@dataclass(frozen=True, slots=True)
class Score:
    """A number by its name, of one answer.

    by_model: whether a model gave it.
    """

    id: str
    answer: str
    name: str
    value: float
    place: str
    time: int | None = None
    reason: str | None = None
    by_model: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """What the worst and the best answer have; `worst` may be the larger one."""

    worst: float = 0.0
    best: float = 1.0

    def rating(self, name: str, value: float) -> float:
        """
        Raises:
            LeftOut: the value is not on the scale, or no number.
        """
        found = (value - self.worst) / (self.best - self.worst)
        if not 0 <= found <= 1:
            raise LeftOut(f"its score {name!r} is not from {self.worst:g} to {self.best:g}")
        return found


def number(value: Any, what: str = "score") -> float:
    """Of a number, a truth value, or a text that is one. what: for the cause.

    Raises:
        LeftOut
    """
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return float(value.lower() == "true")
    try:
        found = float(value)
    except (ValueError, TypeError, OverflowError):
        raise LeftOut(NO_NUMBER.format(what)) from None
    if not isfinite(found):
        raise LeftOut(NO_NUMBER.format(what))
    return found


def scales(asked: Sequence[str]) -> dict[str, Scale]:
    """Of `NAME` or `NAME=WORST..BEST`.

    Raises:
        BadConfig
    """
    return dict(scale_of(one) for one in asked if one != NONE)


def scale_of(asked: str) -> tuple[str, Scale]:
    name, divided, bounds = asked.rpartition("=")
    if not divided:
        return asked, Scale()
    worst, _, best = bounds.partition("..")
    try:
        found = Scale(float(worst), float(best))
    except ValueError:
        found = Scale(0, 0)
    if found.worst == found.best or not name:
        raise BadConfig(f"--rating {asked}: expected NAME or NAME=WORST..BEST, such as stars=1..5")
    return name, found


def words(scores: Sequence[Score], asked: Sequence[str], findings: Findings) -> list[Word]:
    """Ratings and metrics.

    Raises:
        BadConfig: a score that was asked for by name is none of these.
    """
    names = list(dict.fromkeys(score.name for score in scores))
    by_people = [score for score in scores if not score.by_model]
    chosen = scales(asked) if asked else {name: Scale() for name in thumbs(by_people)}
    for name in chosen:
        if name not in names:
            hint = nearest(name, names) if names else "there is none"
            raise BadConfig(f"--rating {name}: no score has this name; {hint}")
    findings.notes += notes(names, chosen, scores)
    return list(each(scores, chosen, findings))


def each(
    scores: Iterable[Score], chosen: Mapping[str, Scale], findings: Findings
) -> Iterator[Word]:
    for score in scores:
        rating = None
        if score.name in chosen and not score.by_model:
            try:
                rating = chosen[score.name].rating(score.name, score.value)
            except LeftOut as cause:
                findings.leave_out(str(cause), score.place)
                continue
        yield Word(
            score.id,
            score.answer,
            score.place,
            score.time,
            rating=rating,
            metric=score.name if rating is None else None,
            value=score.value if rating is None else None,
            reason=score.reason,
        )


def thumbs(scores: Sequence[Score]) -> list[str]:
    """The name whose numbers are all 0 or 1, if it is the only one."""
    values: dict[str, set[float]] = {}
    for score in scores:
        values.setdefault(score.name, set()).add(score.value)
    found = [name for name, own in values.items() if own <= {0.0, 1.0}]
    return found if len(found) == 1 else []


def notes(
    names: Sequence[str], chosen: Mapping[str, Scale], scores: Sequence[Score]
) -> Iterator[str]:
    for name, scale in chosen.items():
        yield f"score {name!r} says how good an answer was, from {scale.worst:g} to {scale.best:g}"
    others = [name for name in names if name not in chosen]
    if others:
        yield f"scores kept as metrics: {', '.join(others)}; --rating NAME says how good one was"
    judged = {score.name for score in scores if score.by_model} & chosen.keys()
    if judged:
        yield f"what a model judged stays a metric: {', '.join(sorted(judged))}"
