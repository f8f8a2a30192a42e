"""Whether people give feedback as model.yaml declares it: asked with each training, and of every
declared model once a day, since how people answer changes without anybody telling.

The day's question is asked at the first tick of a day, about answers up to its midnight, so that it
finds the same whenever it is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from driftgate import feedback_check, feedback_seen
from driftgate.events import DAY_MS, Model, Routing, Tick
from driftgate.feedback_check import Finding
from driftgate.model_repo import Feedback
from driftgate.routing import champion_of
from driftgate.runtime import AuditDraft, Effect, Views
from driftgate.store import Store


@dataclass(frozen=True, slots=True)
class Due:
    """A model whose declaration is to be checked by answers before `until`, ms."""

    model: str
    repo_uri: str
    until: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What speaks against a declaration, by answers from `since` to `until`, ms."""

    model: str
    declared: Feedback
    since: int
    until: int
    against: Sequence[Finding]


def due(tick: Tick, views: Views) -> list[Due]:
    """Every declared model, at the first tick of a day."""
    before = max((time for time in views.ticks if time < tick.time), default=0)
    midnight = tick.time - tick.time % DAY_MS
    if before >= midnight:
        return []
    return [Due(name, event.repo_uri, midnight) for name, event in views[Model].items()]


def check(store: Store, model: str, declared: Feedback, until: int) -> Checked:
    """By answers that people have had their time to speak of.

    Raises:
        StoreRefused, StoreUnavailable
    """
    until -= declared.settled_ms
    since = until - feedback_seen.DAYS * DAY_MS
    seen = feedback_seen.read(store, model, since, until, declared.settled_ms)
    against = feedback_check.warnings(feedback_check.check(declared.profile, seen))
    return Checked(model, declared, since, until, tuple(against))


def effects(checked: Checked, views: Views, now: int) -> Iterable[Effect]:
    """What speaks against a declaration, each told once for a champion and a declaration."""
    declared = checked.declared.model_dump()
    routing = views[Routing].get(checked.model)
    champion = champion_of(routing) if routing else None
    for one in checked.against:
        yield AuditDraft(
            model=checked.model,
            decision="feedback",
            inputs={"feedback": declared, "since": checked.since, "until": checked.until},
            result={"about": one.about, "numbers": one.numbers, "instead": one.instead},
            summary=f"feedback is not as declared: {in_words(one)}",
            time=now,
            version=champion.version if champion else None,
            cause={"feedback": declared, "about": one.about},
        )


def in_words(finding: Finding) -> str:
    return f"{finding.about}: {finding.saw}; {finding.instead}"
