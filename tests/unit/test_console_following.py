"""What becomes of an order, from what the services tell; and waiting for it on a bus in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from memory_desk import MemoryDesk
from rich.console import Console

from driftgate.codec import Codec
from driftgate.dead_letters import letter
from driftgate.errors import BadInput, NotInTime
from driftgate.events import Emit
from services.console import waiting
from services.console.following import Course, given_up, refusal, step
from services.console.operators import command_event

ORDER = Course("triage", "c1")
REQUEST = {"retrain_id": "triage:operator:c1"}


def entry(
    service: str, decision: str, inputs: Any = None, result: Any = None, **more: Any
) -> dict[str, Any]:
    return {
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
    } | more


def ack(epoch: int, status: str = "serving", **more: Any) -> dict[str, Any]:
    return {
        "router": "router-0",
        "model": "triage",
        "epoch": epoch,
        "status": status,
        "digests": [],
        "reason": "does not load" if status == "refused" else None,
        "time": 0,
    } | more


REQUESTED = entry("drift-detector", "retrain", {"command": {"command_id": "c1"}}, REQUEST)
TRAINED = entry("trainer", "train", REQUEST)
PASSED = entry("evaluator", "verdict", result={"result": "pass"})
FAILED = entry("evaluator", "verdict", result={"result": "fail"})
FIRST = entry("promoter", "start", result={"state": {"champion": 4, "epoch": 7}})
REFRESH = entry("promoter", "start", result={"state": {"champion": 3, "epoch": 7}})
REFUSED_BY_2 = ack(7, "refused", router="router-2")


def course_of(*events: dict[str, Any]) -> Course:
    course = ORDER
    for event in events:
        course = step(course, "routing.acks" if "epoch" in event else "audit", event)
    return course


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
        ((REQUESTED, TRAINED, PASSED, entry("promoter", "reject")), False),
        ((REQUESTED, TRAINED, FAILED), False),
        ((REQUESTED, entry("trainer", "refuse", REQUEST)), False),
    ],
)
def test_an_order_ends_where_its_version_serves_or_is_refused(
    events: tuple[dict[str, Any], ...], passed: bool | None
) -> None:
    assert course_of(*events).passed is passed


@pytest.mark.parametrize(
    "event",
    [
        entry("drift-detector", "retrain", {"command": {"command_id": "c2"}}, REQUEST),
        entry("drift-detector", "retrain", {"complaints": []}, REQUEST),
        entry("trainer", "refuse", {"retrain_id": "triage:operator:c2"}),
        entry("trainer", "refuse", REQUEST, model="other"),
        FAILED,
        entry("promoter", "reject", version=None),
    ],
)
def test_what_others_ordered_is_not_ours(event: dict[str, Any]) -> None:
    assert step(ORDER, "audit", event) == ORDER


def test_what_came_of_it_is_told_in_the_services_words() -> None:
    assert course_of(REQUESTED, TRAINED, FAILED).words == "words of evaluator"


def test_a_router_that_refuses_is_named_whether_others_serve_or_not() -> None:
    refused = course_of(REQUESTED, TRAINED, FIRST, REFUSED_BY_2)
    assert refusal(refused) == "router-2 refuses it: does not load"
    served = step(refused, "routing.acks", ack(7))
    assert (refusal(served), served.passed) == ("", True)
    assert served.words == "triage@4 serves all traffic; router-2 refuses it: does not load"
    loaded_later = course_of(TRAINED, FIRST, REFUSED_BY_2, ack(8, router="router-2"))
    assert loaded_later.words == "triage@4 serves all traffic"


def test_the_commands_that_are_printed_find_the_same_system() -> None:
    elsewhere = replace(course_of(REQUESTED, TRAINED), options=" --state 'my world'")
    rollout = step(elsewhere, "audit", REFRESH).words
    assert "`driftgate audit triage --state 'my world'` shows its rollout" in rollout
    words = given_up(elsewhere, {"model": "triage", "version": 4}, "").words
    assert "`driftgate dlq list --model triage --state 'my world'`" in words


def test_what_was_given_up_ends_the_order() -> None:
    trained = course_of(REQUESTED, TRAINED)
    for event in (
        {"model": "triage", "command_id": "c1"},
        {"model": "triage", **REQUEST, "version": 4},
        {"model": "triage", "version": 4},
    ):
        course = given_up(trained, event, "the trainer gave it up")
        assert course.passed is False
        assert "`driftgate dlq list --model triage`" in course.words
    for event in (
        {"model": "triage", "command_id": "c2"},
        {"model": "other", **REQUEST},
        {"model": "triage", "version": 5},
    ):
        assert given_up(trained, event, "").passed is None


# ---------------------------------------------------------------- waiting


@pytest.fixture
def desk(codec: Codec) -> MemoryDesk:
    return MemoryDesk(codec)


def wait(desk: MemoryDesk, later: Iterable[Emit] = (), deadline_s: float = 30) -> tuple[Any, str]:
    """The end of an order, and what was printed; `later` comes while it is waited for."""
    out, coming = io.StringIO(), list(later)

    def activities() -> dict[str, str]:
        desk.send([coming.pop(0)] if coming else [])
        return {"trainer": "training triage@4: 42 %, 6 s left"}

    console = Console(file=out, width=60)
    course = waiting.wait(desk.bus, desk.codec, ORDER, deadline_s, activities, console)
    return course, out.getvalue()


def test_decisions_are_printed_as_they_come_and_work_once(desk: MemoryDesk) -> None:
    told = (entry("trainer", "refuse", model="other"), REQUESTED, TRAINED, PASSED, FIRST)
    desk.send(Emit("audit", event) for event in told[:2])
    later = [*(Emit("audit", event) for event in told[2:]), Emit("routing.acks", ack(7))]
    course, said = wait(desk, later)
    assert (course.passed, course.version) == (True, 4)
    assert [line.split()[2] for line in said.splitlines() if "words of" in line] == [
        "drift-detector",
        "trainer",
        "evaluator",
        "promoter",
    ]
    assert said.count("trainer: training triage@4") == 1


def test_a_request_that_became_a_dead_letter_ends_the_waiting(desk: MemoryDesk) -> None:
    command = command_event("triage", "retrain", {}, "ann", "why", 0) | {"command_id": "c1"}
    desk.send([Emit("commands", command)])
    (record,) = desk.bus.read_all(["commands"])
    error = BadInput("unknown_model", "model", "triage", "a model that was declared")
    desk.send([letter(record, error, "drift-detector", 0)])
    course, _ = wait(desk)
    assert course.passed is False
    assert "drift-detector gave it up: model: got 'triage'" in course.words


def test_nothing_is_waited_for_beyond_the_deadline(desk: MemoryDesk) -> None:
    with pytest.raises(NotInTime, match="the order stands"):
        wait(desk, deadline_s=0)


def test_a_version_that_all_routers_refuse_is_given_up_after_a_while(
    desk: MemoryDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (REQUESTED, TRAINED, PASSED, FIRST)
    desk.send([*(Emit("audit", event) for event in told), Emit("routing.acks", REFUSED_BY_2)])
    monkeypatch.setattr(waiting, "OTHER_ROUTERS_SECONDS", 0.0)
    course, _ = wait(desk)
    assert (course.passed, course.words) == (False, "router-2 refuses it: does not load")


def test_a_router_that_serves_a_moment_later_than_another_refused_is_waited_for(
    desk: MemoryDesk,
) -> None:
    told = (REQUESTED, TRAINED, PASSED, FIRST)
    desk.send([*(Emit("audit", event) for event in told), Emit("routing.acks", REFUSED_BY_2)])
    course, _ = wait(desk, [Emit("routing.acks", ack(7))])
    assert course.passed is True
