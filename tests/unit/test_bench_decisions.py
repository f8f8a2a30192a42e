"""The judge of the drill finds what it is there for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.parts.decisions import faults
from driftgate.audit import Audit
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.events import AuditEntry, Candidate, Rollout
from driftgate.runtime import AuditDraft

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")


def entries(*summaries: str, audit: Audit | None = None) -> list[AuditEntry]:
    audit = audit or Audit("promoter")
    drafts = [
        AuditDraft(model="m", decision="start", inputs=text, result={}, summary=text, time=1)
        for text in summaries
    ]
    return [entry for draft in drafts for entry in audit.chained(draft)]


def state(epoch: int, champion: int) -> Rollout:
    return Rollout(model="m", epoch=epoch, champion=champion, stage="idle", since=1, time=1)


def candidate(version: int, retrain_id: str) -> Candidate:
    return Candidate(
        retrain_id=retrain_id,
        model="m",
        version=version,
        adapter_uri="a",
        adapter_digest="d",
        base="b",
        base_digest="h",
        method="lora",
        dataset_id="i",
        dataset_uri="u",
        model_card_uri="c",
        run_uri="r",
        repo_hash="x",
        reason="drift",
        time=1,
    )


def test_a_clean_history_has_no_fault() -> None:
    again = state(1, 1)  # sent again after a kill
    assert faults([*entries("a", "b"), state(1, 1), again, state(2, 2), candidate(1, "r")]) == []


def test_states_of_one_epoch_may_differ_in_what_was_decided_without_effect_alone() -> None:
    ignored, waits = replace(state(1, 1), handled=("c",)), replace(state(1, 1), waiting="{}")
    assert faults([state(1, 1), ignored, waits]) == []
    assert faults([state(1, 1), replace(ignored, paused=True)])


def test_a_fork_is_found() -> None:
    first, second = entries("a", "b"), entries("a", "c")
    assert any("does not follow" in fault for fault in faults([*first, second[1]]))


def test_a_decision_told_twice_is_found() -> None:
    (entry,) = entries("a")
    assert any("stands 2 times" in fault for fault in faults([entry, entry]))


def test_two_states_of_one_epoch_are_found() -> None:
    assert any("different" in fault for fault in faults([state(1, 1), state(1, 2)]))


def test_an_epoch_that_goes_back_is_found() -> None:
    assert any("after 2" in fault for fault in faults([state(2, 1), state(1, 1)]))


def test_a_request_that_led_to_two_versions_is_found() -> None:
    assert any("versions" in f for f in faults([candidate(1, "r"), candidate(2, "r")]))
    changed = replace(candidate(1, "r"), adapter_digest="other")
    assert any("different" in f for f in faults([candidate(1, "r"), changed]))


def test_resuming_a_chain_makes_no_fork() -> None:
    bus = MemoryBus()
    bus.ensure(CODEC.topics.by_name.values())
    first = entries("a", "b")
    for entry in first:
        bus.producer().send(*CODEC.record(entry))
    resumed = Audit.resume("promoter", bus, CODEC)
    assert faults([*first, *entries("b", "c", audit=resumed)]) == []
