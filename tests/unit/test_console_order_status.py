"""What becomes of an order, from what the services publish; and waiting for it on a bus in
memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from memory_harness import MemoryHarness
from rich.console import Console
from typer.testing import CliRunner, Result

from driftgate import bus_kafka
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.dead_letters import dead_letter
from driftgate.errors import BadConfig, BadInput, NotInTime
from driftgate.events import (
    AckStatus,
    AnyEvent,
    AuditEntry,
    Candidate,
    Command,
    CommandKind,
    Model,
    RetrainRequest,
    Rollout,
    RoutingAck,
    Verdict,
)
from services.console import cli, model_cli, orders, steer_cli, waiting
from services.console.operators import meant, new_command, refuse_another
from services.console.order_status import OrderStatus, given_up, refusal, step

ORDER = OrderStatus("triage", "c1")
REQUEST = {"retrain_id": "triage:operator:c1"}


def entry(
    service: str, decision: str, inputs: Any = None, result: Any = None, **more: Any
) -> AuditEntry:
    fields = {
        "audit_id": "",
        "model": "triage",
        "service": service,
        "decision": decision,
        "version": 4,
        "inputs": json.dumps(inputs or {}),
        "result": json.dumps(result or {}),
        "words": f"words of {service}",
        "previous_hash": "",
        "hash": "",
        "time": 0,
    }
    return AuditEntry(**fields | more)


def ack(epoch: int, status: AckStatus = "serving", **more: Any) -> RoutingAck:
    fields = {
        "router": "router-0",
        "model": "triage",
        "epoch": epoch,
        "status": status,
        "digests": (),
        "reason": "does not load" if status == "refused" else None,
        "time": 0,
    }
    return RoutingAck(**fields | more)


def command(command_id: str, kind: CommandKind = "retrain") -> Command:
    return replace(new_command("triage", kind, {}, "ann", "why", 0), command_id=command_id)


REQUESTED = entry("drift-detector", "retrain", result=REQUEST)
TRAINED = entry("trainer", "train", REQUEST)
PASSED = entry("evaluator", "verdict", result={"result": "pass"})
FAILED = entry("evaluator", "verdict", result={"result": "fail"})
FIRST = entry("promoter", "start", result={"state": {"champion": 4, "epoch": 7}})
REFRESH = entry("promoter", "start", result={"state": {"champion": 3, "epoch": 7}})
WAITS = replace(REFRESH, decision="wait")
REFUSED_BY_2 = ack(7, "refused", router="router-2")


def status_of(*events: AnyEvent) -> OrderStatus:
    status = ORDER
    for event in events:
        status = step(status, event)
    return status


@pytest.mark.parametrize(
    ("events", "passed"),
    [
        ((), None),
        ((REQUESTED, TRAINED, PASSED), None),
        ((REQUESTED, TRAINED, PASSED, FIRST), None),
        ((REQUESTED, TRAINED, PASSED, FIRST, ack(7)), True),
        ((REQUESTED, TRAINED, PASSED, ack(7), FIRST), True),
        ((REQUESTED, TRAINED, PASSED, FIRST, ack(8)), True),
        ((REQUESTED, TRAINED, PASSED, FIRST, ack(6)), None),
        ((REQUESTED, TRAINED, PASSED, FIRST, ack(7, model="other")), None),
        ((REQUESTED, TRAINED, PASSED, FIRST, REFUSED_BY_2), None),  # another may yet serve it
        ((REQUESTED, TRAINED, PASSED, FIRST, REFUSED_BY_2, ack(7)), True),
        ((REQUESTED, TRAINED, PASSED, FIRST, ack(7), REFUSED_BY_2), True),
        ((REQUESTED, TRAINED, PASSED, ack(7), REFUSED_BY_2, FIRST), True),
        ((REQUESTED, TRAINED, PASSED, FIRST, REFUSED_BY_2, ack(8)), True),
        ((REQUESTED, TRAINED, PASSED, FIRST, REFUSED_BY_2, entry("promoter", "refused")), False),
        ((REQUESTED, TRAINED, PASSED, FIRST, entry("promoter", "rollback")), False),
        ((REQUESTED, TRAINED, PASSED, REFRESH), True),
        ((REQUESTED, TRAINED, PASSED, WAITS), True),
        ((REQUESTED, TRAINED, PASSED, entry("promoter", "reject")), False),
        ((REQUESTED, TRAINED, PASSED, FIRST, entry("promoter", "abort")), False),
        ((REQUESTED, TRAINED, FAILED), False),
        ((REQUESTED, entry("trainer", "refuse", REQUEST)), False),
    ],
)
def test_an_order_ends_where_its_version_serves_or_is_refused(
    events: tuple[AnyEvent, ...], passed: bool | None
) -> None:
    assert status_of(*events).passed is passed


@pytest.mark.parametrize(
    "event",
    [
        entry("drift-detector", "retrain", result={"retrain_id": "triage:operator:c2"}),
        entry("drift-detector", "retrain", result={"retrain_id": "triage:drift:17"}),
        entry("trainer", "refuse", {"retrain_id": "triage:operator:c2"}),
        entry("trainer", "refuse", REQUEST, model="other"),
        FAILED,
        entry("promoter", "reject", version=None),
    ],
)
def test_what_others_ordered_is_not_ours(event: AuditEntry) -> None:
    assert step(ORDER, event) == ORDER


def test_what_came_of_it_is_told_in_the_services_words() -> None:
    assert status_of(REQUESTED, TRAINED, FAILED).summary == "words of evaluator"


def test_a_router_that_refuses_is_named_whether_others_serve_or_not() -> None:
    refused = status_of(REQUESTED, TRAINED, FIRST, REFUSED_BY_2)
    assert refusal(refused) == "router-2 refuses it: does not load"
    served = step(refused, ack(7))
    assert (refusal(served), served.passed) == ("", True)
    assert served.summary == "triage@4 serves all traffic; router-2 refuses it: does not load"
    loaded_later = status_of(TRAINED, FIRST, REFUSED_BY_2, ack(8, router="router-2"))
    assert loaded_later.summary == "triage@4 serves all traffic"


def test_the_commands_that_are_printed_find_the_same_system() -> None:
    elsewhere = replace(status_of(REQUESTED, TRAINED), options=" --state 'my world'")
    rollout = step(elsewhere, REFRESH).summary
    assert "`driftgate audit triage --state 'my world'` shows its rollout" in rollout
    summary = given_up(elsewhere, command("c1"), "").summary
    assert "`driftgate dlq list --model triage --state 'my world'`" in summary


def requested(retrain_id: str, model: str = "triage") -> RetrainRequest:
    return RetrainRequest(retrain_id=retrain_id, model=model, reason="operator", time=0)


def candidate(retrain_id: str) -> Candidate:
    texts = dict.fromkeys(
        (
            *("adapter_uri", "adapter_digest", "base", "base_digest", "method", "dataset_id"),
            *("dataset_uri", "model_card_uri", "run_uri", "repo_hash", "reason"),
        ),
        "",
    )
    return Candidate(retrain_id=retrain_id, model="triage", version=4, time=0, **texts)


def verdict(retrain_id: str) -> Verdict:
    texts = dict.fromkeys(
        ("verdict_id", "adapter_digest", "adapter_uri", "repo_hash", "report_uri", "words"), ""
    )
    return Verdict(
        retrain_id=retrain_id, model="triage", version=4, result="pass", axes=(), time=0, **texts
    )


def test_what_was_given_up_ends_the_order() -> None:
    trained = status_of(REQUESTED, TRAINED)
    ours, other = "triage:operator:c1", "triage:operator:c2"
    for event in (command("c1"), requested(ours), candidate(ours), verdict(ours)):
        status = given_up(trained, event, "the trainer gave it up")
        assert status.passed is False
        assert "`driftgate dlq list --model triage`" in status.summary
    for event in (command("c2"), requested(ours, "other"), candidate(other), verdict(other)):
        assert given_up(trained, event, "").passed is None


def test_an_erasure_is_refused_in_words_until_it_erases() -> None:
    """Accepted, it would change nothing, and a retrain would learn from the person again."""
    for kind, args, reason in (
        ("erase", {}, "asked by c-17"),
        ("retrain", {"reason": "erasure"}, "asked by c-17"),
        ("retrain", {}, "Erasure"),
    ):
        with pytest.raises(BadConfig, match="cannot be erased yet"):
            new_command("triage", kind, args, "ann", reason, 0)  # type: ignore[arg-type]
    assert new_command("triage", "rollback", {}, "ann", "erasure", 0).kind == "rollback"


# ---------------------------------------------------------------- commands about a version


def rollout(**more: Any) -> Rollout:
    fields = {"model": "triage", "epoch": 7, "champion": 2, "stage": "idle", "since": 0, "time": 0}
    return Rollout(**fields | {"words": "version 3 is taken back: it is worse"} | more)


@pytest.mark.parametrize(
    ("kind", "state", "version"),
    [
        ("rollback", None, None),
        ("rollback", rollout(), None),
        ("rollback", rollout(challenger=3, stage="loading"), 3),
        ("rollback", rollout(stage="full"), 2),
        ("abort", None, None),
        ("abort", rollout(challenger=3, stage="loading"), 3),
        ("abort", rollout(stage="full"), None),
        ("approve", rollout(challenger=3, stage="half"), 3),
        ("promote", rollout(challenger=3, stage="half"), None),
    ],
)
def test_a_command_that_names_no_version_is_about_the_one_on_trial(
    kind: CommandKind, state: Rollout | None, version: int | None
) -> None:
    assert meant(kind, state) == version


@pytest.mark.parametrize(("decision", "passed"), [("rollback", True), ("ignore", False)])
def test_what_the_promoter_makes_of_a_command_is_told(decision: str, passed: bool) -> None:
    inputs = {"topic": "commands", "event": command("c1", "rollback").as_dict()}
    done = step(ORDER, entry("promoter", decision, inputs))
    assert (done.passed, done.summary) == (passed, "words of promoter")
    other = {"topic": "commands", "event": command("c2", "rollback").as_dict()}
    assert step(ORDER, entry("promoter", decision, other)) == ORDER


def test_a_retrain_is_the_same_order_whenever_its_rows_were_stored() -> None:
    """Rows without a date are of the day on which they are sent."""
    first, again, other = (
        new_command("triage", "retrain", args, "ann", "", time, command_id="c1")
        for time, args in enumerate(({"seed_uri": "a"}, {"seed_uri": "b"}, {"drill": "x"}))
    )
    refuse_another(first, again)
    with pytest.raises(BadConfig, match="belongs to `retrain triage`"):
        refuse_another(first, other)


class Operator:
    """Types commands about a model whose promoter answers each with one decision."""

    def __init__(self, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
        self.harness, self.decision = MemoryHarness(codec), "ignore"
        self.harness.send(Model(model="triage", repo_hash="", repo_uri="", actor="", time=0))
        monkeypatch.setattr(steer_cli, "settings", lambda *_: Settings())
        monkeypatch.setattr(orders, "send", self.answered)
        for module in (bus_kafka, model_cli, orders, steer_cli):
            monkeypatch.setattr(module, "KafkaBus", lambda *_: self.harness.bus)

    def answered(self, _: Settings, order: Command) -> None:
        inputs = {"topic": "commands", "event": order.as_dict()}
        told = entry("promoter", self.decision, inputs, version=order.version)
        self.harness.send(order, told)

    def types(self, words: str) -> Result:
        return CliRunner().invoke(cli.app, words.split())

    def ordered(self) -> list[int | None]:
        return [order.version for order in self.harness.read("commands")]


@pytest.fixture
def operator(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(codec, monkeypatch)


def test_a_rollback_that_comes_after_harm_took_the_version_back_orders_nothing(
    operator: Operator,
) -> None:
    operator.harness.send(rollout())
    for kind in ("rollback", "promote"):
        done = operator.types(f"{kind} triage")
        assert (done.exit_code, operator.ordered()) == (1, [])
        assert "version 2 is champion and none is tried (version 3 is taken back" in done.stderr
    assert "`driftgate rollback triage --version 2`" in operator.types("rollback triage").stderr


def test_a_command_names_the_version_it_means_and_tells_that_it_was_ignored(
    operator: Operator,
) -> None:
    operator.harness.send(rollout(challenger=3, stage="half"))
    operator.decision = "rollback"
    assert operator.types("rollback triage").exit_code == 0
    operator.decision = "ignore"
    done = operator.types("promote triage --version 3")
    assert (done.exit_code, operator.ordered()) == (1, [3, 3])
    assert "promote of triage@3 is ordered" in done.stdout
    assert "nothing was changed: words of promoter" in done.stderr
    operator.decision = "rollback"
    done = operator.types("rollback triage --version 2")
    assert (done.exit_code, operator.ordered()) == (0, [3, 3, 2])
    assert "promoter v2  rollback: words of promoter" in done.stdout
    operator.decision = "pause"
    assert operator.types("pause triage").exit_code == 0
    assert operator.ordered()[-1] is None


def test_a_promote_has_to_name_its_version(operator: Operator) -> None:
    """Another one may have superseded the one that was meant, a moment ago."""
    operator.harness.send(rollout(challenger=4, stage="loading"))
    done = operator.types("promote triage")
    assert (done.exit_code, operator.ordered()) == (1, [])
    assert "`driftgate promote triage --version 4`" in done.stderr


@pytest.mark.parametrize(
    ("words", "version", "args"),
    [
        ("abort triage", 3, {}),
        ("abort triage 3", 3, {}),
        ("approve triage", 3, {}),
        ("approve triage --stage full", 3, {"stage": "full"}),
        ("rollback triage 2", 2, {}),
        ("promote triage 3", 3, {}),
        ("quarantine triage 3", 3, {}),
        ("release triage 4", 4, {"digest": "d4"}),
        ("release triage --version 4", 4, {"digest": "d4"}),
        ("release triage --digest d9", None, {"digest": "d9"}),
    ],
)
def test_each_command_tells_the_promoter_which_version_it_means(
    operator: Operator, words: str, version: int | None, args: dict[str, str]
) -> None:
    judged = replace(verdict("triage:operator:c1"), adapter_digest="d4")
    operator.harness.send(rollout(challenger=3, stage="half"), judged)
    kind, operator.decision = (words.split(maxsplit=1)[0],) * 2
    done = operator.types(words)
    assert done.exit_code == 0, done.output
    (sent,) = operator.harness.read("commands")
    assert (sent.kind, sent.version, dict(sent.args)) == (kind, version, args)


@pytest.mark.parametrize("words", ["abort triage", "approve triage"])
def test_what_is_about_a_challenger_orders_nothing_while_none_is_tried(
    operator: Operator, words: str
) -> None:
    operator.harness.send(rollout())
    done = operator.types(words)
    assert (done.exit_code, operator.ordered()) == (1, [])
    assert "version 2 is champion and none is tried" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("release triage", "expected a VERSION, or its adapter by --digest"),
        ("release triage 9", "expected one that was trained (none)"),
        ("rollback triage 2 --version 3", "expected one of them"),
        ("pause triage --command-id a:b", "--command-id 'a:b': expected 1 to 64"),
        ("pause triage --command-id=", "--command-id '': expected 1 to 64"),
        ("quarantine triage", "expected a VERSION"),
        ("pause other", "model 'other' is not declared"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused_with_status_2(
    operator: Operator, words: str, told: str
) -> None:
    operator.harness.send(rollout(challenger=3, stage="half"))
    done = operator.types(words)
    assert (done.exit_code, operator.ordered()) == (2, [])
    assert told in done.stderr


def test_an_order_under_its_id_is_given_once_and_means_what_it_meant(operator: Operator) -> None:
    """A script that heard nothing asks again; by then the version is gone."""
    operator.harness.send(rollout(challenger=3, stage="half"))
    operator.decision = "rollback"
    first = operator.types("rollback triage --command-id night-1")
    operator.harness.send(rollout())
    again = operator.types("rollback triage --command-id night-1")
    assert (first.exit_code, again.exit_code, operator.ordered()) == (0, 0, [3])
    assert "promoter v3  rollback: words of promoter" in again.stdout
    for words in ("abort triage 3", "rollback triage 2"):
        other = operator.types(f"{words} --command-id night-1")
        assert (other.exit_code, operator.ordered()) == (2, [3])
        assert "--command-id 'night-1' belongs to `rollback triage@3`" in other.stderr


# ---------------------------------------------------------------- waiting


@pytest.fixture
def harness(codec: Codec) -> MemoryHarness:
    return MemoryHarness(codec)


def wait(
    harness: MemoryHarness, later: Iterable[AnyEvent] = (), deadline_s: float = 30
) -> tuple[Any, str]:
    """The end of an order, and what was printed; `later` comes while it is waited for."""
    out, coming = io.StringIO(), list(later)

    def activities() -> dict[str, str]:
        harness.send(*coming[:1])
        del coming[:1]
        return {"trainer": "training triage@4: 42 %, 6 s left"}

    console = Console(file=out, width=60)
    status = waiting.wait(harness.bus, harness.codec, ORDER, deadline_s, activities, console)
    return status, out.getvalue()


def test_decisions_are_printed_as_they_come_and_work_once(harness: MemoryHarness) -> None:
    told = (entry("trainer", "refuse", model="other"), REQUESTED, TRAINED, PASSED, FIRST)
    harness.send(*told[:2])
    status, said = wait(harness, [*told[2:], ack(7)])
    assert (status.passed, status.version) == (True, 4)
    assert [line.split()[2] for line in said.splitlines() if "words of" in line] == [
        "drift-detector",
        "trainer",
        "evaluator",
        "promoter",
    ]
    assert said.count("trainer: training triage@4") == 1


def test_a_request_that_became_a_dead_letter_ends_the_waiting(harness: MemoryHarness) -> None:
    harness.send(command("c1"))
    (record,) = harness.bus.read_all(["commands"])
    error = BadInput("unknown_model", "model", "triage", "a model that was declared")
    harness.send(dead_letter(record, error, "drift-detector", 0))
    status, _ = wait(harness)
    assert status.passed is False
    assert "drift-detector gave it up: model: got 'triage'" in status.summary


def test_nothing_is_waited_for_beyond_the_deadline(harness: MemoryHarness) -> None:
    with pytest.raises(NotInTime, match="the order stands"):
        wait(harness, deadline_s=0)


def test_a_version_that_all_routers_refuse_is_given_up_after_a_while(
    harness: MemoryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.send(REQUESTED, TRAINED, PASSED, FIRST, REFUSED_BY_2)
    monkeypatch.setattr(waiting, "OTHER_ROUTERS_SECONDS", 0.0)
    status, _ = wait(harness)
    assert (status.passed, status.summary) == (False, "router-2 refuses it: does not load")


def test_a_router_that_serves_a_moment_later_than_another_refused_is_waited_for(
    harness: MemoryHarness,
) -> None:
    harness.send(REQUESTED, TRAINED, PASSED, FIRST, REFUSED_BY_2)
    status, _ = wait(harness, [ack(7)])
    assert status.passed is True
