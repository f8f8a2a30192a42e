"""Whether two reviewers say the same of one request."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from driftgate.review.queue import Words, answer_of

Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, slots=True)
class Twice:
    """What the first two reviewers said of a request, by their names in order. instructions: the
    version that both followed, or both versions."""

    reviewers: tuple[str, str]
    labels: tuple[str, str]
    instructions: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of requests that two reviewers labelled.

    Attributes:
        same: how many got the same label twice.
        kappa: Cohen's: 1 always the same, 0 as often as by chance. None where chance alone would
            agree each time, as with a single label.
        low, high: its 95 % interval.
    """

    requests: int
    same: int
    kappa: float | None
    low: float | None
    high: float | None


def doubly_reviewed(said: Iterable[Words]) -> list[Twice]:
    """Requests of the random sample that at least two reviewers labelled."""
    found = []
    for own in said:
        labels = [
            (word.reviewer or "", answer, word.instructions or "")
            for word in own.values()
            if word.picked is None and (answer := answer_of(word)) is not None
        ]
        if len(labels) >= 2:
            (a, first, by), (b, second, other) = sorted(labels[:2])
            versions = by if by == other else " and ".join(sorted((by, other)))
            found.append(Twice((a, b), (first, second), versions))
    return found


def by_instructions(found: Iterable[Twice]) -> dict[str, Agreement]:
    return grouped((one.instructions, one.labels) for one in found)


def by_reviewers(found: Iterable[Twice]) -> dict[str, Agreement]:
    return grouped((" and ".join(one.reviewers), one.labels) for one in found)


def grouped(pairs: Iterable[tuple[str, tuple[str, str]]]) -> dict[str, Agreement]:
    groups: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, labels in pairs:
        groups[name].append(labels)
    return {name: agreement(groups[name]) for name in sorted(groups)}


def agreement(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """Share of the same labels and Cohen's kappa (1960, https://doi.org/10.1177/001316446002000104),
    with the large-sample standard error of Fleiss, Cohen and Everitt (1969,
    https://doi.org/10.1037/h0028106). Below some 30 pairs its interval is too narrow.
    """
    n = len(pairs)
    same = sum(a == b for a, b in pairs)
    rows, columns = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    by_chance = sum(rows[label] * columns[label] for label in rows) / n**2 if n else 1.0
    if by_chance == 1:
        return Agreement(n, same, None, None, None)
    observed = same / n
    kappa = (observed - by_chance) / (1 - by_chance)
    error = standard_error(Counter(pairs), rows, columns, kappa, by_chance)
    low, high = max(-1.0, kappa - Z * error), min(1.0, kappa + Z * error)
    return Agreement(n, same, kappa, low, high)


def standard_error(
    cells: Mapping[tuple[str, str], int],
    rows: Mapping[str, int],
    columns: Mapping[str, int],
    kappa: float,
    by_chance: float,
) -> float:
    """Of kappa: the square root of (A + B - C) / (n (1 - p_e)²), in the words of Fleiss (1981)."""
    n = sum(cells.values())
    off = 1 - kappa
    agreed = sum(
        count / n * (1 - (rows[a] + columns[a]) / n * off) ** 2
        for (a, b), count in cells.items()
        if a == b
    )
    differed = sum(
        count / n * ((columns.get(a, 0) + rows.get(b, 0)) / n) ** 2
        for (a, b), count in cells.items()
        if a != b
    )
    rest = (kappa - by_chance * off) ** 2
    return math.sqrt(max(0.0, agreed + off**2 * differed - rest) / n) / (1 - by_chance)
