"""Which roll-backs were wrong, by the world's own labels."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.parts.rollbacks import compared, lead, wrong
from driftgate.events import DAY_MS
from services.simulator.scoring import Truth

TRUTHS = {f"r{n}": Truth(1, "a") for n in range(20)}


def answer(request: int, version: int, right: bool, day: int = 0) -> dict[str, Any]:
    output = "a" if right else "b"
    name = f"r{request}"
    return {"request_id": name, "version": version, "output": output, "ms": day * DAY_MS}


def decision(champion: int, challenger: int | None, previous: int | None = None) -> str:
    state = {"champion": champion, "challenger": challenger, "previous": previous}
    return json.dumps({"state": state})


def test_a_challenger_is_held_against_the_champion_and_a_new_champion_against_its_predecessor() -> (
    None
):
    assert compared(decision(1, 2)) == (2, 1)
    assert compared(decision(2, None, 1)) == (2, 1)


@pytest.mark.parametrize(
    ("only_new", "only_old", "is_wrong"), [(2, 1, True), (1, 1, True), (0, 1, False)]
)
def test_a_roll_back_is_wrong_where_the_version_was_not_worse_on_what_both_answered(
    only_new: int, only_old: int, is_wrong: bool
) -> None:
    both = [(True, False)] * only_new + [(False, True)] * only_old + [(True, True)]
    answers = [
        answer(n, version, right)
        for n, pair in enumerate(both)
        for version, right in zip((2, 1), pair, strict=True)
    ]
    alone = [answer(15, 2, False), answer(16, 3, False)]  # says nothing of the two
    assert lead(2, 1, [*answers, *alone], TRUTHS) == only_new - only_old
    assert wrong(decision(1, 2), answers, TRUTHS) is is_wrong


def test_where_no_request_was_answered_by_both_the_days_are_compared() -> None:
    same = [answer(0, 2, True), answer(1, 2, False), answer(2, 1, True), answer(3, 1, False)]
    before = [answer(n, 1, False, day=3) for n in range(4, 9)]  # the other alone: no comparison
    assert lead(2, 1, [*same, *before], TRUTHS) == 0
    worse = [answer(9, 2, False), answer(10, 2, False)]
    assert lead(2, 1, [*same, *worse], TRUTHS) == pytest.approx(2 * (1 / 4 - 1 / 2))
