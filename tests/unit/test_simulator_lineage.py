"""One edit is followed to the release that learned it."""

from __future__ import annotations

import json
from typing import Any, cast

from driftgate.artifacts import Artifacts
from driftgate.store import Store
from services.simulator.demo import edit_followed
from services.simulator.facts import Facts
from services.simulator.lineage import followed
from services.trainer.dataset import CARD, TRAIN

DAY = 86_400_000


def edit(name: str, edited: str, day: int) -> dict[str, Any]:
    return {
        "request_id": name,
        "version": 1,
        "input": "where is it",
        "output": '{"team":"repair"}',
        "edited": edited,
        "changed": {"team": "changed"},
        "answered": day * DAY,
        "edited_at": day * DAY + 3_600_000,
    }


class Edits:
    """A store that holds edits alone."""

    def __init__(self, *edits: dict[str, Any]) -> None:
        self.edits = edits

    def query(self, sql: str, **_: Any) -> list[dict[str, Any]]:
        assert "training_pairs" in sql
        return list(self.edits)


def dataset(artifacts: Artifacts, name: str, rows: dict[str, str]) -> str:
    lines = "".join(json.dumps({"id": k, "output": v}) + "\n" for k, v in rows.items())
    return artifacts.put_files({TRAIN: lines.encode(), CARD: json.dumps({"id": name}).encode()})


def facts(candidates: list[dict[str, Any]], champions: list[tuple[int, int]]) -> Facts:
    """Version N is asked for on day 2N, trained a quarter of a day later, and judged a quarter of a
    day after that."""
    rollouts = [{"champion": version, "ms": day * DAY} for version, day in champions]
    asked = {one["version"]: 2 * one["version"] * DAY for one in candidates}
    dated = [
        one | {"retrain_id": f"of-{one['version']}", "ms": asked[one["version"]] + DAY // 4}
        for one in candidates
    ]
    requests = [{"retrain_id": f"of-{version}", "ms": ms} for version, ms in asked.items()]
    verdicts = [{"version": version, "ms": ms + DAY // 2} for version, ms in asked.items()]
    none: list[dict[str, Any]] = []
    return Facts(none, requests, dated, verdicts, rollouts, none, none, {})


def test_an_edit_is_followed_to_the_first_release_that_learned_it_as_it_was_said() -> None:
    artifacts = Artifacts("memory://lineage")
    right, other = '{"team":"delivery"}', '{"team":"billing"}'
    edits = Edits(edit("r1", other, 3), edit("r2", right, 4))
    candidates = [
        {"version": 1, "dataset_uri": dataset(artifacts, "launch", {"seed-1": right})},
        # Of r1 a later word counts; version 2 never comes to full traffic.
        {"version": 2, "dataset_uri": dataset(artifacts, "second", {"r2": right})},
        {"version": 3, "dataset_uri": dataset(artifacts, "third", {"r1": right, "r2": right})},
    ]
    found = followed(
        facts(candidates, [(1, 0), (3, 10), (3, 12)]), cast(Store, edits), artifacts, "m"
    )
    assert found is not None
    assert (found.request_id, found.version, found.dataset) == ("r2", 3, "third")
    assert artifacts.get_json(found.card) == {"id": "third"}
    assert round(found.days, 2) == round(6 - 1 / 24, 2)
    took = {step: round(share * found.days, 2) for step, share in found.shares.items()}
    assert took == {
        "waiting for a request": round(2 - 1 / 24, 2),
        "training": 0.25,
        "evaluation": 0.25,
        "rollout": 3.5,
    }
    said = edit_followed(found)
    assert all(word in said for word in ("r2", "team", "third", found.card, "v3", "rollout 59%"))


def test_without_a_release_that_learned_an_edit_none_is_followed() -> None:
    artifacts = Artifacts("memory://lineage")
    launch = {"version": 1, "dataset_uri": dataset(artifacts, "launch", {"seed-1": "x"})}
    edits = cast(Store, Edits(edit("r1", "y", 3)))
    assert followed(facts([launch], [(1, 0)]), edits, artifacts, "m") is None
