"""Which versions were taken back although they were not worse, by the world's own labels. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from driftgate.events import DAY_MS
from services.simulator.scoring import Truth

Answer = Mapping[str, Any]


def compared(inputs: str) -> tuple[int, int | None]:
    """The version that a decision of the promoter took back, and the one that it was held against,
    from the inputs of the decision."""
    state = json.loads(inputs)["state"]
    if state["challenger"] is not None:
        return state["challenger"], state["champion"]
    return state["champion"], state["previous"]


def lead(
    tried: int, other: int | None, answers: Iterable[Answer], truths: Mapping[str, Truth]
) -> float:
    """How much better a version was than another: answers that it alone got right, less those that
    the other alone got right. Where no request was answered by both, as in a watch without shadows,
    the difference in accuracy of each day on which both answered, times the answers of the one that
    gave fewer."""
    by_request: dict[str, dict[int, bool]] = defaultdict(dict)
    by_day: dict[int, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        truth = truths.get(answer["request_id"])
        if truth is None or answer["version"] not in {tried, other}:
            continue
        right = answer["output"] == truth.target
        by_request[answer["request_id"]][answer["version"]] = right
        by_day[answer["ms"] // DAY_MS][answer["version"]].append(right)
    pairs = [by for by in by_request.values() if len(by) == 2]
    if pairs:
        return float(sum(by[tried] - by[other] for by in pairs))
    days = [(by[tried], by[other]) for by in by_day.values() if len(by) == 2]
    return sum(min(len(new), len(old)) * (mean(new) - mean(old)) for new, old in days)


def mean(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def wrong(inputs: str, answers: Iterable[Answer], truths: Mapping[str, Truth]) -> bool:
    """Whether a version was taken back, by a decision of these inputs, that was not worse."""
    return lead(*compared(inputs), answers, truths) >= 0
