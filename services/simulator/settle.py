"""Waits until the system has done all that its events lead to.

Every service commits a position only after the effects of the record are durable. So when, for
every group, committed == end, and the ends did not move while that was checked, nothing is under
way anywhere: what was consumed has had its effects, and the effects were consumed too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from driftgate import topology
from driftgate.bus import Bus, Position
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable, Retriable
from driftgate.health import Log, log_for
from driftgate.runner import retrying

CHECK_SECONDS = 0.02

Lags = Mapping[str, Mapping[Position, int]]


class NotSettledError(Retriable):
    """Something is still behind at the deadline; the message says what."""


@dataclass
class Settler:
    """Watches one bus. `deadline_seconds` must cover the longest training."""

    bus: Bus
    codec: Codec
    deadline_seconds: float = 900.0
    waiting: Callable[[Lags], None] = lambda _: None
    log: Log = field(default_factory=lambda: log_for("simulate"))

    def stored(self) -> None:
        """Until ingest-logger has stored and joined everything."""
        self._wait((topology.INGEST,))

    def all(self) -> None:
        """Until every service has caught up and every open piece of work is done."""
        self._wait((topology.INGEST, *topology.READS))

    def _wait(self, groups: tuple[str, ...]) -> None:
        deadline = time.monotonic() + self.deadline_seconds
        quiet: Mapping[Position, int] | None = None
        while True:
            ends, behind = retrying(self.log)(lambda: self._behind(groups))
            if ends == quiet:  # and had not moved since all had come there
                return
            quiet = None if behind else ends
            self.waiting(behind)
            if time.monotonic() > deadline:
                raise NotSettledError(f"after {self.deadline_seconds:g} s: {described(behind)}")
            if behind:
                time.sleep(CHECK_SECONDS)

    def _behind(self, groups: tuple[str, ...]) -> tuple[Mapping[Position, int], Lags]:
        """Where every topic ends, and which groups have not come there."""
        topics = self.codec.topics
        ends = self.bus.ends(topics.names())
        unknown = set(topics.names()) - {position.topic for position in ends}
        if unknown:  # the client has not heard of them yet; they would count as finished
            raise BusUnavailable(f"topics {sorted(unknown)} are not known yet")
        lags = {g: topology.lag(g, topics, ends, self.bus.committed(g)) for g in groups}
        return ends, {group: found for group, found in lags.items() if found}


def described(behind: Lags) -> str:
    """Who is behind, and where, in words."""
    return "; ".join(
        f"{group} is behind by " + ", ".join(f"{n} on {position}" for position, n in found.items())
        for group, found in behind.items()
    )
