"""Since when a world's labels could be known. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from driftgate.events import Feedback


@dataclass
class KnownLabels:
    """Since when each label could be known: always for the labels of the launch data, for others
    since the first feedback that rightly named it. A mistaken name teaches nothing of the label."""

    since: dict[str, int] = field(default_factory=dict)  # ms

    @classmethod
    def at_launch(cls, labels: Iterable[str]) -> KnownLabels:
        return cls(dict.fromkeys(labels, 0))

    def add(self, truth: str, feedback: Feedback) -> None:
        """Feedback on a request whose true label is `truth`. A rating names no label: it confirms
        an answer, whose label is known already."""
        if feedback.label == truth:
            self.since[truth] = min(feedback.time, self.since.get(truth, feedback.time))

    def at(self, label: str, time: int) -> bool:
        """Whether feedback on a label had come before a moment, ms."""
        return label in self.since and self.since[label] < time

    def never_named(self, labels: Iterable[str]) -> set[str]:
        """Those that nobody named."""
        return set(labels) - set(self.since)


class NoLabels(KnownLabels):
    """Where answers are texts there is no set of them that could be known."""

    def at(self, label: str, time: int) -> bool:
        return True

    def never_named(self, labels: Iterable[str]) -> set[str]:
        return set()
