"""The clock's contract, on the machine's and on a world's."""

from __future__ import annotations

import pytest

from driftgate.clock import Clock, clock_of


@pytest.fixture(params=["live", "world"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return clock_of(request.param)


def test_it_never_goes_back(clock: Clock) -> None:
    before = clock.now()
    clock.advance(before + 1000)
    later = clock.now()
    clock.advance(before - 1000)
    assert before <= later <= clock.now()


def test_a_world_stands_still_between_ticks() -> None:
    clock = clock_of("world")
    clock.advance(1_767_571_200_000)
    assert clock.now() == clock.now() == 1_767_571_200_000


def test_ticks_do_not_move_the_machines_clock() -> None:
    clock = clock_of("live")
    clock.advance(10**15)
    assert clock.now() < 10**14
