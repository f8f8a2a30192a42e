"""What a request is answered with is fixed: the same rows in the same order, whatever changes in
the code that chooses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trainer_harness import Harness, QuickWorkers, launch_time

from driftgate.events import DAY_MS, Candidate

LATER = launch_time() + 42 * DAY_MS

# Content hashes of train and test rows, of the whole dataset with its cards, and of the examples in
# the order in which they are learned from. Computed at the commit before task kinds had a port; all
# but what is learned from again when rows came to say how they were obtained.
# They may only change with the example's world, or with a change that is meant to change datasets.
LAUNCH = (
    "2c32adf69be1f181f11dae2477cef992fed6654fb4ca8cecc58988f7911cc3cf",
    "sha256:7f4cea60659d522695708c68953d25a24560e1a1fe285f0d6513c0201dfcc56b",
    "5c9afab5c7cd234ba968e5a933036dedfb4d5e2a80d3c3e1a33d95958358dcc4",
)
REFRESH = (
    "3521899c064addb9ad0e787262b1c53417ba5d0fc71bc6741cf44bff154e36a5",
    "sha256:a5465a1da3b917087bf3c832120921b8304048f4acb06c4ce348e29efd4c2f3f",
    "b66302e343ba6a9af279e3227acb34627a303b60b54f4fe893a006e5820b0168",
)
DRILL = (
    "161091cccedc82c36283a3a2c4de43e8843aec3b5c3def5560d216ea4b530090",
    "sha256:ca849a9da236a75735e554a3ef748b4808ca520b6086ffb11e38181452a262c6",
    "d5aa73b58f76afe6a220539c91a25e91360bb5db97a417b0c1b1a36d4825aeaf",
)


def hashes(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.dataset_id, candidate.dataset_uri, candidate.adapter_digest


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path, QuickWorkers())


def test_the_dataset_of_a_launch_does_not_change(harness: Harness) -> None:
    assert hashes(harness.ask(seed_uri=harness.seed())) == LAUNCH


@pytest.mark.parametrize(
    ("retrain_id", "drill", "expected"),
    [
        ("support:drift:1", None, REFRESH),
        ("support:drift:2", "shuffle-labels:language=es", DRILL),
    ],
)
def test_the_dataset_of_a_refresh_does_not_change(
    harness: Harness, retrain_id: str, drill: str | None, expected: tuple[str, str, str]
) -> None:
    harness.ask(seed_uri=harness.seed())
    harness.live(until=LATER)
    asked: dict[str, Any] = {"reason": "drift", "time": LATER, "drill": drill}
    assert hashes(harness.ask(retrain_id, **asked)) == expected
