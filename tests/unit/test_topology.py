"""What is said of the services from outside is what they subscribe to."""

from __future__ import annotations

from typing import Any

import pytest

from driftgate.topology import DRIFT, EVALUATOR, READS, TRAINER
from services.drift_detector.handlers import DriftDetector
from services.evaluator.service import Evaluator
from services.trainer.service import Trainer

NOTHING: Any = None
SERVICES = {
    DRIFT: DriftDetector(NOTHING, NOTHING),
    TRAINER: Trainer(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    EVALUATOR: Evaluator(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
}


@pytest.mark.parametrize("name", SERVICES)
def test_the_lag_of_a_service_counts_all_that_it_reads(name: str) -> None:
    assert set(READS[name]) == set(SERVICES[name].service().topics())
