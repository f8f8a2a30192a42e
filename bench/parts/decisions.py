"""What must hold of everything that a system decided, whatever was done to it. Pure: events in, the
faults that were found out, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from driftgate.audit import broken_links
from driftgate.events import (
    AuditEntry,
    Candidate,
    DriftAlert,
    RetrainRequest,
    Rollout,
    Routing,
    Verdict,
)

TAKEN_BACK = {"rollback", "refused", "quarantine"}


def faults(events: Sequence[Any]) -> list[str]:
    """Doubled or contradicting decisions, and forked chains."""
    return [
        *forked(of(events, AuditEntry)),
        *doubled_entries(of(events, AuditEntry)),
        *contradicting("rollouts", acted_on(events), lambda e: (e.model, e.epoch)),
        *contradicting("routing", of(events, Routing), lambda e: (e.model, e.epoch)),
        *contradicting("alert", of(events, DriftAlert), lambda e: e.alert_id),
        *contradicting("retrain request", of(events, RetrainRequest), lambda e: e.retrain_id),
        *contradicting("candidate", of(events, Candidate), lambda e: (e.model, e.version)),
        *contradicting("verdict", of(events, Verdict), lambda e: e.verdict_id),
        *answered_twice(of(events, Candidate)),
        *set_back(of(events, Rollout)),
    ]


def of(events: Iterable[Any], kind: type[Any]) -> list[Any]:
    return [event for event in events if type(event) is kind]


def acted_on(events: Iterable[Any]) -> list[Rollout]:
    """States without what one of the same epoch may add: what was decided without any effect, and
    which version waits."""
    return [replace(state, handled=(), waiting="") for state in of(events, Rollout)]


def forked(entries: Sequence[AuditEntry]) -> list[str]:
    broken = broken_links(entries)
    return [f"audit entry {audit_id} does not follow from the one before" for audit_id in broken]


def doubled_entries(entries: Sequence[AuditEntry]) -> list[str]:
    return [
        f"audit entry {name} stands {n} times" for name, n in counts(entries, lambda e: e.audit_id)
    ]


def contradicting(what: str, events: Sequence[Any], key: Callable[[Any], Hashable]) -> list[str]:
    """Events of one key that do not say the same. The same event twice is no contradiction: after
    a kill it is sent again."""
    said: dict[Hashable, set[str]] = defaultdict(set)
    for event in events:
        said[key(event)].add(repr(event))
    return [
        f"{what} {name}: {len(all_)} different ones" for name, all_ in said.items() if len(all_) > 1
    ]


def answered_twice(candidates: Sequence[Candidate]) -> list[str]:
    """Requests that led to two versions."""
    versions: dict[str, set[int]] = defaultdict(set)
    for candidate in candidates:
        versions[candidate.retrain_id].add(candidate.version)
    return [f"request {name} led to versions {v}" for name, v in versions.items() if len(v) > 1]


def set_back(rollouts: Sequence[Rollout]) -> list[str]:
    """Epochs that go back, in the order of the topic."""
    newest: dict[str, int] = {}
    found = []
    for state in rollouts:
        if state.epoch < newest.get(state.model, 0):
            found.append(
                f"rollouts of {state.model}: epoch {state.epoch} after {newest[state.model]}"
            )
        newest[state.model] = max(state.epoch, newest.get(state.model, 0))
    return found


def counts(events: Sequence[Any], key: Callable[[Any], Hashable]) -> list[tuple[Hashable, int]]:
    seen: dict[Hashable, int] = defaultdict(int)
    for event in events:
        seen[key(event)] += 1
    return [(name, n) for name, n in seen.items() if n > 1]


def taken_back(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """The promoter's decisions by which a version lost its traffic without anybody's order."""
    return [entry for entry in entries if takes_back(entry.service, entry.decision)]


def takes_back(service: str, decision: str) -> bool:
    return service == "promoter" and decision in TAKEN_BACK
