"""When a router counts, and what routers make of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from driftgate.events import DAY_MS, HOUR_MS, RoutingAck
from services.promoter.leases import Fleet, Leases

MINUTE, NOW = 60_000, 20_000 * DAY_MS


def ack(router: str, time: int = NOW, epoch: int = 5, status: Any = "serving") -> RoutingAck:
    why = "corrupt" if status == "refused" else None
    return RoutingAck(
        router=router, model="m", epoch=epoch, status=status, digests=(), reason=why, time=time
    )


def ticks(*before: int) -> list[int]:
    return [NOW - ms for ms in before]


@pytest.mark.parametrize(
    ("ticks", "renewed", "found"),
    [
        (ticks(40_000, 30_000, 20_000, 10_000, 0), 3 * MINUTE, "valid"),
        (ticks(40_000, 30_000, 20_000, 10_000, 0), 3 * MINUTE + 1, "lost"),
        (ticks(40_000, 30_000, 20_000, 10_000, 0), HOUR_MS, "lost"),
        (ticks(*range(40 * 10_000, -1, -10_000)), HOUR_MS, "gone"),
        (ticks(DAY_MS, 0), 2 * DAY_MS, "valid"),  # there have been no three ticks yet
        (ticks(4 * DAY_MS, 3 * DAY_MS, 2 * DAY_MS, DAY_MS, 0), 3 * DAY_MS, "valid"),
        (ticks(4 * DAY_MS, 3 * DAY_MS, 2 * DAY_MS, DAY_MS, 0), 4 * DAY_MS, "lost"),
        (ticks(5 * DAY_MS, 10_000, 0), 5 * DAY_MS, "valid"),  # the clock stood still
        (ticks(*range(40 * 10_000, -1, -10_000)), 30 * MINUTE + 1, "gone"),
        ([], 0, "valid"),
        (ticks(0), -MINUTE, "valid"),  # renewed at a tick that is not handled yet
    ],
)
def test_a_lease_ends_three_minutes_and_three_ticks_after_it_was_renewed(
    ticks: Sequence[int], renewed: int, found: str
) -> None:
    leases = Leases.at(NOW, ticks, [ack("r", NOW - renewed)])
    assert [one.router for one in leases.valid] == (["r"] if found == "valid" else [])
    assert leases.lost == (("r",) if found == "lost" else ())


def test_a_fleet_says_who_serves_an_epoch_who_cannot_and_who_has_not_said() -> None:
    acks = [ack("a"), ack("b", status="refused"), ack("c", epoch=4), ack("d", epoch=6)]
    fleet = Fleet.at(5, acks)
    assert (fleet.serving, fleet.behind) == (("a", "d"), ("c",))
    assert fleet.refusals == "b refuses it: corrupt"
