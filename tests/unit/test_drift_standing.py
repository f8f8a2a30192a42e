"""How streams stand, and which have fallen silent."""

from __future__ import annotations

import pytest
from drift_world import CONFIG, day, inference, reference

from driftgate.bus import Position
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import Observation, of_inference
from driftgate.drift.standing import Standing, standings
from driftgate.events import DAY_MS
from driftgate.model_repo import Monitor

A_DAY = 100
WORDS = Monitor(
    name="words", signal="input", value="words", slices=["all", "language=es"], tolerance=0.9
)
CONFIG_WORDS = CONFIG.model_copy(update={"monitors": [*CONFIG.monitors, WORDS]})


def answers(days: int, sends_words_until: int, sends_slice_until: int) -> list[Observation]:
    found = []
    for n in range(days * A_DAY):
        at = day(n / A_DAY)
        over = {} if at < day(sends_words_until) else {"features": {}}
        if at >= day(sends_slice_until):
            over["slices"] = {}
        seen = of_inference(inference(n, at, **over), (Position("inferences", 0), n))
        assert seen is not None
        found.append(seen)
    return found


def now(days: int, sends_words_until: int = 99, sends_slice_until: int = 99) -> dict[str, Standing]:
    """By name; a tick each day."""
    evidence = Evidence()
    measured = reference() | {"words|all": 0.1, "n|words|all": 400.0, "cut|words": 20.0}
    measured |= {"words|language=es": 0.1, "n|words|language=es": 400.0}
    for seen_day in range(days):
        seen = answers(days, sends_words_until, sends_slice_until)
        due = [one for one in seen if day(seen_day) <= one.time < day(seen_day + 1)]
        fold(evidence, due, day(seen_day + 1), CONFIG_WORDS, {1: measured})
    found = standings(evidence, CONFIG_WORDS, {1: measured}, 1)
    return {one.name: one for one in found}


def test_nothing_is_silent_while_the_app_sends_it() -> None:
    assert [one.name for one in now(4).values() if one.silent is not None] == []


def test_a_feature_that_is_sent_no_more_is_silent_a_day_later() -> None:
    assert now(3, sends_words_until=3)["words:all"].silent is None
    silent = now(5, sends_words_until=3)["words:all"].silent
    assert silent == pytest.approx(day(3), abs=DAY_MS / 2)


def test_a_slice_that_is_sent_no_more_is_silent_in_itself_alone() -> None:
    found = now(5, sends_slice_until=3)
    assert found["words:language=es"].silent is not None
    assert found["words:all"].silent is None


def test_a_version_that_never_answered_has_no_streams() -> None:
    assert standings(Evidence(), CONFIG, {}, 3) == []
