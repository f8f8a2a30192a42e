"""The detector as its service drives it: records in, events out, a memory that can be written."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from drift_world import (
    LABELS,
    MODEL,
    START,
    YAML,
    day,
    declare,
    inference,
    outcome,
    reference,
    retrain,
    tick,
    verdict,
)

from driftgate.artifacts import Artifacts
from driftgate.audit import Audit, broken_links
from driftgate.bus import Record
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.events import Emit, Event
from driftgate.health import log_for
from driftgate.model_repo import fetch
from driftgate.topology import DRIFT, READS
from services.drift_detector.checkpoint import MEMORY, Memory, load, save
from services.drift_detector.detector import Detector

A_DAY = 45


@dataclass
class Desk:
    """A detector beside a bus in memory, which it reads as far as it is told."""

    codec: Codec
    folder: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    said: list[Emit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bus.ensure(self.codec.topics.by_name.values())
        self.artifacts = Artifacts(f"file://{self.folder / 'artifacts'}")
        self.producer = self.bus.producer()
        self.restart(Memory())

    def restart(self, memory: Memory) -> None:
        """A new process, with this memory."""
        self.detector = Detector(
            memory,
            self.codec,
            Audit.resume(DRIFT, self.bus, self.codec),
            lambda uri: fetch(uri, self.artifacts, self.folder / "repos").config,
            log_for(DRIFT),
        )

    def put(self, topic: str, *events: Event) -> None:
        for event in events:
            key = self.codec.topics.key(topic, event)
            self.producer.send(topic, key, self.codec.encode(topic, event))

    def read(self, topics: Sequence[str] = READS[DRIFT]) -> list[Emit]:
        """Takes everything on these topics, in their order; what is new is sent and returned."""
        new: list[Emit] = []
        for topic in topics:
            for record in list(self.bus.read_all([topic])):
                new += self.detector.take(record)
        for emit in new:
            self.put(emit.topic, emit.event)
        self.said += new
        return new

    def end(self, at: int) -> Event:
        """The tick that ends a day, with the positions of what lies on the bus."""
        ends = self.bus.ends(["inferences", "outcomes"])
        return tick(at, **{f"{p.topic}_{p.partition}": end for p, end in ends.items()})

    def launch(self, text: str = YAML) -> None:
        self.put("models", declare(self.artifacts, self.folder / "repo", text))
        self.put("verdicts", verdict(1, day(0)))
        self.put("commands", retrain("launch", day(0), reason="launch", seed_uri="sha256:0"))
        self.read()

    def play(self, days: Iterable[int], error: float, version: int = 1) -> None:
        for number in days:
            self.put_day(number, error, version)
            self.put("clock", self.end(day(number + 1)))
            self.read()

    def put_day(self, number: int, error: float, version: int = 1) -> None:
        rng = random.Random(number)
        for n in range(number * A_DAY, (number + 1) * A_DAY):
            at = day(number) + (n % A_DAY) * 60_000
            self.put("inferences", inference(n, at, version))
            if n % 2:
                self.put("outcomes", outcome(n, at + 1000, rng.random() >= error, version))

    def of(self, topic: str) -> list[Event]:
        return [emit.event for emit in self.said if emit.topic == topic]


@pytest.fixture
def desk(codec: Codec, tmp_path: Path) -> Desk:
    return Desk(codec, tmp_path)


def test_the_launch_is_asked_for_at_once(desk: Desk) -> None:
    desk.launch()
    (event,) = desk.of("retrain.requests")
    assert (event["retrain_id"], event["seed_uri"]) == ("post:launch:launch", "sha256:0")


def test_drift_leads_to_an_alert_and_a_batch_later_to_a_request(desk: Desk) -> None:
    desk.launch()
    desk.play(range(10), error=0.1)
    assert not desk.of("drift.alerts")
    desk.play(range(10, 20), error=0.5)
    alert = desk.of("drift.alerts")[0]
    request = desk.of("retrain.requests")[1]
    assert request["alerts"][0] == alert["alert_id"]
    assert day(9) < request["since"] < alert["window_end"] < alert["time"] < request["time"]
    assert "errors rose from 10 % to" in request["words"]


def test_every_decision_stands_in_the_audit(desk: Desk) -> None:
    desk.launch()
    desk.play(range(25), error=0.5)
    entries = desk.of("audit")
    assert not broken_links(entries)
    counted = {entry["decision"] for entry in entries}
    assert counted == {"retrain", "alert", "suppressed"}
    assert sum(e["decision"] == "alert" for e in entries) == len(desk.of("drift.alerts"))
    assert sum(e["decision"] == "retrain" for e in entries) == len(desk.of("retrain.requests"))
    told = [e["words"] for e in entries if e["decision"] == "suppressed"]
    assert len(told) == len(set(told))  # once, not at each tick


def test_the_cooldown_separates_requests(desk: Desk) -> None:
    desk.launch()
    desk.play(range(40), error=0.5)
    times = [e["time"] for e in desk.of("retrain.requests") if e["reason"] == "drift"]
    assert len(times) >= 2
    assert all(b - a >= day(14) - day(0) for a, b in itertools.pairwise(times))


def test_a_drill_neither_waits_nor_cools(desk: Desk) -> None:
    desk.launch()
    desk.put("commands", retrain("d", day(0), drill="shuffle-labels:language=es"))
    desk.play(range(6), error=0.6)
    reasons = [(e["reason"], e["drill"] is not None) for e in desk.of("retrain.requests")]
    assert reasons[:3] == [("launch", False), ("operator", True), ("drift", False)]


def test_warnings_alert_but_ask_for_nothing(desk: Desk) -> None:
    desk.launch(YAML.replace("severity: critical", "severity: warning"))
    desk.play(range(20), error=0.5)
    assert desk.of("drift.alerts")
    assert [e["reason"] for e in desk.of("retrain.requests")] == ["launch"]


def test_drift_can_be_switched_off_and_a_cadence_on(desk: Desk) -> None:
    triggers = "triggers:\n  cadence_days: 7\n"
    desk.launch(YAML.replace("triggers:\n", triggers).replace("drift: {", "drift: {enabled: no, "))
    desk.play(range(16), error=0.5)
    asked = [(e["reason"], e["time"]) for e in desk.of("retrain.requests")]
    assert asked == [("launch", day(0)), ("cadence", day(7)), ("cadence", day(14))]


def test_a_tick_waits_for_what_lies_before_it(desk: Desk) -> None:
    desk.launch()
    desk.play(range(8), error=0.1)
    for number in range(8, 12):
        desk.put_day(number, error=0.8)
        desk.put("clock", desk.end(day(number + 1)))
    assert desk.read(["clock"]) == []
    assert desk.read(["outcomes"]) == []
    assert {e.event["alert_id"] for e in desk.read(["inferences"]) if e.topic == "drift.alerts"}


@pytest.mark.parametrize(
    "order", [("clock", "inferences", "outcomes"), ("outcomes", "inferences", "clock")]
)
def test_topics_may_come_in_any_order(desk: Desk, order: tuple[str, ...]) -> None:
    desk.launch()
    for number in range(25):
        desk.put_day(number, error=0.3)
        desk.put("clock", desk.end(day(number + 1)))
    desk.read(order)  # all at once, as after a long pause
    alone = Desk(desk.codec, desk.folder / "alone")
    alone.launch()
    alone.play(range(25), error=0.3)
    assert desk.of("drift.alerts") == alone.of("drift.alerts")
    assert desk.of("retrain.requests") == alone.of("retrain.requests")
    assert desk.of("audit") == alone.of("audit")


def test_what_is_ahead_of_the_tick_waits_for_its_time(desk: Desk) -> None:
    desk.launch()
    desk.put("inferences", inference(1, day(0) + 1), inference(2, day(1) + 1))
    desk.put("clock", tick(day(1)))
    desk.read()
    streams = desk.detector.memory.evidence.streams["post@1"]
    assert streams["confidence:all"].events == 1
    desk.put("clock", tick(day(2)))
    desk.read()
    assert streams["confidence:all"].events == 2


def test_shadows_and_the_undecided_are_no_evidence(desk: Desk) -> None:
    desk.launch()
    desk.put("inferences", inference(1, START, role="shadow"))
    desk.put("inferences", inference(2, START, confidence=float("nan")))
    desk.put("inferences", inference(3, START, output="nobody"))
    desk.put("outcomes", outcome(1, START, None, label=LABELS[0]))
    desk.put("clock", tick(day(1)))
    desk.read()
    assert not desk.detector.memory.evidence.streams


def test_a_record_that_cannot_be_read_stops_nothing(desk: Desk) -> None:
    desk.launch()
    for topic in READS[DRIFT]:
        desk.producer.send(topic, b"k", b"\x00\x00\x00\x00\x63rubbish")
        desk.producer.send(topic, b"k", None)
    desk.play(range(3), error=0.9)
    assert desk.of("drift.alerts")
    assert not [e for e in desk.said if e.topic.endswith(".dlq")]  # ingest-logger's to write


@pytest.mark.parametrize(
    ("topic", "event", "field"),
    [
        ("commands", retrain("x", START, reason="boredom"), "args.reason"),
        (
            "models",
            {
                "model": MODEL,
                "repo_hash": "0",
                "repo_uri": "sha256:" + "0" * 64,
                "actor": "",
                "time": START,
            },
            "repo_uri",
        ),
    ],
)
def test_what_cannot_be_followed_is_a_dead_letter(
    desk: Desk, topic: str, event: dict[str, Any], field: str
) -> None:
    desk.launch()
    desk.put(topic, event)
    (dead,) = desk.read()
    assert dead.topic == topic + ".dlq"
    assert dead.event["reason"] == "unhandled"
    assert dead.event["message"].startswith(f"{field}: got ")


def test_a_repo_that_names_no_detector_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.launch()
    text = YAML.replace("value: error", "value: error, detector: ADVIN")
    declared = declare(desk.artifacts, tmp_path / "other")
    (tmp_path / "other" / "model.yaml").write_text(text)
    desk.put("models", declared | {"repo_uri": desk.artifacts.put_folder(tmp_path / "other")})
    (dead,) = desk.read()
    assert "did you mean 'ADWIN'?" in dead.event["message"]
    desk.play(range(4), error=0.9)
    assert desk.of("drift.alerts")[0]["detector"] == "e-detector"


def test_killed_and_restarted_anywhere_it_says_the_same(desk: Desk, tmp_path: Path) -> None:
    """After each record the process may end; what was not in the checkpoint comes again."""
    alone = Desk(desk.codec, tmp_path / "alone")
    for each in (desk, alone):
        each.launch()
        for number in range(12):
            each.put_day(number, error=0.1 if number < 5 else 0.6)
            each.put("clock", each.end(day(number + 1)))
    alone.read()
    path, rng = tmp_path / "checkpoint.json", random.Random(4)
    records = [r for topic in READS[DRIFT] for r in desk.bus.read_all([topic])]
    save(desk.detector.memory, path)
    position = 0
    while position < len(records):
        lost = records[position : position + rng.randint(0, 60)]
        for record in lost:  # taken, and perhaps said, but never in the checkpoint
            desk.said += [e for e in desk.detector.take(record) if e.topic != "audit"]
        memory = load(path, desk.bus.ends(READS[DRIFT]))
        assert memory is not None
        desk.restart(memory)
        kept = records[position : position + rng.randint(1, 200)]
        for record in kept:
            desk.said += [e for e in desk.detector.take(record) if e.topic != "audit"]
        save(desk.detector.memory, path)
        position += len(kept)
    assert MEMORY.dump_json(desk.detector.memory) == MEMORY.dump_json(alone.detector.memory)
    for topic, name in (("drift.alerts", "alert_id"), ("retrain.requests", "retrain_id")):
        once = {event[name]: event for event in desk.of(topic)}
        assert list(once.values()) == alone.of(topic)


def test_without_its_checkpoint_it_comes_to_the_same_evidence(desk: Desk) -> None:
    desk.launch()
    desk.play(range(20), error=0.4)
    before, said = desk.detector.memory, len(desk.said)
    desk.restart(Memory())
    desk.detector.rebuild(desk.bus)
    desk.read()
    again = desk.detector.memory
    assert MEMORY.dump_python(again) == MEMORY.dump_python(before)
    known = {e.event.get("alert_id") or e.event.get("retrain_id") for e in desk.said[:said]}
    new = [e for e in desk.said[said:] if e.topic != "audit"]
    assert {e.event.get("alert_id") or e.event.get("retrain_id") for e in new} <= known
    assert not [e for e in desk.said[said:] if e.topic == "audit"]  # nothing is decided twice


def test_a_checkpoint_of_other_topics_or_half_a_file_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    record = Record("clock", 0, 7, None, None)
    save(Memory(offsets={"clock-0": 8}), path)
    assert load(path, {record.position: 8}) == Memory(offsets={"clock-0": 8})
    assert load(path, {record.position: 7}) is None
    assert load(path, {}) is None
    path.write_bytes(path.read_bytes()[:-3])
    assert load(path, {record.position: 8}) is None


def test_a_verdict_brings_the_reference_of_its_own_version(desk: Desk) -> None:
    desk.launch()
    desk.put("verdicts", verdict(2, day(0), error=0.5))
    desk.play(range(10), error=0.4, version=2)
    assert not desk.of("drift.alerts")
    assert desk.detector.memory.references["post@2"] == reference(error=0.5)
