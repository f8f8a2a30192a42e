"""One edit, followed to the release that learned it: request → dataset row → dataset card →
version. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from driftgate.artifacts import Artifacts
from driftgate.events import DAY_MS
from driftgate.store import Store
from services.simulator.facts import Facts

TRAIN, CARD = "train.jsonl", "card.json"
STEPS = ("waiting for a request", "training", "evaluation", "rollout")

EDITS = """
SELECT request_id, version, input, output, edited, changed,
    toUnixTimestamp64Milli(answered_at) AS answered, toUnixTimestamp64Milli(edited_at) AS edited_at
FROM training_pairs
WHERE model = {model:String} AND edit_distance > 0
ORDER BY answered_at, request_id
"""


@dataclass(frozen=True, slots=True)
class Followed:
    """An edit and what became of it; times in ms.

    Attributes:
        answered_by: the version whose answer was edited.
        changed: fields of JSON that the edit changed, and what became of each.
        dataset: id of the dataset in which the edit is a row, under the request's id.
        card: its card, as a URI.
        version: that learned the dataset, and `live`: since when it has had all traffic.
        asked, trained, judged: when the version was asked for, was there, and had its verdict.
    """

    request_id: str
    answered_by: int
    input: str
    output: str
    edited: str
    changed: Mapping[str, str]
    answered: int
    edited_at: int
    dataset: str
    card: str
    version: int
    asked: int
    trained: int
    judged: int
    live: int

    @property
    def days(self) -> float:
        """From the edit to the release."""
        return (self.live - self.edited_at) / DAY_MS

    @property
    def shares(self) -> dict[str, float]:
        """Of these days, the part that each step took, 0..1."""
        moments = (self.edited_at, self.asked, self.trained, self.judged, self.live)
        took = [later - earlier for earlier, later in pairwise(moments)]
        return {step: time / sum(took) for step, time in zip(STEPS, took, strict=True)}


def followed(facts: Facts, store: Store, artifacts: Artifacts, model: str) -> Followed | None:
    """The first edit that a version at full traffic had learned as it was said; None where there is
    none."""
    edits = store.query(EDITS, model=model)
    for candidate, live in releases(facts):
        listing: dict[str, str] = artifacts.get_json(candidate["dataset_uri"])
        if (edit := learned(edits, rows(artifacts.get(listing[TRAIN])))) is None:
            continue
        return Followed(
            edit["request_id"],
            edit["version"],
            edit["input"],
            edit["output"],
            edit["edited"],
            dict(edit["changed"]),
            edit["answered"],
            edit["edited_at"],
            artifacts.get_json(listing[CARD])["id"],
            listing[CARD],
            candidate["version"],
            *milestones(facts, candidate),
            live,
        )
    return None


def releases(facts: Facts) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Versions that came to full traffic, in their order: the candidate, and since when (ms)."""
    candidates = {one["version"]: one for one in facts.candidates}
    since: dict[int, int] = {}
    for rollout in facts.rollouts:
        if rollout["champion"] is not None:
            since.setdefault(rollout["champion"], rollout["ms"])
    for version, live in since.items():
        if version in candidates:
            yield candidates[version], live


def milestones(facts: Facts, candidate: Mapping[str, Any]) -> tuple[int, int, int]:
    """When a version was asked for, was there, and had its verdict, ms."""
    trained: int = candidate["ms"]
    request, verdict = facts.request(candidate["retrain_id"]), facts.verdict(candidate["version"])
    return (
        request["ms"] if request else trained,
        trained,
        verdict["ms"] if verdict else trained,
    )


def rows(train: bytes) -> dict[str, str]:
    """The target of each row, by its id."""
    found = (json.loads(line) for line in train.decode().split("\n") if line)
    return {row["id"]: row["output"] for row in found}


def learned(edits: Sequence[Mapping[str, Any]], targets: Mapping[str, str]) -> Any:
    """The first edit that is a row, as it was said."""
    return next((one for one in edits if targets.get(one["request_id"]) == one["edited"]), None)
