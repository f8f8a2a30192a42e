"""What a played world has asked, what came of it, and what is true; the loop sees nothing of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from driftgate.events import Feedback
from services.simulator.feedback_model import AnsweredRequest
from services.simulator.scoring import KnownLabels, Truth


@dataclass
class Ledger:
    """Safe to write from several threads.

    Attributes:
        known: since when the labels are known.
        refused: what the router said of each request that it refused.
        retries: calls that were made again.
        late: requests that were sent late.
        latest_seconds: by how much at most, s of the machine's clock.
    """

    known: KnownLabels
    refused: list[str] = field(default_factory=list)
    retries: int = 0
    late: int = 0
    latest_seconds: float = 0.0
    _days: dict[int, list[AnsweredRequest]] = field(default_factory=lambda: defaultdict(list))
    _due: list[Feedback] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def answered(self, request: AnsweredRequest, feedback: Feedback | None) -> None:
        """An answer, and the feedback that it will get."""
        with self._lock:
            self._days[request.day].append(request)
            if feedback is not None:
                self._due.append(feedback)
                self.known.add(request.truth, feedback)

    def refuse(self, why: str) -> None:
        with self._lock:
            self.refused.append(why)

    def retry(self) -> None:
        with self._lock:
            self.retries += 1

    def sent_late(self, seconds: float) -> None:
        with self._lock:
            self.late += 1
            self.latest_seconds = max(self.latest_seconds, seconds)

    def due(self, before: int) -> list[Feedback]:
        """Feedback given before a moment, ms, that was not sent yet; in the order of answers."""
        with self._lock:
            return [feedback for feedback in self._due if feedback.time < before]

    def sent(self, feedbacks: Sequence[Feedback]) -> None:
        """Feedback that is on the bus."""
        gone = {feedback.feedback_id for feedback in feedbacks}
        with self._lock:
            self._due = [feedback for feedback in self._due if feedback.feedback_id not in gone]

    def day(self, number: int) -> list[AnsweredRequest]:
        """The requests of a day that were answered."""
        with self._lock:
            return list(self._days.get(number, ()))

    def truths(self) -> dict[str, Truth]:
        """What is true of each request that was answered, by its id."""
        with self._lock:
            return {
                request.request_id: Truth(
                    day // 7 + 1, request.truth, self.known.at(request.truth, request.time)
                )
                for day, requests in self._days.items()
                for request in requests
            }
