"""The head that the loop is compared with learns what the loop was told, when it was told."""

from __future__ import annotations

import numpy as np
import pytest

from bench.parts.weekly_head import Asked, Said, learned, strongest
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.labelled.rows import Row
from services.simulator.world import WEEK_MS, World

START = 100 * WEEK_MS
LAUNCH = (Row("one", "a", START - 2 * DAY_MS), Row("two", "b", START - DAY_MS))


def world(weeks: int = 2) -> World:
    return World("w", LAUNCH, ((),) * 7 * weeks, START)


def said(request: str, label: str | None, hours: float, kind: str = "correction") -> Said:
    time = START + int(hours * HOUR_MS)
    retracts = f"{request}-a" if kind == "retraction" else None
    name = f"{request}-{(label or 'taken back')}"
    return Said(request, name, kind, label, None, None, None, None, retracts, time)


ASKED = {"r0": Asked(2, START + HOUR_MS, "a"), "r1": Asked(3, START + WEEK_MS + HOUR_MS, "b")}


def test_the_launch_and_what_was_said_until_then_are_learned_by_the_latest_word() -> None:
    words = [said("r0", "a", 2), said("r0", "b", 5), said("r1", "a", 200)]
    assert learned(world(), ASKED, words, START + 3 * HOUR_MS, None) == ([0, 1, 2], ["a", "b", "a"])
    assert learned(world(), ASKED, words, START + 9 * HOUR_MS, None) == ([0, 1, 2], ["a", "b", "b"])


def test_what_was_taken_back_is_not_learned() -> None:
    words = [said("r0", "a", 2), said("r0", None, 5, "retraction")]
    assert learned(world(), ASKED, words, START + 9 * HOUR_MS, None) == ([0, 1], ["a", "b"])


@pytest.mark.parametrize(("window", "places"), [(None, [0, 1, 2]), (7, [0, 1])])
def test_a_window_leaves_out_older_answers_but_not_all_that_there_is(
    window: int | None, places: list[int]
) -> None:
    words = [said("r0", "a", 2)]
    found, _ = learned(world(), ASKED, words, START + 2 * WEEK_MS, window)
    assert found == places


def test_each_week_is_answered_by_what_was_known_on_its_first_morning() -> None:
    """The two classes swap places after the launch, and nobody tells before the second week."""
    embeddings = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    asked = {"r0": Asked(2, START + HOUR_MS, "a"), "r1": Asked(3, START + WEEK_MS + HOUR_MS, "b")}
    head = strongest(world(), asked, [], embeddings)
    assert head.weeks == (0.0, 1.0)
    assert head.mean == 0.5
