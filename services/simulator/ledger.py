"""What a played world has asked, what came of it, and what is true; the loop sees nothing of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from driftgate.events import Feedback
from services.simulator.feedback_model import AnsweredRequest, arrival
from services.simulator.known_labels import KnownLabels
from services.simulator.scoring import Told, Truth


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
    _due: list[tuple[int, Feedback]] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)
    _reviewed: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def answered(self, request: AnsweredRequest, said: Iterable[Feedback]) -> None:
        """An answer, and all that will be said of it."""
        with self._lock:
            self._days[request.day].append(request)
            for feedback in said:
                self._due.append((arrival(feedback), feedback))
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
        """Feedback that arrives before a moment, ms, and was not sent yet; as it arrives, which is
        not the order in which it was given."""
        with self._lock:
            found = [(at, feedback) for at, feedback in self._due if at < before]
        found.sort(key=lambda due: (due[0], due[1].feedback_id))
        return [feedback for _, feedback in found]

    def sent(self, feedbacks: Sequence[Feedback]) -> None:
        """Feedback that is on the bus."""
        gone = {feedback.feedback_id for feedback in feedbacks}
        with self._lock:
            self._due = [due for due in self._due if due[1].feedback_id not in gone]
            for feedback in feedbacks:
                told = self._told if feedback.reviewer is None else self._reviewed
                told.add(feedback.request_id)

    def day(self, number: int) -> list[AnsweredRequest]:
        """The requests of a day that were answered."""
        with self._lock:
            return list(self._days.get(number, ()))

    def told(self) -> Told:
        """Of how many answers something was said that is on the bus."""
        with self._lock:
            asked = [request for requests in self._days.values() for request in requests]
            wrong = {request.request_id for request in asked if not request.right}
            return Told(
                right=len(asked) - len(wrong),
                wrong=len(wrong),
                told_right=len(self._told - wrong),
                told_wrong=len(self._told & wrong),
                reviewed=len(self._reviewed),
            )

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
