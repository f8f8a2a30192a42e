"""The decision log: every decision with its evidence, chained by hash per model and service.

The chain shows that no entry was changed or taken out. An entry's id is made of the decision's
inputs, or of its cause where more may be known by the time that it is taken again, so a decision
that is taken again after a crash is logged once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from driftgate.bus import Bus
from driftgate.bus_tools import events
from driftgate.codec import Codec, canonical
from driftgate.events import AuditEntry

if TYPE_CHECKING:
    from driftgate.runtime.service import AuditDraft

HASHED = ("audit_id", "model", "service", "decision", "version", "inputs", "result", "words")


@dataclass
class Audit:
    """The end of every chain of one service."""

    service: str
    last: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    @classmethod
    def resume(cls, service: str, bus: Bus, codec: Codec) -> Audit:
        """Goes on where the topic ends."""
        audit = cls(service)
        for entry in events(bus, codec, AuditEntry):
            if entry.service == service:
                audit.last[entry.model] = entry.hash
                audit.known.add(entry.audit_id)
        return audit

    def chained(self, draft: AuditDraft) -> list[AuditEntry]:
        """The entry to send, or nothing when this very decision stands in the log."""
        given = canonical(draft.inputs)
        identity = given if draft.cause is None else canonical(draft.cause)
        parts = (self.service, draft.model, draft.decision, str(draft.version), identity)
        audit_id = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        if audit_id in self.known:
            return []
        entry = AuditEntry(
            audit_id=audit_id,
            model=draft.model,
            service=self.service,
            decision=draft.decision,
            version=draft.version,
            inputs=given,
            result=canonical(draft.result),
            words=draft.summary,
            previous_hash=self.last.get(draft.model, ""),
            hash="",
            time=draft.time,
        )
        entry = replace(entry, hash=entry_hash(entry))
        self.known.add(audit_id)
        self.last[draft.model] = entry.hash
        return [entry]


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 over the entry's content and the hash before it, hex."""
    content = [entry.previous_hash, entry.time, *(getattr(entry, name) for name in HASHED)]
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def broken_links(entries: Iterable[AuditEntry]) -> list[str]:
    """Ids of entries, in topic order, whose hash is wrong or whose predecessor is not the one
    that they name."""
    last: dict[tuple[str, str], str] = {}
    broken = []
    for entry in entries:
        chain = (entry.model, entry.service)
        if entry.hash != entry_hash(entry) or entry.previous_hash != last.get(chain, ""):
            broken.append(entry.audit_id)
        last[chain] = entry.hash
    return broken
