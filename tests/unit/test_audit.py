from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from driftgate.audit import Audit, broken_links
from driftgate.bus_memory import MemoryBus
from driftgate.bus_tools import events, publish
from driftgate.codec import Codec
from driftgate.events import AuditEntry
from driftgate.runtime import AuditDraft

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")


def log(bus: MemoryBus, audit: Audit, decision: str, n: int = 0) -> None:
    draft = AuditDraft(
        model="m", decision=decision, inputs={"n": n}, result={}, summary="…", time=n
    )
    publish(bus.producer(), CODEC, audit.chained(draft))


def entries(bus: MemoryBus) -> list[AuditEntry]:
    return list(events(bus, CODEC, AuditEntry))


def bus() -> MemoryBus:
    found = MemoryBus()
    found.ensure([CODEC.topics["audit"]])
    return found


def test_a_restart_goes_on_with_the_chain_and_logs_nothing_twice() -> None:
    topic = bus()
    log(topic, Audit.resume("promoter", topic, CODEC), "advance", 1)
    log(topic, Audit.resume("promoter", topic, CODEC), "advance", 1)
    log(topic, Audit.resume("promoter", topic, CODEC), "rollback", 2)
    assert [entry.decision for entry in entries(topic)] == ["advance", "rollback"]
    assert broken_links(entries(topic)) == []


def test_services_have_chains_of_their_own() -> None:
    topic = bus()
    log(topic, Audit.resume("promoter", topic, CODEC), "advance")
    log(topic, Audit.resume("trainer", topic, CODEC), "train")
    assert broken_links(entries(topic)) == []


def test_a_changed_or_missing_entry_shows() -> None:
    topic = bus()
    audit = Audit.resume("promoter", topic, CODEC)
    for n in range(3):
        log(topic, audit, "advance", n)
    found = entries(topic)
    changed = [found[0], replace(found[1], words="nothing happened"), found[2]]
    assert broken_links(changed) == [found[1].audit_id]
    assert broken_links([found[0], found[2]]) == [found[2].audit_id]


def test_an_entry_of_an_older_version_is_as_it_was() -> None:
    """Chains that began before go on: id and hash of the same decision never change."""
    draft = AuditDraft(
        model="m", decision="advance", inputs={"n": 1}, result={"b": 0.5}, summary="on", time=7
    )
    (entry,) = Audit("promoter").chained(draft)
    assert entry.audit_id == "bcb705fa511e26dbeef0d707cc489fef"
    assert entry.hash.startswith("aea0acf67aa52549")
