"""The loop around a handler: what it promises, with a bus in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from driftgate.bus import Position
from driftgate.bus_memory import MemoryBus
from driftgate.clock import WorldClock
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadInput, BusUnavailable
from driftgate.events import Emit, Event
from driftgate.health import Health, log_for
from driftgate.runner import Runner, newest

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")


def declared(model: str, repo_hash: str = "1") -> dict[str, object]:
    return {"model": model, "repo_hash": repo_hash, "repo_uri": "", "actor": "", "time": 1}


@dataclass
class System:
    """One service that reads `models`."""

    handle: Callable[[str, Event], list[Emit]]
    bus: MemoryBus = field(default_factory=MemoryBus)

    def __post_init__(self) -> None:
        self.bus.ensure(CODEC.topics.by_name.values())

    def write(self, topic: str, event: Event) -> None:
        key = CODEC.topics.key(topic, event)
        self.bus.producer().send(topic, key, CODEC.encode(topic, event))

    def step(self) -> None:
        """The service starts, polls once and stops."""
        settings = Settings(clock="world")
        health, log = Health("svc"), log_for("svc")
        runner = Runner(
            "svc", settings, self.bus, CODEC, WorldClock(), self.handle, ["models"], log, health
        )
        consumer = self.bus.consumer(["models", "clock"], "svc", "svc-0")
        runner.step(consumer, self.bus.producer())
        consumer.close()

    def committed(self) -> int:
        return self.bus.committed("svc").get(Position("models", 0), 0)


def ack(event: Event) -> Emit:
    said = {"router": "r", "epoch": 1, "status": "serving", "digests": [], "reason": None}
    return Emit("routing.acks", said | {"model": event["model"], "time": 1})


def test_what_a_record_leads_to_is_sent_before_its_position_is_committed() -> None:
    system = System(lambda _, event: [ack(event)])
    seen: list[int] = []
    send = system.bus.producer
    system.bus.producer = lambda: seen.append(system.committed()) or send()  # type: ignore[method-assign, func-returns-value]
    system.write("models", declared("a"))
    system.step()
    assert system.committed() == 1
    assert len(list(system.bus.read_all(["routing.acks"]))) == 1


def test_a_crash_while_handling_repeats_the_record() -> None:
    attempts: list[str] = []

    def crash_once(_: str, event: Event) -> list[Emit]:
        attempts.append(event["model"])
        if len(attempts) == 1:
            raise RuntimeError("power cut")
        return []

    system = System(crash_once)
    system.write("models", declared("a"))
    with pytest.raises(RuntimeError):
        system.step()
    assert system.committed() == 0
    system.step()
    assert attempts == ["a", "a"]
    assert system.committed() == 1


def test_bad_input_becomes_a_dead_letter_and_the_next_record_is_handled() -> None:
    def refuse_a(_: str, event: Event) -> list[Emit]:
        if event["model"] == "a":
            raise BadInput("unhandled", "model", "a", "anything but a")
        return [ack(event)]

    system = System(refuse_a)
    system.write("models", declared("a"))
    system.write("models", declared("b"))
    system.step()
    (letter,) = [CODEC.decode("models.dlq", r.value) for r in system.bus.read_all(["models.dlq"])]
    assert letter["message"] == "model: got 'a', expected anything but a"
    assert letter["value"] == CODEC.encode("models", declared("a"))
    assert len(list(system.bus.read_all(["routing.acks"]))) == 1


def test_malformed_records_are_left_to_ingest_logger() -> None:
    system = System(lambda _, event: [ack(event)])
    system.bus.producer().send("models", b"a", b"not avro")
    system.step()
    assert system.committed() == 1
    assert list(system.bus.read_all(["models.dlq"])) == []


def test_retriable_errors_are_tried_again() -> None:
    attempts: list[str] = []

    def flaky(_: str, event: Event) -> list[Emit]:
        attempts.append(event["model"])
        if len(attempts) < 3:
            raise BusUnavailable("away")
        return [ack(event)]

    system = System(flaky)
    system.write("models", declared("a"))
    system.step()
    assert len(attempts) == 3
    assert system.committed() == 1


def test_the_newest_record_of_a_key_is_the_state() -> None:
    system = System(lambda *_: [])
    for model, repo_hash in (("a", "1"), ("b", "1"), ("a", "2")):
        system.write("models", declared(model, repo_hash))
    state = newest(system.bus, CODEC, "models")
    assert {name: event["repo_hash"] for name, event in state.items()} == {"a": "2", "b": "1"}
