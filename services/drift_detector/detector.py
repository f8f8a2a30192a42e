"""What each record does to the service's memory, and what is said about it. No I/O but the reading
of model repos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from driftgate import metrics
from driftgate.audit import Audit
from driftgate.bus import Bus, Record
from driftgate.codec import Codec
from driftgate.dead_letters import UNHANDLED, letter
from driftgate.errors import BadConfig, BadInput, Corrupt
from driftgate.events import HOUR_MS, Emit, Event
from driftgate.health import Log
from driftgate.model_repo import ModelYaml
from driftgate.topology import DRIFT
from services.drift_detector.checkpoint import Memory, Tick
from services.drift_detector.monitoring import Alarm, Observation, fold
from services.drift_detector.observing import from_inference, from_outcome
from services.drift_detector.triggers import (
    Ask,
    Suppressed,
    Wishes,
    asked,
    commanded,
    complaint,
    decide,
    request,
    unanswered,
)
from services.drift_detector.worsening import build

DATA = ("inferences", "outcomes")
REQUESTS = "retrain.requests"


@dataclass
class Detector:
    """Takes records in any order of topics; acts on time only when a tick comes, and on a tick
    only when all that lies before its positions was taken."""

    memory: Memory
    codec: Codec
    audit: Audit
    read_repo: Callable[[str], ModelYaml]
    log: Log
    configs: dict[str, ModelYaml] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.configs = {model: self.read_repo(uri) for model, uri in self.memory.repos.items()}

    def rebuild(self, bus: Bus) -> None:
        """Without a checkpoint: what is known from the topics that say what is, not what happens;
        the records of the others follow."""
        for record in bus.read_all(["models", "verdicts", REQUESTS]):
            try:
                event = self.codec.decode(record.topic, record.value)
                self.requested(event) if record.topic == REQUESTS else self.handle(record, event)
            except BadInput as error:
                self.log.warning("skipped", position=str(record.position), error=str(error))

    def take(self, record: Record) -> list[Emit]:
        """What a record leads to; nothing when it is part of the memory already."""
        position = str(record.position)
        if record.offset < self.memory.offsets.get(position, 0):
            return []
        self.memory.offsets[position] = record.offset + 1
        metrics.RECORDS.labels(record.topic).inc()
        try:
            event = self.codec.decode(record.topic, record.value)
        except BadInput as error:
            # ingest-logger reads every topic and writes the dead letter; two would count twice.
            metrics.SKIPPED.labels(record.topic).inc()
            self.log.warning("skipped", position=position, error=str(error))
            return []
        try:
            said = self.handle(record, event)
        except BadInput as error:
            metrics.DEAD.labels(record.topic, error.reason).inc()
            self.log.warning("dead letter", position=position, error=str(error))
            said = [letter(record, error, DRIFT, event["time"])]
        return [*said, *self.due()]

    def tick(self, tick: Tick) -> list[Emit]:
        """What is said now that it is `tick.time`."""
        memory, now = self.memory, tick.time
        waiting, memory.waiting, ripe = memory.waiting, [], []
        for seen in waiting:
            if tick.covers(seen) and seen.time < now:
                ripe.append(seen)
            elif not tick.covers(seen) or self.may_wait(seen, now):
                memory.waiting.append(seen)
        alarms = fold(memory.evidence, ripe, now, self.configs, memory.references)
        said = [emit for alarm in alarms for emit in self.alarmed(alarm, now)]
        for model in self.configs:
            mine = [alarm for alarm in alarms if alarm.event["model"] == model]
            said += self.wish(model, mine, now)
        return said

    def handle(self, record: Record, event: Event) -> list[Emit]:
        """What a well-formed event leads to.

        Raises:
            BadInput: a model repo cannot be read, or a command cannot be followed.
        """
        memory = self.memory
        match record.topic:
            case "inferences":
                memory.waiting += filter(None, [from_inference(record, event)])
            case "outcomes":
                memory.waiting += filter(None, [from_outcome(record, event)])
            case "verdicts":
                version = f"{event['model']}@{event['version']}"
                memory.references[version] = event["reference"]
            case "models":
                self.configs[event["model"]] = self.readable(event["repo_uri"])
                memory.repos[event["model"]] = event["repo_uri"]
            case "clock":
                memory.ticks.append(Tick(event["time"], event["positions"]))
            case "commands" if event["kind"] == "retrain":
                return self.command(event)
        return []

    def due(self) -> Iterator[Emit]:
        """What the ticks say whose positions are reached."""
        while self.memory.ticks and self.reached(self.memory.ticks[0]):
            tick = self.memory.ticks.pop(0)
            metrics.CLOCK.set(tick.time / 1000)
            yield from self.tick(tick)

    def reached(self, tick: Tick) -> bool:
        ours = [p for p in tick.positions if p.rpartition("-")[0] in DATA]
        return all(self.memory.offsets.get(p, 0) >= tick.positions[p] for p in ours)

    def may_wait(self, seen: Observation, now: int) -> bool:
        """Whether an observation may wait for its time: not one of an unknown model, or ahead of
        the time further than the model allows."""
        config = self.configs.get(seen.model)
        return config is not None and seen.time <= now + config.data.ahead_hours * HOUR_MS

    def readable(self, uri: str) -> ModelYaml:
        """The config of a model repo, whose monitors name detectors that exist.

        Raises:
            BadInput: it cannot be used.
        """
        try:
            config = self.read_repo(uri)
            for monitor in config.monitors:
                build(monitor.detector, mean=0.5, threshold=1.0)
        except (Corrupt, BadConfig) as error:
            raise BadInput(UNHANDLED, "repo_uri", uri, f"a model repo ({error})") from error
        return config

    def alarmed(self, alarm: Alarm, now: int) -> list[Emit]:
        """The alert, and its audit."""
        event = alarm.event
        metrics.ALERTS.labels(event["model"], event["monitor"]).inc()
        return [
            Emit("drift.alerts", event),
            *self.audit.entry(
                event["model"],
                "alert",
                inputs={"alert_id": event["alert_id"], **alarm.inputs},
                result={name: event[name] for name in ("statistic", "severity", "evidence")},
                words=alarm.words,
                time=now,
                version=event["version"],
            ),
        ]

    def wish(self, model: str, alarms: Iterable[Alarm], now: int) -> list[Emit]:
        """Whether to ask for a new version of a model at this tick."""
        triggers = self.configs[model].triggers
        critical = [
            complaint(alarm.event, alarm.words)
            for alarm in alarms
            if alarm.event["severity"] == "critical" and triggers.drift.enabled
        ]
        live = self.memory.evidence.live_version(model)
        wishes = unanswered(self.memory.wishes.get(model, Wishes()), critical, live)
        self.memory.wishes[model] = wishes
        inputs = {"wishes": asdict(wishes), "triggers": triggers.model_dump()}
        match decide(wishes, triggers, now):
            case Ask() as ask:
                event = request(model, ask, now)
                return self.ask(event, {**inputs, "now": now}, live)
            case Suppressed(until, complaints):
                # The time of asking is left out: the same suppression is told once, not each tick.
                return self.audit.entry(
                    model,
                    "suppressed",
                    inputs=inputs,
                    result={"until": until},
                    words="within the cooldown: " + ", ".join(c.words for c in complaints),
                    time=now,
                    version=live,
                )
        return []

    def command(self, command: Event) -> list[Emit]:
        """An operator, or the launch, asks for a new version: at once."""
        live = self.memory.evidence.live_version(command["model"])
        return self.ask(commanded(command), {"command": dict(command)}, live)

    def ask(self, event: Event, inputs: Mapping[str, Any], live: int | None) -> list[Emit]:
        """The request, and its audit."""
        self.requested(event)
        metrics.RETRAINS.labels(event["model"], event["reason"]).inc()
        return [
            Emit(REQUESTS, event),
            *self.audit.entry(
                event["model"],
                "retrain",
                inputs=inputs,
                result=event,
                words=f"{event['reason']}: {event['words']}",
                time=event["time"],
                version=live,
            ),
        ]

    def requested(self, event: Event) -> None:
        """Remembers a request; a drill is none in earnest."""
        if event["drill"] is None:
            before = self.memory.wishes.get(event["model"], Wishes())
            after = asked(before, event["reason"], event["time"])
            self.memory.wishes[event["model"]] = after
