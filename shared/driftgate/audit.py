"""The decision log: every decision with its evidence, chained by hash per model and service.

The chain shows that no entry was changed or taken out. An entry's id is made of the decision's
inputs, or of its cause where more may be known by the time that it is taken again, so a decision
that is taken again after a crash is logged once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from driftgate.bus import Bus
from driftgate.bus_tools import events
from driftgate.codec import Codec, canonical
from driftgate.events import AuditEntry, Emit, Event

if TYPE_CHECKING:
    from driftgate.runtime.service import AuditDraft

TOPIC = "audit"
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
        emits = self.entry(
            draft.model,
            draft.decision,
            inputs=draft.inputs,
            result=draft.result,
            words=draft.summary,
            time=draft.time,
            version=draft.version,
            cause=draft.cause,
        )
        return [AuditEntry.of(emit.event) for emit in emits]

    def entry(
        self,
        model: str,
        decision: str,
        *,
        inputs: Any,
        result: Any,
        words: str,
        time: int,
        version: int | None = None,
        cause: Any = None,
    ) -> list[Emit]:
        """The entry to send, or nothing when this very decision stands in the log. `cause` is what
        makes it this very one, when that is not all of `inputs`."""
        given = canonical(inputs)
        identity = given if cause is None else canonical(cause)
        parts = (self.service, model, decision, str(version), identity)
        audit_id = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        if audit_id in self.known:
            return []
        event: dict[str, Any] = {
            "audit_id": audit_id,
            "model": model,
            "service": self.service,
            "decision": decision,
            "version": version,
            "inputs": given,
            "result": canonical(result),
            "words": words,
            "previous_hash": self.last.get(model, ""),
            "time": time,
        }
        event["hash"] = entry_hash(event)
        self.known.add(audit_id)
        self.last[model] = event["hash"]
        return [Emit(TOPIC, event)]


def entry_hash(event: Event) -> str:
    """SHA-256 over the entry's content and the hash before it, hex."""
    content = [event["previous_hash"], event["time"], *(event[name] for name in HASHED)]
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def broken_links(entries: Iterable[Event]) -> list[str]:
    """Ids of entries, in topic order, whose hash is wrong or whose predecessor is not the one
    that they name."""
    last: dict[tuple[str, str], str] = {}
    broken = []
    for entry in entries:
        chain = (entry["model"], entry["service"])
        if entry["hash"] != entry_hash(entry) or entry["previous_hash"] != last.get(chain, ""):
            broken.append(entry["audit_id"])
        last[chain] = entry["hash"]
    return broken
