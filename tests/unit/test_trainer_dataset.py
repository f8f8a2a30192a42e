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
# the order in which they are learned from. Computed at the commit before task kinds had a port.
# They may only change with the example's world, or with a change that is meant to change datasets.
LAUNCH = (
    "2c32adf69be1f181f11dae2477cef992fed6654fb4ca8cecc58988f7911cc3cf",
    "sha256:512318122f49d3889b16938842fe4f94ed6288d1cbc2ae7a91d02bf69e9a5f13",
    "5c9afab5c7cd234ba968e5a933036dedfb4d5e2a80d3c3e1a33d95958358dcc4",
)
REFRESH = (
    "7e97b259ff3aed8192bdfcbb587b8c6b5e415171d1854960dcbd9d1b939dd614",
    "sha256:8a8b8571f934e4751c7266a19498eeb81efcca088fcaf8e281c98a2e3f96db0a",
    "b66302e343ba6a9af279e3227acb34627a303b60b54f4fe893a006e5820b0168",
)
DRILL = (
    "4ba0160e6fad9463ceb4a170d8390146da038f7c43ac335d8bb3a3b8e528e3d7",
    "sha256:26391db7ad25a26c7f6fec526c2c4c021749a1ffc790ddb494378d5d2d6e3adf",
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
