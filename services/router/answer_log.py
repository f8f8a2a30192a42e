"""Where answers are logged before they are given: in the spool, or on Kafka where the spool takes
no more. When neither does, `when_full` says whether the requests are refused or the log is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from driftgate import metrics
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable
from driftgate.events import Inference
from services.router.delivery import Delivery
from services.router.spool import Encoded, Spool, SpoolFull

WhenFull = Literal["refuse", "shed"]


@dataclass(frozen=True, slots=True)
class AnswerLog:
    """Safe to share between threads."""

    spool: Spool
    delivery: Delivery
    codec: Codec
    when_full: WhenFull = "refuse"

    def keep(self, events: Sequence[Inference]) -> int:
        """Returns once the events cannot be lost by a crash: the place up to which Kafka must have
        acknowledged the spool to have them all.

        Raises:
            SpoolFull: they were not kept; ask again later.
        """
        if not events:
            return 0
        place = self._keep([self.codec.record(event) for event in events], self.when_full)
        for event in events:
            metrics.ANSWERS.labels(event.model, event.version, event.role).inc()
        return place

    def keep_feedback(self, record: Encoded) -> int:
        """As `keep`. It is never dropped: who gave it can be told to give it again.

        Raises:
            SpoolFull
        """
        return self._keep([record], "refuse")

    def _keep(self, records: Sequence[Encoded], when_full: WhenFull) -> int:
        try:
            place = self.spool.append(records)
        except SpoolFull as full:
            self._send_past_spool(records, full, when_full)
            return 0
        self.delivery.appended(place)
        return place

    def _send_past_spool(
        self, records: Sequence[Encoded], full: SpoolFull, when_full: WhenFull
    ) -> None:
        try:
            self.delivery.send_past_spool(records)
        except BusUnavailable as away:
            if when_full == "refuse":
                raise SpoolFull(f"{full}; {away}; ask again later") from away
            metrics.UNLOGGED.inc(len(records))
