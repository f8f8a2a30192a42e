"""How streams stand."""

from __future__ import annotations

import pytest
from drift_world import CONFIG, day, inference, reference

from driftgate.bus import Position
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import of_inference
from driftgate.drift.standing import standings


def test_a_stream_is_shown_with_its_numbers_reference_bar_and_evidence() -> None:
    evidence = Evidence()
    seen = [
        of_inference(inference(n, day(n / 100)), (Position("inferences", 0), n)) for n in range(300)
    ]
    fold(evidence, [one for one in seen if one], day(4), CONFIG, {1: reference()})
    found = {one.name: one for one in standings(evidence, CONFIG, {1: reference()}, 1)}
    assert found["errors:all"].n == 0
    confidence = found["confidence:all"]
    assert (confidence.n, confidence.reference) == (300, 0.2)
    assert confidence.bar == pytest.approx(0.28)
    assert confidence.newest == pytest.approx(0.2, abs=0.02)
    assert 0 < confidence.level < 1


def test_a_version_that_never_answered_has_no_streams() -> None:
    assert standings(Evidence(), CONFIG, {}, 3) == []
