"""Each decision of the promoter can be taken again from its entry in the audit alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from driftgate.audit import Audit
from driftgate.codec import canonical
from driftgate.errors import BadInput
from driftgate.events import DAY_MS, AuditEntry, Command, RoutingAck, ServingCounts, Tick, Verdict
from driftgate.events import VersionCounts as Counts
from driftgate.model_repo import ModelYaml
from services.promoter.canary_analysis import OUTCOMES, Comparison, Evidence
from services.promoter.e_values import Events, Units
from services.promoter.replay import replay
from services.promoter.rollout import Event, Situation, step
from services.promoter.service import Gathered, audit
from services.promoter.state import State

DAY = 20_000 * DAY_MS
REPO = ModelYaml.model_validate(
    {
        "model": "m",
        "task": {"kind": "text-classification", "labels": ["a", "b"]},
        "base": {"name": "all-MiniLM-L6-v2"},
        "monitors": [],
        "feedback": {"profile": ["complaints", "review"]},
        "review": {"share": 0.03},
        "gate": {"min_accuracy": 0.8, "protected": {"language=es": {"min_accuracy": 0.6}}},
        "rollout": {
            "stages": [
                {"name": "shadow", "percent": 0, "soak": "6h", "min_samples": 20},
                {"name": "half", "percent": 50, "soak": 1, "min_samples": 30},
                {"name": "full", "percent": 100, "approval": True},
            ],
            "metrics": [{"name": "latency_ms", "on_harm": "warn"}],
            "blackout": [{"days": ["sat"], "begin": "00:00", "end": "00:00"}],
            "approvers": ["ana"],
            "quarantine_days": "30d",
            "margin": 0.05,
        },
    }
)


def evidence(new: int, old: int, right: int = 4_000, behind: str = "") -> Evidence:
    """Complaints about each version among people of whom so many complain about none
    or about what both say."""
    same = right // 20
    outcomes = Comparison(
        OUTCOMES,
        "heard",
        events=(Events(0.05, new, 0), Events(0.5, 0, old)),
        units=(
            Units(-2.0, old, 2.0),
            Units(0.0, same, 1.0),
            Units(0.0, right - same),
            Units(20 / 19, new),
        ),
        bound=20.0,
    )
    slow = Comparison("latency_ms", "heard", events=(Events(0.5, 90, 2),))
    return Evidence((outcomes, slow), both=right, differ=new + old, behind=behind)


GOOD, BAD, HARM = evidence(1, 4), evidence(3, 2, right=40), evidence(60, 2)


def verdict(version: int, **more: Any) -> Verdict:
    fields = {
        "verdict_id": f"m@{version}",
        "model": "m",
        "version": version,
        "retrain_id": "",
        "adapter_digest": f"d{version}",
        "adapter_uri": f"sha256:d{version}",
        "champion": version - 1 or None,
        "base": "base",
        "base_digest": "b",
        "result": "pass",
        "axes": [],
        "repo_hash": f"repo-{version}",
        "report_uri": "",
        "words": "as evaluated",
        "time": DAY,
    }
    return Verdict.of(fields | more)


def command(kind: Any, number: int, **more: Any) -> Command:
    return Command(command_id=f"c-{number}", model="m", kind=kind, actor="ana", time=DAY, **more)


def ack(router: str = "router-0", **more: Any) -> RoutingAck:
    told: dict[str, Any] = {"epoch": 0, "status": "serving", "digests": (), "time": DAY} | more
    return RoutingAck(router=router, model="m", **told)


def counts(epoch: int, errors: int) -> ServingCounts:
    old, new = (
        Counts(version=v, digest="", answers=90, errors=e, shadow_answers=0, shadow_errors=0)
        for v, e in ((1, 0), (5, errors))
    )
    return ServingCounts(
        router="router-0", started="a", model="m", epoch=epoch, versions=(old, new), time=DAY
    )


class Log:
    """What the promoter writes into the audit, while a story is played to it."""

    def __init__(self) -> None:
        self.state, self.now, self.audit = State("m"), DAY, Audit("promoter")
        self.entries: list[AuditEntry] = []

    def hears(self, event: Event, **known: Any) -> None:
        """`known`: more of the situation."""
        given: dict[str, Any] = {"declared": REPO, "routed": self.state.epoch} | known
        situation = Situation(now=self.now, **given)
        gathered = Gathered(event, self.state, situation, {})
        done = step(self.state, event, situation)
        for decision in done.decisions:
            self.entries += self.audit.chained(audit(gathered, done.state, decision))
        self.state = done.state

    def later(self, days: float, known: Evidence, **more: Any) -> None:
        self.now += round(days * DAY_MS)
        tick = Tick(world="w", time=self.now)
        serving = (ack(epoch=self.state.epoch),)
        self.hears(tick, **{"evidence": known, "acks": serving, **more})

    def acknowledged(self, *routers: str, **more: Any) -> None:
        acks = tuple(ack(router, epoch=self.state.epoch, **more) for router in routers)
        self.hears(acks[0], acks=acks)


@pytest.fixture(scope="module")
def log() -> Log:
    """Every decision that there is."""
    log = Log()
    log.hears(verdict(1))
    log.hears(verdict(2))
    log.later(0.1, Evidence(), acks=(), lost=("router-1",))
    log.acknowledged("router-0")
    log.later(1, evidence(0, 0, behind="its newest tick is 90 s old"))
    log.later(0.1, GOOD)
    log.later(0.5, GOOD)
    log.hears(command("pause", 1))
    log.later(0.7, GOOD)
    log.hears(command("resume", 2))
    log.later(0.1, BAD)
    log.later(0.1, GOOD)
    log.later(0.5, BAD)
    log.later(1.0, GOOD)
    log.hears(replace(command("approve", 3), actor="eve"))
    log.hears(command("approve", 4, version=2))
    log.later(0.1, GOOD)
    log.hears(verdict(3))
    log.later(1, HARM)
    log.hears(command("release", 5, version=2, args={"digest": "d2"}))
    log.later(2, Evidence())
    log.hears(verdict(2, verdict_id="again"))
    log.acknowledged("router-0", "router-1", status="refused", reason="corrupt")
    log.hears(verdict(4, result="fail"))
    log.hears(verdict(5, champion=1))
    log.acknowledged("router-0")
    failed = (counts(log.state.epoch, 40),)
    log.hears(failed[0], counts=failed)
    return log


def test_the_story_has_looks_and_decisions_of_each_kind(log: Log) -> None:
    told = {entry.decision for entry in log.entries}
    assert told >= {
        *("start", "hold", "advance", "pause", "resume", "approve", "ignore", "wait", "rollback"),
        *("release", "refusal", "refused", "reject"),
    }
    looks = [entry for entry in log.entries if "looks" in json.loads(entry.result)["numbers"]]
    assert {entry.decision for entry in looks} == {"hold", "advance", "rollback"}
    assert any("fails more often" in entry.words for entry in log.entries)


def test_each_entry_leads_to_its_decision_once_more(log: Log) -> None:
    for entry in log.entries:
        again = replay(json.loads(entry.inputs))
        result = json.loads(entry.result)
        found = {one.name: one for one in again.decisions}[entry.decision]
        assert (found.version, found.summary) == (entry.version, entry.words)
        assert json.loads(canonical(dict(found.numbers))) == result["numbers"]
        assert again.state.record().as_dict() == result["state"]


def test_an_entry_that_was_changed_leads_to_another_decision(log: Log) -> None:
    """What is replayed is the evidence, not the answer that stands beside it."""
    harmed = next(entry for entry in log.entries if "it is worse" in entry.words)
    inputs = json.loads(harmed.inputs)
    inputs["evidence"]["comparisons"][0]["events"] = []
    (decision,) = replay(inputs).decisions
    assert (harmed.decision, decision.name) == ("rollback", "hold")


def test_a_hold_while_the_model_repo_cannot_be_read_is_refused_again() -> None:
    log = Log()
    log.hears(verdict(1))
    inputs = json.loads(log.entries[-1].inputs) | {"rules": None}
    with pytest.raises(BadInput, match="a stored model repo"):
        replay(inputs | tick_of(log.state))


def tick_of(state: State) -> dict[str, Any]:
    """A tick in a stage, as inputs of an entry."""
    tried = replace(state, stage="half", challenger=2, since=DAY)
    tick = Tick(world="w", time=DAY + DAY_MS)
    return {
        "topic": Tick.TOPIC,
        "event": tick.as_dict(),
        "state": tried.record().as_dict(),
        "now": tick.time,
    }
