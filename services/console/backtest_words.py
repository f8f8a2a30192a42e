"""What a backtest came to, as a table for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from driftgate.drift import backtest
from driftgate.drift.alarms import Improvement
from driftgate.drift.backtest import Found, Known, Story
from driftgate.drift.replay import Said
from driftgate.drift.silence import Silence
from driftgate.events import DAY_MS, HOUR_MS, RetrainRequest
from services.console.operators import when

# Improvements that are named; a stream may improve every week.
NAMED = 10


@dataclass(frozen=True, slots=True)
class Told:
    """A replay from `since` to `until`, ms, held against the incidents that people know of."""

    model: str
    since: int
    until: int
    answers: int
    said: Sequence[Said]
    known: Sequence[Known] = ()

    @property
    def stories(self) -> list[Story]:
        return backtest.stories(self.said)

    @property
    def requests(self) -> list[RetrainRequest]:
        return backtest.requests(self.said)

    @property
    def found(self) -> list[Found]:
        return backtest.found(self.stories, self.known)

    @property
    def false_alarms(self) -> list[Story]:
        return backtest.false_alarms(self.stories, self.known)

    @property
    def improvements(self) -> list[Improvement]:
        """The first of each stream."""
        every = (one for said in self.said for one in said.improvements)
        return list({(one.alarm.version, one.alarm.stream): one for one in [*every][::-1]}.values())

    @property
    def silences(self) -> list[Silence]:
        """What was sent no more, and what again."""
        return [silence for said in self.said for silence in said.silences]

    def asked_for(self, story: Story) -> list[RetrainRequest]:
        """What triggers ask for because of an incident."""
        name = story.incident.incident_id
        return [request for request in self.requests if name in request.alerts]


def title(told: Told) -> str:
    return (
        f"{told.model}: {told.answers:,} answers, {when(told.since)} to {when(told.until)} UTC: "
        f"{counted(len(told.stories), 'incident')}, {counted(len(told.requests), 'request')}"
    )


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def table(told: Told) -> Table:
    """A row an incident."""
    made = Table(padding=0)
    for name in ("opened", "since", "what", "closed", "asked for"):
        made.add_column(name, overflow="fold")
    for story in told.stories:
        shown = story.incident
        again = [f"again {when(step.at)}" for step in story.opened[1:]]
        since = f"{when(shown.since)} ({when(shown.earliest)} to {when(shown.latest)})"
        asked = [f"{one.reason} {when(one.time)}" for one in told.asked_for(story)]
        made.add_row(
            Text("\n".join([when(story.opened[0].at), *again])),
            Text(since),
            Text(f"{shown.shown.stream}: {shown.shown.summary}; {shown.severity}{beside(story)}"),
            Text("open" if story.closed is None else when(story.closed)),
            Text("\n".join(asked)),
        )
    return made


def beside(story: Story) -> str:
    others = len(story.incident.members) - 1
    return f"; with {counted(others, 'more stream')}" if others else ""


def lines(told: Told) -> Iterator[str]:
    """What the table has no room for."""
    for request in told.requests:
        if not request.alerts:
            yield f"{when(request.time)} {request.reason}: {request.words}"
    held = [one for one in told.said if one.held]
    for one in held[:NAMED]:
        assert one.held is not None
        yield f"{when(one.at)} {one.held.summary}"
    for silence in told.silences[:NAMED]:
        yield f"{when(silence.at)} {silence.summary}"
    for version, at in ((v, one.at) for one in told.said for v in one.unreleased):
        yield f"{when(at)} answers come from version {version}, which was never released"
    for better in told.improvements[:NAMED]:
        yield f"{when(better.alarm.known)} better: {better.alarm.summary}"
    if told.known:
        yield from judged(told)


def judged(told: Told) -> Iterator[str]:
    """The incidents that people know of."""
    for one in told.found:
        span = f"known {when(one.known.since)} to {when(one.known.until)}"
        if one.step is None:
            yield f"{span}: missed"
        else:
            stream = one.step.incident.shown.stream
            yield f"{span}: told {when(one.step.at)}, after {lasting(one.delay)} ({stream})"
    missed = sum(one.step is None for one in told.found)
    days = (told.until - told.since) / DAY_MS
    yield (
        f"{counted(len(told.false_alarms), 'false alarm')} in {days:.0f} days and "
        f"{told.answers:,} answers; {missed} of {len(told.found)} missed"
    )


def lasting(ms: int) -> str:
    return f"{ms / DAY_MS:.1f} days" if ms >= 2 * DAY_MS else f"{ms / HOUR_MS:.1f} hours"


def as_json(told: Told) -> dict[str, Any]:
    """Times in ms."""
    return {
        "model": told.model,
        "since": told.since,
        "until": told.until,
        "answers": told.answers,
        "incidents": [incident(told, story) for story in told.stories],
        "requests": [
            {"time": one.time, "reason": one.reason, "words": one.words, "id": one.retrain_id}
            for one in told.requests
        ],
        "held": [
            {"time": one.at, "reason": one.held.ask.reason, "words": one.held.summary}
            for one in told.said
            if one.held
        ],
        "unreleased": [{"time": s.at, "version": v} for s in told.said for v in s.unreleased],
        "unwatched": [
            {"time": one.at, "kind": one.kind, "since": one.since, "words": one.summary}
            for one in told.silences
        ],
        "improvements": [
            {"time": one.alarm.known, "stream": one.alarm.stream, "words": one.alarm.summary}
            for one in told.improvements
        ],
        "known": [
            {
                "since": one.known.since,
                "until": one.known.until,
                "delay_ms": one.delay,
                "told_by": one.step and one.step.incident.incident_id,
            }
            for one in told.found
        ],
        "false_alarms": [one.incident.incident_id for one in told.false_alarms]
        if told.known
        else None,
    }


def incident(told: Told, story: Story) -> dict[str, Any]:
    shown = story.incident
    return {
        "id": shown.incident_id,
        "version": shown.version,
        "severity": shown.severity,
        "opened": story.opened[0].at,
        "closed": story.closed,
        "since": shown.since,
        "earliest": shown.earliest,
        "latest": shown.latest,
        "stream": shown.shown.stream,
        "streams": list(shown.members),
        "statistic": shown.shown.level,
        "words": shown.shown.summary,
        "steps": [
            {"id": step.alert_id, "kind": step.kind, "time": step.at, "why": step.why}
            for step in story.steps
        ],
        "requests": [one.retrain_id for one in told.asked_for(story)],
    }
