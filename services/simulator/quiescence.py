"""Waits until the system is quiescent: until it has done all that its events lead to.

Every service commits a position only after the effects of the record are durable. So when, for
every group, committed == end, and the ends did not move while that was checked, nothing is under
way anywhere: what was consumed has had its effects, and the effects were consumed too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from driftgate import topology
from driftgate.bus import Bus, Position
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable, Retriable
from driftgate.health import Log, log_for

CHECK_SECONDS = 0.02
# An outage of the bus is waited for so long.
OUTAGE_SECONDS = 120.0

Lags = Mapping[str, Mapping[Position, int]]


class NotQuiescentError(Retriable):
    """Something is still behind at the deadline; the message says what."""


@dataclass
class Quiescence:
    """Watches one bus.

    Attributes:
        deadline_seconds: must cover the longest training.
        waiting: called with who is behind, at each check.
    """

    bus: Bus
    codec: Codec
    deadline_seconds: float = 900.0
    waiting: Callable[[Lags], None] = lambda _: None
    log: Log = field(default_factory=lambda: log_for("simulate"))

    def of_ingestion(self) -> None:
        """Until ingest-logger has stored and joined everything.

        Raises:
            NotQuiescentError, BusUnavailable
        """
        self._wait((topology.INGEST,))

    def of_all(self) -> None:
        """Until every service has caught up and every open piece of work is done.

        Raises:
            NotQuiescentError, BusUnavailable
        """
        self._wait((topology.INGEST, *topology.READS))

    def _wait(self, groups: tuple[str, ...]) -> None:
        deadline = time.monotonic() + self.deadline_seconds
        quiet: Mapping[Position, int] | None = None
        while True:
            ends, behind = self._retrying(self._behind, groups)
            if ends == quiet:  # and had not moved since all had come there
                return
            quiet = None if behind else ends
            self.waiting(behind)
            if time.monotonic() > deadline:
                raise NotQuiescentError(f"after {self.deadline_seconds:g} s: {described(behind)}")
            if behind:
                time.sleep(CHECK_SECONDS)

    @property
    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(Retriable),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=stop_after_delay(OUTAGE_SECONDS),
            before_sleep=self._log_failure,
            reraise=True,
        )

    def _log_failure(self, state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        self.log.warning("retrying", attempt=state.attempt_number, error=str(error))

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
    """Who is behind, and where."""
    return "; ".join(
        f"{group} is behind by " + ", ".join(f"{n} on {position}" for position, n in found.items())
        for group, found in behind.items()
    )
