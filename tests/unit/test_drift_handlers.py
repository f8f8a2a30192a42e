"""The drift-detector on the runtime, with a bus in memory: records in, events out, a checkpoint."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
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
    routing,
    verdict,
)

from driftgate.artifacts import Artifacts
from driftgate.audit import broken_links
from driftgate.bus import Position, Record
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.drift import backlog, deduplication, lanes
from driftgate.drift.traffic import KEPT
from driftgate.drift.triggers import TRAINING_DAYS
from driftgate.errors import BadInput
from driftgate.events import (
    AnyEvent,
    AuditEntry,
    Candidate,
    DeadLetter,
    DriftAlert,
    Model,
    ObservationBatch,
    RetrainRequest,
)
from driftgate.health import Health, log_for
from driftgate.model_repo import fetch
from driftgate.runtime.engine import Engine
from driftgate.runtime.ticker import Ticker
from driftgate.topology import DRIFT, READER, READS
from services.drift_detector import checkpoint_file, reading
from services.drift_detector.checkpoint import STATE, Checkpoint, ModelState
from services.drift_detector.handlers import DriftDetector
from services.drift_detector.reading import batches

A_DAY = 45
OBSERVATIONS = ObservationBatch.TOPIC
SECOND = 1000
HOUR = 3600 * SECOND
CASES = Path(__file__).parents[1] / "cases"
V1 = CASES / "drift_checkpoint_845e35d.json"
V3 = CASES / "drift_checkpoint_c9d7a9d.json"


@dataclass
class Harness:
    """A detector beside a bus in memory, which it reads as far as it is told."""

    codec: Codec
    folder: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    polled: dict[Position, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bus.ensure(self.codec.topics.by_name.values())
        self.artifacts = Artifacts(f"file://{self.folder / 'artifacts'}")
        self.ticker = Ticker(self.bus, self.codec, "test", 0.0)
        self.start()

    @property
    def path(self) -> Path:
        return self.folder / "checkpoint.sqlite"

    @property
    def older(self) -> Path:
        """Where releases before FORMAT 5 kept it."""
        return self.folder / "checkpoint.json"

    def start(self) -> None:
        """A new process: what was not in the checkpoint comes again."""
        self.memory = Checkpoint(self.path, self.bus)
        self.detector = DriftDetector(
            self.memory, lambda uri: fetch(uri, self.artifacts, self.folder / "repos").config
        )
        self.engine = Engine(
            self.detector.service(), self.bus, self.codec, log_for(DRIFT), Health(DRIFT)
        )
        now = self.engine.monotonic()
        self.engine.monotonic = lambda: now  # it works for as long as there is work
        self.polled = dict(self.engine.begin())
        self.read: dict[Position, int] = {}

    def tell(self, limit: int | None = None, topics: Sequence[str] = READS[READER]) -> None:
        """What a replica that reads for this one does, with what is new."""
        for source in self.bus.positions(topics):
            begin = self.read.get(source, 0)
            new = self.bus.logs[source][begin:][:limit]
            self.read[source] = begin + len(new)
            read = [(record.offset, self.decoded(record)) for record in new]
            for batch in batches(source, read):
                carrier = self.detector.relayed.carrier(source)
                _, key, value = self.codec.record(batch)
                log = self.bus.logs[carrier]
                log.append(Record(carrier.topic, carrier.partition, len(log), key, value))

    def decoded(self, record: Record) -> Any:
        try:
            return self.codec.event(record.topic, record.value)
        except BadInput:
            return None

    def pass_seconds(self, seconds: float) -> None:
        """What waits is tried again."""
        later = self.engine.monotonic() + seconds
        self.engine.monotonic = lambda: later
        self.engine.advance()

    def put(self, *events: AnyEvent) -> None:
        producer = self.bus.producer()
        for event in events:
            producer.send(*self.codec.record(event))

    def poll(
        self, topics: Sequence[str] = READS[DRIFT], limit: int | None = None, tells: bool = True
    ) -> None:
        """Gives the engine what is new on these topics, in their order, and lets it work."""
        if tells and OBSERVATIONS in topics:
            self.tell(limit)
        for position in [p for topic in topics for p in self.bus.positions([topic])]:
            new = self.bus.logs[position][self.polled[position] :][:limit]
            for record in new:
                self.engine.add(record)
            self.polled[position] += len(new)
        self.engine.order.reached = dict(self.polled)
        self.engine.advance()

    def run(self) -> None:
        """Everything there is, and the checkpoint."""
        self.poll()
        self.engine.settle()

    def launch(self, text: str = YAML) -> None:
        self.put(declare(self.artifacts, self.folder / "repo", text))
        self.put(verdict(1, day(0), retrain_id="post:launch:launch"))
        self.put(retrain("launch", day(0), reason="launch", seed_uri="sha256:0"))
        self.run()

    def play(self, days: Iterable[int], error: float, version: int = 1) -> None:
        for number in days:
            self.put_day(number, error, version)
            self.ticker.write(day(number + 1))
            self.run()

    def put_day(self, number: int, error: float, version: int = 1) -> None:
        rng = random.Random(number)
        for n in range(number * A_DAY, (number + 1) * A_DAY):
            at = day(number) + (n % A_DAY) * 60_000
            self.put(inference(n, at, version))
            if n % 2:
                self.put(outcome(n, at + 1000, rng.random() >= error, version))

    def live(self, since: int, seconds: int, error: float, first: int = 0) -> None:
        """As on a live system: something every second, and a tick every ten."""
        rng = random.Random(first)
        for n in range(seconds):
            at = since + n * SECOND
            self.put(inference(first + n, at), outcome(first + n, at + 1, rng.random() >= error))
            if (n + 1) % 10 == 0:
                self.ticker.write(since + (n + 1) * SECOND)

    def sent(self, kind: type[Any]) -> list[Any]:
        return [self.codec.event(kind.TOPIC, r.value) for r in self.bus.read_all([kind.TOPIC])]

    def dead(self, topic: str) -> list[DeadLetter]:
        found = [
            self.codec.event(f"{topic}.dlq", r.value) for r in self.bus.read_all([topic + ".dlq"])
        ]
        return [event for event in found if isinstance(event, DeadLetter)]

    @property
    def state(self) -> ModelState:
        return self.memory.state.models[MODEL]

    def seen(self, stream: str, version: int = 1) -> float:
        """Numbers that a stream was given."""
        return self.state.evidence.streams[version].seen(stream)[0]

    def evidence(self) -> bytes:
        """What is remembered, but for what waits."""
        return json.dumps(STATE.dump_python(self.memory.state)["models"], default=str).encode()


@pytest.fixture
def harness(codec: Codec, tmp_path: Path) -> Harness:
    return Harness(codec, tmp_path)


def test_the_launch_is_asked_for_at_once(harness: Harness) -> None:
    harness.launch()
    (event,) = harness.sent(RetrainRequest)
    assert (event.retrain_id, event.seed_uri) == ("post:launch:launch", "sha256:0")
    assert (event.epoch, event.champion) == (0, None)


def test_drift_leads_to_an_alert_and_a_batch_later_to_a_request(harness: Harness) -> None:
    harness.launch()
    harness.play(range(10), error=0.1)
    assert not harness.sent(DriftAlert)
    harness.play(range(10, 20), error=0.5)
    alert = harness.sent(DriftAlert)[0]
    request = harness.sent(RetrainRequest)[1]
    assert request.alerts[0] == alert.incident_id
    assert day(7) < request.since < alert.window_end <= alert.time < request.time
    assert "errors rose from 10 % to" in request.words


def test_every_decision_stands_in_the_audit(harness: Harness) -> None:
    harness.launch()
    harness.play(range(25), error=0.5)
    entries = harness.sent(AuditEntry)
    assert not broken_links(entries)
    assert {entry.decision for entry in entries} == {"retrain", "alert", "suppressed"}
    count = {kind: len(harness.sent(kind)) for kind in (DriftAlert, RetrainRequest)}
    assert sum(e.decision == "alert" for e in entries) == count[DriftAlert]
    assert sum(e.decision == "retrain" for e in entries) == count[RetrainRequest]
    told = [entry.words for entry in entries if entry.decision == "suppressed"]
    assert len(told) == len(set(told))  # once, not at each tick


def test_the_cooldown_separates_requests(harness: Harness) -> None:
    harness.launch()
    harness.play(range(40), error=0.5)
    times = [event.time for event in harness.sent(RetrainRequest) if event.reason == "drift"]
    assert len(times) >= 2
    assert all(b - a >= day(14) - day(0) for a, b in itertools.pairwise(times))


def test_a_drill_neither_waits_nor_cools(harness: Harness) -> None:
    harness.launch()
    harness.put(retrain("d", day(0), drill="shuffle-labels:language=es"))
    harness.play(range(6), error=0.6)
    reasons = [(e.reason, e.drill is not None) for e in harness.sent(RetrainRequest)]
    assert reasons[:3] == [("launch", False), ("operator", True), ("drift", False)]


def test_warnings_alert_but_ask_for_nothing(harness: Harness) -> None:
    harness.launch(YAML.replace("severity: critical", "severity: warning"))
    harness.play(range(20), error=0.5)
    assert harness.sent(DriftAlert)
    assert [event.reason for event in harness.sent(RetrainRequest)] == ["launch"]


def test_drift_can_be_switched_off_and_a_cadence_on(harness: Harness) -> None:
    cadence = YAML.replace("triggers:\n", "triggers:\n  cadence_days: 7\n")
    harness.launch(cadence.replace("drift: {", "drift: {enabled: no, "))
    harness.play(range(16), error=0.5)
    asked = [(event.reason, event.time) for event in harness.sent(RetrainRequest)]
    assert asked == [("launch", day(0)), ("cadence", day(7)), ("cadence", day(14))]


def corrected(number: int, at: int, label: str = "refund") -> AnyEvent:
    return outcome(number, at, correct=False, label=label, slices={"language": "en"})


def test_so_many_new_pairs_ask_once_and_a_restart_counts_on(harness: Harness) -> None:
    harness.launch(YAML.replace("triggers:\n", "triggers:\n  new_pairs: 6\n"))
    for number in range(1, 6):
        harness.put(corrected(number, day(number) - SECOND))
        harness.put(corrected(number, day(number) - SECOND))  # sent again
        harness.ticker.write(day(number))
        harness.run()
    harness.start()
    assert len(harness.sent(RetrainRequest)) == 1
    harness.put(corrected(6, day(6) - SECOND), corrected(7, day(7)))
    harness.ticker.write(day(6))
    harness.ticker.write(day(8))
    harness.run()
    _, asked = harness.sent(RetrainRequest)
    assert (asked.reason, asked.time, asked.words) == ("new_pairs", day(6), "6 new pairs")
    assert harness.state.supply.requests == {"pairs": ("r-7",)}


def test_a_label_that_the_champion_never_answers_asks(harness: Harness) -> None:
    harness.launch(YAML.replace("triggers:\n", "triggers:\n  new_label: 3\n"))
    told = verdict(2, day(0), retrain_id="r")
    reference = {**told.reference, "share:billing|all": 0.0}
    harness.put(replace(told, reference=reference), routing(2, day(0), epoch=2))
    harness.put(*(corrected(number, day(0) + 1, LABELS[number % 3]) for number in range(9)))
    harness.ticker.write(day(1))
    harness.run()
    _, asked = harness.sent(RetrainRequest)
    assert asked.reason == "new_label"
    assert asked.words == "the champion never answers billing (3 pairs)"


def trained(retrain_id: str, hours: float) -> Candidate:
    texts = ["adapter_uri", "adapter_digest", "base", "base_digest", "method", "dataset_id"]
    texts += ["dataset_uri", "model_card_uri", "run_uri", "repo_hash", "reason"]
    return Candidate(
        retrain_id=retrain_id,
        model=MODEL,
        version=1,
        train_seconds=hours * 3600,
        time=day(0),
        **dict.fromkeys(texts, ""),
    )


def test_hours_of_training_count_against_the_budget(harness: Harness) -> None:
    """As soon as a version that was trained so long has its verdict. Day 31 is 1 February."""
    harness.launch(YAML.replace("triggers:\n", "triggers:\n  budget: {hours: 5}\n"))
    harness.put(trained("post:launch:launch", 5.5), verdict(1, day(0), "post:launch:launch"))
    harness.play(range(33), error=0.5)
    _, asked = harness.sent(RetrainRequest)
    assert (asked.reason, asked.time) == ("drift", day(31))
    told = [e.words for e in harness.sent(AuditEntry) if e.decision == "suppressed"]
    assert "the month's budget is spent (5.5 of 5 hours of training)" in told[0]


def test_a_request_pins_the_champion_that_the_tick_found(harness: Harness) -> None:
    harness.launch()
    harness.put(routing(champion=1, time=day(0), epoch=2))
    harness.play(range(2), error=0.1)
    harness.put(routing(champion=1, challenger=2, time=day(2), epoch=3))
    harness.play(range(2, 8), error=0.8)
    request = harness.sent(RetrainRequest)[1]
    assert (request.epoch, request.champion.version) == (3, 1)


def half(harness: Harness, number: int, error: float) -> None:
    """A day on which the challenger, version 2, gives the newer half of the answers."""
    harness.put_day(number, error)
    for n in range(A_DAY):
        harness.put(inference(10_000 + number * A_DAY + n, day(number) + 50 * 60_000 + n, 2))
    harness.ticker.write(day(number + 1))
    harness.run()


def test_alerts_about_the_champion_count_while_a_challenger_gives_half_of_the_answers(
    harness: Harness,
) -> None:
    harness.launch()
    harness.put(routing(champion=1, time=day(0), epoch=2, challenger=2))
    for number in range(6):
        half(harness, number, error=0.8)
    requests = harness.sent(RetrainRequest)
    assert [request.reason for request in requests] == ["launch", "drift"]
    assert all("post@1:" in alert for alert in requests[1].alerts)


def test_drift_waits_for_the_rollout_of_the_version_that_was_asked_for(harness: Harness) -> None:
    """And then asks at once, where the champion stayed."""
    harness.launch(YAML.replace("cooldown_days: 14", "cooldown_days: 1"))
    harness.put(routing(champion=1, time=day(0), epoch=1))
    harness.play(range(4), error=0.8)
    (_, asked) = harness.sent(RetrainRequest)
    harness.put(verdict(2, day(4), retrain_id=asked.retrain_id))
    harness.put(routing(champion=1, time=day(4), epoch=2, challenger=2))
    for number in range(4, 20):
        half(harness, number, error=0.8)
    assert len(harness.sent(RetrainRequest)) == 2
    told = [e.words for e in harness.sent(AuditEntry) if e.decision == "suppressed"]
    assert any(
        f"waits: {asked.retrain_id} led to version 2, which is being tried" in words
        for words in told
    )
    assert len(told) == len(set(told))
    harness.put(routing(champion=1, time=day(20), epoch=3))  # it was taken back
    harness.play([20], error=0.8)
    assert len(harness.sent(RetrainRequest)) == 3


def test_a_request_without_a_verdict_is_waited_for_some_days(harness: Harness) -> None:
    """Such as one that the trainer refused, or that became a dead letter."""
    harness.launch(YAML.replace("cooldown_days: 14", "cooldown_days: 0.5"))
    harness.put(routing(champion=1, time=day(0), epoch=1))
    harness.play(range(12), error=0.9)
    times = [event.time for event in harness.sent(RetrainRequest)[1:]]
    assert len(times) > 2
    assert {(b - a) / (day(1) - day(0)) for a, b in itertools.pairwise(times)} == {TRAINING_DAYS}


def test_a_new_champion_may_ask_though_the_request_that_it_overtook_has_no_verdict(
    harness: Harness,
) -> None:
    harness.launch(YAML.replace("cooldown_days: 14", "cooldown_days: 0.5"))
    harness.put(routing(champion=1, time=day(0), epoch=1))
    harness.play(range(2), error=0.9)
    overtaken = harness.sent(RetrainRequest)[-1]
    harness.put(verdict(2, day(2)), routing(champion=2, time=day(2), epoch=2))
    harness.play(range(2, 4), error=0.9, version=2)
    asked = harness.sent(RetrainRequest)[-1]
    assert (overtaken.champion.version, asked.champion.version) == (1, 2)
    assert asked.time < overtaken.time + day(TRAINING_DAYS) - day(0)


def test_an_operator_waits_for_nothing(harness: Harness) -> None:
    harness.launch()
    harness.put(routing(champion=1, time=day(0), epoch=1))
    harness.put(retrain("one", day(0)), retrain("two", day(0)))
    harness.run()
    assert [e.reason for e in harness.sent(RetrainRequest)] == ["launch", "operator", "operator"]


def test_a_routing_is_not_forgotten_while_the_declaration_waits(harness: Harness) -> None:
    harness.put(routing(champion=1, time=day(0), epoch=2))
    harness.put(inference(1, day(0)))
    harness.ticker.write(day(0) + 1)
    harness.run()
    assert not harness.state.waiting
    harness.launch()
    assert harness.sent(RetrainRequest)[0].champion.version == 1


def test_a_version_of_a_model_that_nobody_declared_is_refused(harness: Harness) -> None:
    harness.launch()
    command = replace(retrain("c", day(0)), model="a\0b")
    harness.put(command)
    harness.run()
    assert not harness.dead("commands")  # the declaration may still come
    for _ in range(10):
        harness.pass_seconds(6)
    (dead,) = harness.dead("commands")
    assert dead.reason == "unknown_model"
    assert len(harness.sent(RetrainRequest)) == 1


def test_a_launch_that_is_read_before_its_declaration_waits_for_it(harness: Harness) -> None:
    harness.put(retrain("launch", day(0), reason="launch", seed_uri="sha256:0"))
    harness.run()
    assert not harness.sent(RetrainRequest)
    harness.put(declare(harness.artifacts, harness.folder / "repo"))
    harness.run()
    harness.pass_seconds(6)
    assert len(harness.sent(RetrainRequest)) == 1


@pytest.mark.parametrize("order", [("clock", OBSERVATIONS), (OBSERVATIONS, "clock")])
def test_topics_may_come_in_any_order(harness: Harness, order: tuple[str, ...]) -> None:
    alone = Harness(harness.codec, harness.folder / "alone")
    for each in (harness, alone):
        each.launch()
    for number in range(25):
        harness.put_day(number, error=0.3)
        harness.ticker.write(day(number + 1))
    harness.poll(order)  # all at once, as after a long pause
    alone.play(range(25), error=0.3)
    for kind in (DriftAlert, RetrainRequest, AuditEntry):
        assert harness.sent(kind) == alone.sent(kind)


def test_what_one_replica_reads_faster_than_another_waits_outside_the_memory(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a replica reads the outcomes while nobody reads the answers yet."""
    monkeypatch.setattr(reading, "TOGETHER", 10)
    harness.launch()
    for number in range(25):
        harness.put_day(number, error=0.3)
        harness.ticker.write(day(number + 1))
    harness.tell(topics=["outcomes"])
    harness.poll(tells=False)
    assert {seen.origin[:-2] for seen in harness.state.waiting} == {"outcomes"}
    waiting = len(harness.state.waiting)
    harness.poll()
    alone = Harness(harness.codec, harness.folder / "alone")
    alone.launch()
    alone.play(range(25), error=0.3)
    assert waiting <= A_DAY  # of more than 500
    assert harness.sent(DriftAlert) == alone.sent(DriftAlert)


def test_a_batch_that_nobody_can_unpack_is_a_dead_letter_and_holds_up_no_tick(
    harness: Harness,
) -> None:
    harness.launch()
    harness.put(inference(1, day(0) + 1))
    harness.tell()
    (carrier,) = {p for p in harness.bus.positions([OBSERVATIONS]) if harness.bus.logs[p]}
    (told,) = harness.bus.logs[carrier]
    broken = replace(harness.codec.event(OBSERVATIONS, told.value), seen=b"rubbish")
    harness.bus.logs[carrier] = [replace(told, value=harness.codec.value(broken))]
    harness.ticker.write(day(1))
    harness.run()
    (letter,) = harness.dead(OBSERVATIONS)
    assert letter.reason == "malformed"
    assert harness.state.time == day(1)


def test_what_is_ahead_of_the_tick_waits_for_its_time(harness: Harness) -> None:
    harness.launch()
    harness.put(inference(1, day(0) + 1), inference(2, day(1) + HOUR))
    harness.put(inference(3, day(1) + SECOND))  # a clock that is ahead by a second is on time
    harness.ticker.write(day(1))
    harness.run()
    assert [seen.request_id for seen in harness.state.waiting] == ["r-2"]
    harness.ticker.write(day(2))
    harness.run()
    assert harness.seen("confidence:all") == 3


def test_a_clock_that_jumps_far_alarms_nothing_but_silence(harness: Harness) -> None:
    """As where a machine's clock was wrong for a moment; time does not go back after it. Answers
    then are late, which is told, and what people say counts as it comes."""
    harness.launch()
    harness.play(range(4), error=0.1)
    harness.ticker.write(day(40))
    harness.run()
    assert {alert.monitor for alert in harness.sent(DriftAlert)} == {"unwatched"}
    for number in range(4, 12):
        harness.put_day(number, error=0.5)
        harness.ticker.write(day(40) + number * HOUR)
        harness.run()
    assert {alert.monitor for alert in harness.sent(DriftAlert)} == {"unwatched", "errors"}
    (late,) = [entry for entry in harness.sent(AuditEntry) if entry.decision == "late"]
    assert late.words.startswith("45 answers and outcomes do not count: they came more than 60 s")


def test_an_app_whose_clock_is_ahead_neither_fills_the_memory_nor_the_checkpoint(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "AHEAD_KEPT", 50)
    harness.launch()
    for number in range(4):
        start = day(0) + number * 10 * SECOND
        harness.put(
            *(inference(n, start + 2 * HOUR) for n in range(number * 100, number * 100 + 100))
        )
        harness.put(inference(10_000 + number, start))
        harness.ticker.write(start + 10 * SECOND)
        harness.run()
    assert len(harness.state.waiting) == 50
    assert harness.path.stat().st_size < 100_000
    (entry,) = [e for e in harness.sent(AuditEntry) if e.decision == "drop"]
    assert "50 answers and outcomes do not count" in entry.words
    harness.ticker.write(day(1))  # their time comes, for those that were kept
    harness.run()
    assert harness.seen("confidence:all") == 54


def test_what_is_ahead_by_more_than_the_model_allows_does_not_wait(harness: Harness) -> None:
    harness.launch()
    harness.put(inference(1, day(2)), inference(2, day(1)))
    harness.ticker.write(day(0) + HOUR)
    harness.run()
    assert [seen.time for seen in harness.state.waiting] == [day(1)]


def test_a_feature_that_stops_is_told_once_and_a_restart_tells_no_more(harness: Harness) -> None:
    harness.launch(YAML.replace("name: confidence", "name: sure"))
    for hour in range(24 * 6):
        over = {"confidence": None} if hour >= 72 else {}
        at = day(hour / 24)
        harness.put(*(inference(hour * 5 + n, at + n, **over) for n in range(5)))
        harness.ticker.write(at + HOUR)
        harness.run()
        harness.start()
    told = [one for one in harness.sent(DriftAlert) if one.detector == "silence"]
    assert [one.summary.partition(" since")[0] for one in told if one.monitor != "unwatched"] == [
        "no numbers for monitor sure"
    ]
    assert told[-1].time <= day(4)
    entries = [one for one in harness.sent(AuditEntry) if "monitor sure" in one.words]
    assert len(entries) == 1


def test_a_slice_with_very_many_values_is_said_to_be_watched_by_its_heaviest(
    harness: Harness,
) -> None:
    harness.launch()
    for at in (day(0.1), day(0.2)):
        harness.put(
            *(inference(n + at, at, slices={"customer": f"c-{n}-{at}"}) for n in range(KEPT))
        )
        harness.ticker.write(at + HOUR)
        harness.run()
    (entry,) = [one for one in harness.sent(AuditEntry) if one.decision == "crowded"]
    assert entry.words.startswith("slice customer has more than 1,000 values")


def test_without_a_clock_memory_is_bounded(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "KEPT", 20)
    harness.launch()
    harness.put(*(inference(n, day(0) + n) for n in range(100)))
    harness.run()
    assert len(harness.state.waiting) == 20
    harness.ticker.write(day(0.5))
    harness.run()
    assert harness.seen("confidence:all") == 20
    assert [e.decision for e in harness.sent(AuditEntry)] == ["retrain", "drop"]


def test_shadows_and_the_undecided_are_no_evidence(harness: Harness) -> None:
    harness.launch()
    harness.put(inference(1, START, role="shadow"))
    harness.put(inference(2, START, confidence=float("nan")))
    harness.put(inference(3, START, output="nobody"))
    harness.put(outcome(1, START, None, label=LABELS[0]))
    harness.put(inference(4, START, model="undeclared"))
    harness.ticker.write(day(1))
    harness.run()
    assert not harness.state.evidence.streams
    assert list(harness.memory.state.models) == [MODEL]


def test_a_record_that_cannot_be_read_stops_nothing(harness: Harness) -> None:
    harness.launch()
    for topic in READS[DRIFT]:
        harness.bus.producer().send(topic, b"k", b"\x00\x00\x00\x00\x63rubbish")
        harness.bus.producer().send(topic, b"k", None)
    harness.play(range(3), error=0.9)
    assert harness.sent(DriftAlert)
    assert not [t for t in READS[DRIFT] if harness.dead(t)]  # ingest-logger's to write


UNKNOWN_REPO = Model(
    model=MODEL, repo_hash="0", repo_uri="sha256:" + "0" * 64, actor="", time=START
)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (retrain("x", START, reason="boredom"), "args.reason"),
        (retrain("x", START, reason="erasure"), "args.reason"),
        (UNKNOWN_REPO, "repo_uri"),
    ],
)
def test_what_cannot_be_followed_is_a_dead_letter(
    harness: Harness, event: AnyEvent, field: str
) -> None:
    harness.launch()
    harness.put(event)
    harness.run()
    (dead,) = harness.dead(event.TOPIC)
    assert dead.reason == "unhandled"
    assert dead.message.startswith(f"{field}: got ")
    assert len(harness.sent(RetrainRequest)) == 1


def test_a_repo_that_names_no_detector_changes_nothing(harness: Harness, tmp_path: Path) -> None:
    harness.launch()
    text = YAML.replace("value: error", "value: error, detector: ADVIN")
    declared = declare(harness.artifacts, tmp_path / "other")
    (tmp_path / "other" / "model.yaml").write_text(text)
    harness.put(replace(declared, repo_uri=harness.artifacts.put_folder(tmp_path / "other")))
    harness.run()
    (dead,) = harness.dead("models")
    assert "did you mean 'ADWIN'?" in dead.message
    harness.play(range(4), error=0.9)
    assert harness.sent(DriftAlert)[0].detector == "e-detector"


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_stored_repo_that_is_valid_no_more_stops_no_other_model(
    harness: Harness, tmp_path: Path, checkpoint: bool
) -> None:
    """As after an upgrade that reads model.yaml more strictly."""
    harness.launch()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.yaml").write_text("model: other\nmonitors: 7\n")
    uri = harness.artifacts.put_folder(broken)
    harness.put(replace(UNKNOWN_REPO, model="other", repo_uri=uri))
    harness.memory.state.model("other").repo_uri = uri  # was valid then
    harness.play(range(1), error=0.1)
    if not checkpoint:
        harness.path.unlink()
    harness.start()
    for number in range(1, 6):
        harness.put(inference(number, day(number), model="other"))
        harness.play([number], error=0.9)
    assert harness.sent(DriftAlert)
    assert not harness.memory.state.models["other"].waiting
    told = [e for e in harness.sent(AuditEntry) if e.decision == "dead-letter"]
    assert [entry.model for entry in told] == ["other"]  # once, not at each tick


def test_killed_between_sending_and_the_checkpoint_it_asks_for_no_second_training(
    harness: Harness,
) -> None:
    text = YAML.replace("batch_days: 1", "batch_days: 0")
    harness.launch(text)
    harness.put(routing(champion=1, time=day(0), epoch=1))
    harness.live(day(0), 100, error=0.1)
    harness.run()
    harness.live(day(0) + 100 * SECOND, 300, error=0.9, first=100)
    harness.poll()  # told, and not in the checkpoint
    before = [harness.sent(kind) for kind in (RetrainRequest, AuditEntry)]
    assert [request.reason for request in before[0]] == ["launch", "drift"]
    harness.put(routing(champion=2, time=day(0) + HOUR, epoch=2))
    for _ in range(3):
        harness.start()
        harness.poll()
    assert [harness.sent(kind) for kind in (RetrainRequest, AuditEntry)] == before
    ids = [alert.alert_id for alert in harness.sent(DriftAlert)]
    assert len(ids) == 4 * len(set(ids)) > 0  # told again, as the same


def test_a_full_disk_asks_for_no_training_at_each_restart(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    harness.launch(YAML.replace("batch_days: 1", "batch_days: 0"))
    monkeypatch.setattr(checkpoint_file, "write", full)
    for number in range(3):
        harness.live(day(0) + number * 400 * SECOND, 400, 0.9, first=number * 400)
        harness.run()
        harness.start()
        harness.run()
    assert [request.reason for request in harness.sent(RetrainRequest)] == ["launch", "drift"]
    assert not harness.path.exists()


def test_killed_and_restarted_anywhere_it_says_the_same(harness: Harness, tmp_path: Path) -> None:
    """At any moment the process may end; what was not in the checkpoint comes again."""
    alone = Harness(harness.codec, tmp_path / "alone")
    for each in (harness, alone):
        each.launch()
        each.put(routing(champion=1, time=day(0)))
        each.live(day(0), 300, error=0.1)
        each.live(day(0) + 300 * SECOND, 600, error=0.6, first=300)
        each.live(day(3), 100, error=0.6, first=900)
    alone.run()
    rng = random.Random(4)
    while harness.polled != harness.bus.ends(READS[DRIFT]):
        harness.poll(rng.sample(READS[DRIFT], len(READS[DRIFT])), rng.randint(1, 150))
        if rng.random() < 0.5:
            harness.engine.settle()
        if rng.random() < 0.3:
            harness.start()
    harness.run()
    assert harness.evidence() == alone.evidence()
    for kind, name in ((DriftAlert, "alert_id"), (RetrainRequest, "retrain_id")):
        once = {getattr(event, name): event for event in harness.sent(kind)}
        assert list(once.values()) == alone.sent(kind)
    assert len(harness.sent(RetrainRequest)) == len(alone.sent(RetrainRequest)) == 2
    decisions = [[(e.audit_id, e.result) for e in h.sent(AuditEntry)] for h in (harness, alone)]
    assert sorted(decisions[0]) == sorted(decisions[1])


def test_other_ticks_lead_to_the_same_alerts(harness: Harness, tmp_path: Path) -> None:
    """Where observations arrive before the tick that follows their time."""
    seldom = Harness(harness.codec, tmp_path / "seldom")
    for each, every in ((harness, 10), (seldom, 70)):
        each.launch()
        rng = random.Random(1)
        for n in range(700):
            at = day(0) + n * SECOND
            each.put(inference(n, at), outcome(n, at + 1, rng.random() >= 0.5))
            if (n + 1) % every == 0:
                each.ticker.write(day(0) + (n + 1) * SECOND)
        each.run()
    alerts = [[replace(a, time=0) for a in each.sent(DriftAlert)] for each in (harness, seldom)]
    assert alerts[0]
    assert alerts[0] == alerts[1]


def test_what_is_sent_again_counts_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ingest-logger does with all outcomes that it had not stored when it was killed."""
    harness.launch()
    count = 6_000
    outcomes = [outcome(n, day(0) + n, n % 10 > 0) for n in range(count)]
    harness.put(*outcomes)
    harness.ticker.write(day(1))
    harness.run()
    assert harness.seen("errors:all") == count
    streams = STATE.dump_python(harness.memory.state, mode="json")["models"][MODEL]["evidence"]
    for number in range(2):
        harness.put(*outcomes)
        harness.ticker.write(day(1) + 1 + number)
        harness.run()
        harness.start()
    harness.run()
    after = STATE.dump_python(harness.memory.state, mode="json")["models"][MODEL]["evidence"]
    assert after["streams"] == streams["streams"]


def test_a_tick_that_two_clocks_wrote_counts_once(harness: Harness) -> None:
    harness.launch()
    harness.put(inference(1, day(0)))
    harness.ticker.write(day(1))
    harness.run()
    harness.start()
    harness.put(inference(2, day(0) + 1))
    harness.ticker.write(day(1))
    harness.run()
    assert harness.seen("confidence:all") == 1
    assert len(harness.state.waiting) == 1


@contextmanager
def changed(path: Path) -> Iterator[dict[str, Any]]:
    """The states of a checkpoint, to be changed."""
    written = checkpoint_file.read(path)
    models = written.pop("models")
    yield models
    states = {m: checkpoint_file.packed(json.dumps(found).encode()) for m, found in models.items()}
    checkpoint_file.write(path, written, states, models=states)


def test_a_model_to_which_nothing_happened_is_not_written_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[set[str]] = []
    write = checkpoint_file.write

    def told(path: Path, positions: Any, changed: dict[str, bytes], models: Any) -> None:
        written.append(set(changed))
        write(path, positions, changed, models)

    monkeypatch.setattr(checkpoint_file, "write", told)
    harness.launch()
    harness.put(replace(routing(1, day(0)), model="elsewhere"))  # which nobody declared yet
    harness.play(range(1), error=0.1)
    harness.play(range(1, 3), error=0.1)
    assert written == [{MODEL, "elsewhere"}, {MODEL}, {MODEL}]
    assert checkpoint_file.read(harness.path)["models"].keys() == {MODEL, "elsewhere"}
    harness.start()
    assert harness.memory.state.model("elsewhere").under.epoch == 1


def test_a_model_that_is_forgotten_leaves_the_checkpoint(harness: Harness) -> None:
    harness.launch()
    harness.play(range(1), error=0.1)
    with changed(harness.path) as models:
        models["gone"] = {"repo_uri": ""}
    harness.start()
    harness.play(range(1, 2), error=0.1)
    assert checkpoint_file.read(harness.path)["models"].keys() == {MODEL}


def test_a_checkpoint_of_a_newer_release_is_passed_over(harness: Harness) -> None:
    harness.launch()
    harness.play(range(2), error=0.1)
    before = harness.evidence()
    with checkpoint_file.opened(harness.path) as file:
        file.execute("PRAGMA user_version = 99")
    harness.start()
    assert not harness.memory.state.models[MODEL].evidence.streams
    harness.run()
    assert harness.evidence() == before


def test_killed_while_it_writes_the_checkpoint_it_has_the_one_before(
    harness: Harness,
) -> None:
    harness.launch()
    harness.play(range(2), error=0.1)
    before = checkpoint_file.read(harness.path)
    line = (
        "import os, sys; from pathlib import Path\n"
        "from services.drift_detector import checkpoint_file\n"
        "def killed():\n    yield ('other', os.urandom(10_000_000))\n    os._exit(9)\n"
        "class Changed(dict):\n    items = staticmethod(killed)\n"
        "checkpoint_file.write(Path(sys.argv[1]), {'told': {'a-0': 1}}, Changed(), models=())"
    )
    assert subprocess.run([sys.executable, "-c", line, harness.path], check=False).returncode == 9
    assert checkpoint_file.read(harness.path) == before


def test_between_ticks_no_checkpoint_is_written(harness: Harness) -> None:
    harness.launch()
    assert not harness.path.exists()
    harness.play(range(1), error=0.1)
    written = harness.path.read_bytes()
    harness.put_day(1, error=0.1)
    harness.run()
    assert harness.path.read_bytes() == written
    harness.start()  # what it took since then is read again
    harness.ticker.write(day(2))
    harness.run()
    assert harness.seen("confidence:all") == 2 * A_DAY


def test_without_its_checkpoint_it_comes_to_the_same_evidence(harness: Harness) -> None:
    harness.launch()
    harness.put(routing(champion=1, time=day(0)))
    harness.play(range(20), error=0.4)
    before = harness.evidence()
    requests, entries = harness.sent(RetrainRequest), harness.sent(AuditEntry)
    harness.path.unlink()
    harness.start()
    harness.run()
    assert harness.evidence() == before
    assert harness.sent(RetrainRequest) == requests
    assert harness.sent(AuditEntry) == entries  # nothing is decided twice


def test_a_checkpoint_of_other_topics_or_half_a_file_is_not_believed(harness: Harness) -> None:
    harness.launch()
    harness.play(range(2), error=0.1)
    known = Checkpoint(harness.path, harness.bus)
    assert known.restore()
    written, anew = harness.path.read_bytes(), MemoryBus()
    anew.ensure(harness.codec.topics.by_name.values())
    for bus in (anew, MemoryBus()):
        harness.path.write_bytes(written)
        assert not Checkpoint(harness.path, bus).restore()
    for path, data in (
        (harness.path, written[: len(written) // 2]),
        (harness.path, b""),
        (harness.path, b"what is no SQLite file" * 100),
        (harness.older, b"{}"),
        (harness.older, b"[]"),
    ):
        path.write_bytes(data)
        assert not known.restore()
        assert known.state.models == {}
        assert not path.exists()  # set aside
        assert path.with_name(f"{path.name}.passed-over").read_bytes() == data
    harness.start()
    harness.run()
    assert known.restore()


def test_why_a_checkpoint_is_passed_over_is_logged(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.launch()
    harness.play(range(2), error=0.1)
    harness.path.write_bytes(b"[]")
    harness.start()
    assert "it cannot be read: ValueError: file is not a database" in capsys.readouterr().out


def test_a_detector_that_is_gone_costs_its_stream_alone(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.launch()
    harness.play(range(2), error=0.1)
    events = harness.seen("confidence:all")
    with changed(harness.path) as models:
        gone = {"name": "GONE", "mean": 0.1, "state": []}
        models[MODEL]["evidence"]["streams"]["1"]["others"]["errors:all"] = gone
    harness.start()
    assert harness.seen("confidence:all") == events
    assert not harness.state.evidence.streams[1].others
    assert "1:errors:all" in capsys.readouterr().out


def test_a_verdict_brings_the_reference_of_its_own_version(harness: Harness) -> None:
    harness.launch()
    harness.put(verdict(2, day(0), error=0.5))
    harness.play(range(10), error=0.4, version=2)
    assert not harness.sent(DriftAlert)
    streams = harness.state.evidence.streams[2]
    assert streams.mean[streams.names.index("errors:all")] > reference(error=0.5)["error|all"]


def test_a_live_reference_is_told_when_it_is_begun_and_when_it_stands(harness: Harness) -> None:
    harness.launch(YAML.replace("[labels]", "[corrections]"))

    def told() -> list[str]:
        entries = harness.sent(AuditEntry)
        return [e.words for e in entries if e.decision == "reference" and "errors:all" in e.words]

    harness.play(range(4), error=0.1)
    (begun,) = told()
    assert begun.startswith("errors:all of version 1: bad outcomes per answer heard have no refer")
    harness.start()
    harness.play(range(4, 40), error=0.1)
    _, stands = told()
    assert "of the version's first 400 (corrections; settled after 72 h)" in stands
    assert not harness.sent(DriftAlert)


def test_a_checkpoint_of_845e35d_goes_on(harness: Harness) -> None:
    """It was written after nine days, four alarms of which three wait within the cooldown, with two
    answers and an outcome that no tick had folded, and a tick whose positions were not reached."""
    harness.launch(YAML.replace("min_accuracy: 0.05", "min_accuracy: 0.8"))
    written = json.loads(V1.read_bytes())
    for name, offset in written["offsets"].items():
        topic, _, partition = name.rpartition("-")
        log = harness.bus.logs[Position(topic, int(partition))]
        log += [Record(topic, int(partition), n, None, None) for n in range(len(log), offset)]
    harness.older.write_bytes(V1.read_bytes())
    harness.start()
    state = harness.state
    assert state.evidence.live_version == 1
    streams = state.evidence.streams[1]
    levels = dict(zip(streams.names, lanes.level(streams.evidence), strict=True))
    assert 0 < levels["errors:all"] < 1
    assert len(state.waiting) == 3
    assert harness.polled[Position("clock", 0)] == written["offsets"]["clock-0"] - 1
    assert harness.polled[Position("routing", 0)] == 0
    harness.put(inference(200, day(10)), inference(20_000, day(10)))  # the first was counted
    harness.ticker.write(day(11))
    harness.run()
    assert harness.seen("confidence:all") == 2 + 1
    assert checkpoint_file.read(harness.path)["models"]
    assert not harness.older.exists()


def test_a_checkpoint_of_c9d7a9d_goes_on(harness: Harness) -> None:
    """It was written while six words lay in a bucket: four that said something, one that corrected
    the first of them, and one that took back the second."""
    harness.launch()
    for name, offset in json.loads(V3.read_bytes())["positions"].items():
        topic, _, partition = name.rpartition("-")
        log = harness.bus.logs[Position(topic, int(partition))]
        log += [Record(topic, int(partition), n, None, None) for n in range(len(log), offset)]
    harness.older.write_bytes(V3.read_bytes())
    harness.start()
    harness.put(outcome(3, day(0) + 20 * SECOND, False, outcome_id="f-3b"))
    harness.ticker.write(day(1))
    harness.run()
    assert harness.state.evidence.streams[1].seen("errors:all") == (3, 2)


def test_what_passed_by_itself_is_told_and_remembered(harness: Harness) -> None:
    season = "triggers:\n  seasons: [{name: inventory, from: 01-01, to: 01-31}]\n"
    harness.launch(YAML.replace("triggers:\n", season))
    harness.put(routing(1, day(0)))
    harness.play(range(4), error=0.1)
    harness.play(range(4, 8), error=0.6)
    harness.play(range(8, 18), error=0.1)
    assert [event.reason for event in harness.sent(RetrainRequest)] == ["launch"]
    (passed,) = harness.state.passed
    closes = [one for one in harness.sent(DriftAlert) if one.transition == "close"]
    assert (passed.incident_id, passed.closed) == (closes[-1].incident_id, closes[-1].time)
    told = [one for one in harness.sent(AuditEntry) if one.decision == "passed"]
    assert json.loads(told[-1].result) == {"incidents": [asdict(passed)]}
    assert told[-1].words.startswith(
        f"incidents that passed by themselves: 1; the newest: {passed.about}"
    )
    harness.start()
    assert harness.state.passed == (passed,)


def test_a_checkpoint_from_before_incidents_passed_goes_on(harness: Harness) -> None:
    harness.launch()
    harness.put(routing(1, day(1)))
    harness.ticker.write(day(2))
    harness.run()
    with changed(harness.path) as models:
        del models[MODEL]["passed"], models[MODEL]["under"]["since"]
    harness.start()
    assert (harness.state.passed, harness.state.under.since) == ((), 0)


def test_a_checkpoint_without_verdicts_takes_them_up(harness: Harness) -> None:
    """As the release wrote it that first had the runtime."""
    harness.launch()
    harness.put(routing(1, day(0), epoch=3, challenger=2))
    harness.ticker.write(day(1))
    harness.run()
    written = checkpoint_file.read(harness.path)
    for found in written["models"].values():
        del found["judged"], found["under"]["challengers"], found["under"]["newest"]
    harness.path.unlink()
    harness.older.write_text(json.dumps(written))
    harness.start()
    assert not harness.state.judged
    harness.run()
    assert harness.state.judged == {"post:launch:launch": 1}
    assert harness.state.under.challengers == (2,)


def test_requests_are_remembered_in_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplication, "REMEMBERED", 1000)
    monkeypatch.setattr(deduplication, "SEGMENT", 100)
    seen = deduplication.Seen()
    for start in range(0, 5000, 50):
        seen.add(deduplication.hashed([f"answer:{n}" for n in range(start, start + 50)]))
    names = deduplication.hashed([f"answer:{n}" for n in range(5000)])
    forgotten = deduplication.restored(seen.dump()).add(names).tolist()
    assert 3800 <= len(forgotten) <= 4000
    assert max(forgotten) < 4000
    assert seen.add(names).tolist() == forgotten
