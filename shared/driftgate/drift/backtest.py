"""What a replay comes to: incidents with their beginning and end, and how they fare against those
that people know of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from driftgate.drift.incidents import Incident, Transition
from driftgate.drift.replay import Said
from driftgate.events import RetrainRequest


@dataclass(frozen=True, slots=True)
class Story:
    """One incident and its steps, in order."""

    steps: tuple[Transition, ...]

    @property
    def incident(self) -> Incident:
        """As it was when it was told last, while it was open."""
        told = [step.incident for step in self.steps if step.kind != "close"]
        return told[-1] if told else self.steps[-1].incident

    @property
    def opened(self) -> list[Transition]:
        """Where it opens, and opens again."""
        return [step for step in self.steps if step.kind in ("open", "reopen")]

    @property
    def closed(self) -> int | None:
        """ms; None while it is open."""
        return self.steps[-1].at if self.steps[-1].kind == "close" else None


@dataclass(frozen=True, slots=True)
class Known:
    """An incident that people know of, ms; `until` is the end of what is looked at where nobody
    says when it ended."""

    since: int
    until: int

    def holds(self, step: Transition) -> bool:
        """Whether it is this one that was found: told while it lasted, or later and dated into
        it."""
        inside = step.at < self.until or self.since <= step.incident.since < self.until
        return step.at >= self.since and inside


@dataclass(frozen=True, slots=True)
class Found:
    """A known incident and the step by which it was found first; None: it was missed."""

    known: Known
    step: Transition | None

    @property
    def delay(self) -> int:
        """ms; all of its time where it was missed."""
        return (self.step.at if self.step else self.known.until) - self.known.since


def stories(said: Iterable[Said]) -> list[Story]:
    """The incidents of a replay, by when they opened."""
    found: dict[str, tuple[Transition, ...]] = {}
    for step in (step for one in said for step in one.steps):
        known = found.get(step.incident.incident_id, ())
        found[step.incident.incident_id] = (*known, step)
    return [Story(steps) for steps in found.values()]


def requests(said: Iterable[Said]) -> list[RetrainRequest]:
    return [one.request for one in said if one.request is not None]


def found(told: Sequence[Story], known: Iterable[Known]) -> list[Found]:
    """How soon each known incident was told."""
    steps = sorted((step for story in told for step in story.opened), key=lambda step: step.at)
    return [Found(one, next((step for step in steps if one.holds(step)), None)) for one in known]


def false_alarms(told: Iterable[Story], known: Sequence[Known]) -> list[Story]:
    """Incidents that were told outside of all that are known."""
    return [
        story
        for story in told
        if not any(one.holds(step) for one in known for step in story.opened)
    ]
