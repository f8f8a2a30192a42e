"""One edit, followed to the release that learned it: request → dataset row → dataset card →
version. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftgate.artifacts import Artifacts
from driftgate.store import Store
from services.simulator.facts import Facts

TRAIN, CARD = "train.jsonl", "card.json"

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
    live: int

    @property
    def days(self) -> float:
        """From the edit to the release."""
        return (self.live - self.edited_at) / 86_400_000


def followed(facts: Facts, store: Store, artifacts: Artifacts, model: str) -> Followed | None:
    """The first edit that a version at full traffic had learned as it was said; None where there is
    none."""
    edits = store.query(EDITS, model=model)
    for version, live, dataset_uri in releases(facts):
        listing: dict[str, str] = artifacts.get_json(dataset_uri)
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
            version,
            live,
        )
    return None


def releases(facts: Facts) -> Iterator[tuple[int, int, str]]:
    """Versions that came to full traffic, in their order: number, since when (ms), dataset."""
    datasets = {one["version"]: one["dataset_uri"] for one in facts.candidates}
    since: dict[int, int] = {}
    for rollout in facts.rollouts:
        if rollout["champion"] is not None:
            since.setdefault(rollout["champion"], rollout["ms"])
    for version, live in since.items():
        if version in datasets:
            yield version, live, datasets[version]


def rows(train: bytes) -> dict[str, str]:
    """The target of each row, by its id."""
    found = (json.loads(line) for line in train.decode().split("\n") if line)
    return {row["id"]: row["output"] for row in found}


def learned(edits: Sequence[Mapping[str, Any]], targets: Mapping[str, str]) -> Any:
    """The first edit that is a row, as it was said."""
    return next((one for one in edits if targets.get(one["request_id"]) == one["edited"]), None)
