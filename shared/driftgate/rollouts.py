"""The rollout state of a model, for services that start work with it.

What is made must not hang on how fast the promoter was, or on how often it was killed. An event
that a tick led to, or a verdict, is answered with the state that came of that tick or verdict: so
the state is read once the promoter has done all that stands on its topics. What it has committed
has had its effects, and the cause of an event stands on the bus before the event does.
"""

from __future__ import annotations

from driftgate.bus import Bus
from driftgate.codec import Codec
from driftgate.errors import Retriable
from driftgate.events import Event
from driftgate.runner import newest
from driftgate.topology import PROMOTER, READS, lag

ROLLOUTS = "rollouts"


class PromoterBehind(Retriable):
    """The promoter has not done yet what stands on its topics."""


def settled(bus: Bus, codec: Codec, model: str) -> Event | None:
    """The newest `rollouts` record of a model; None before its first release.

    Raises:
        PromoterBehind: ask again; the caller's runner does, within its deadline.
        BusUnavailable
    """
    ends = bus.ends(READS[PROMOTER])
    behind = lag(PROMOTER, codec.topics, ends, bus.committed(PROMOTER))
    if behind:
        where = ", ".join(f"{records} on {position}" for position, records in behind.items())
        raise PromoterBehind(f"{PROMOTER} is behind by {where}, and may be changing the champion")
    return newest(bus, codec, ROLLOUTS).get(model)
