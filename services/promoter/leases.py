"""Which routers count, and what they make of an epoch. Pure.

An acknowledgement is a lease: the router renews it as time passes. A router that was scaled away,
or that hangs, stops renewing, and blocks nothing once its lease has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from driftgate.events import AckStatus, RoutingAck

REFUSED: Final[AckStatus] = "refused"
# Routers renew at ticks, at most once a minute: a lease outlasts two renewals that come late.
LEASE_MS, LEASE_TICKS = 180_000, 3
# A router that was killed, or that lost Kafka, is back before; one that was scaled away is not.
LOST_MS, LOST_TICKS = 10 * LEASE_MS, 10 * LEASE_TICKS


@dataclass(frozen=True, slots=True)
class Leases:
    """What the routers of a model said last.

    Attributes:
        valid: acknowledgements whose lease has not ended, by router.
        lost: routers whose lease ended lately.
    """

    valid: tuple[RoutingAck, ...]
    lost: tuple[str, ...]

    @classmethod
    def at(cls, now: int, ticks: Sequence[int], acks: Iterable[RoutingAck]) -> Leases:
        """`acks`: the newest of each router. `ticks`: times of the last ticks, oldest first, which
        tell a router that stopped from a clock that stood still. All in ms."""
        ended = since(now, ticks, LEASE_MS, LEASE_TICKS)
        gone = forgotten(now, ticks)
        known = sorted((ack for ack in acks if ack.time >= gone), key=lambda ack: ack.router)
        return cls(
            valid=tuple(ack for ack in known if ack.time >= ended),
            lost=tuple(ack.router for ack in known if ack.time < ended),
        )


def forgotten(now: int, ticks: Sequence[int]) -> int:
    """Who said nothing since then does not come back, ms."""
    return since(now, ticks, LOST_MS, LOST_TICKS)


def since(now: int, ticks: Sequence[int], ms: int, count: int) -> int:
    """When a span began that ends now: so many ms ago, and at least so many ticks, ms. 0 where time
    has not ticked so often yet."""
    return min(now - ms, ticks[-count - 1]) if len(ticks) > count else 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Routers by what they make of an epoch.

    Attributes:
        serving: they serve it.
        refusing: they cannot, and go on with what they had; with the reason.
        behind: they have not said yet.
        retrying: of those that refuse, they go on trying.
    """

    serving: tuple[str, ...]
    refusing: Mapping[str, str]
    behind: tuple[str, ...]
    retrying: tuple[str, ...]

    @classmethod
    def at(cls, epoch: int, acks: Sequence[RoutingAck]) -> Fleet:
        """`acks`: the newest of each router with a valid lease."""
        known = [ack for ack in acks if ack.epoch >= epoch]
        return cls(
            serving=tuple(ack.router for ack in known if ack.status != REFUSED),
            refusing={ack.router: ack.reason or "" for ack in known if ack.status == REFUSED},
            behind=tuple(ack.router for ack in acks if ack.epoch < epoch),
            retrying=tuple(ack.router for ack in known if ack.retrying),
        )

    @property
    def refusals(self) -> str:
        """For people."""
        return "; ".join(f"{router} refuses it: {why}" for router, why in self.refusing.items())
