"""A service of the runtime on a bus in memory: what is asked of it, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from io import SEEK_END, BytesIO
from typing import Any

import fastavro

from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.events import AnyEvent
from driftgate.health import Health, log_for
from driftgate.runtime import Service
from driftgate.runtime.engine import Engine


class MemoryHarness:
    """A bus with every topic."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self.bus = codec, MemoryBus()
        self.bus.ensure(codec.topics.by_name.values())

    def send(self, *events: AnyEvent) -> None:
        producer = self.bus.producer()
        for event in events:
            producer.send(*self.codec.record(event))

    def send_v1(self, event: AnyEvent) -> None:
        """An event as the first version of its schema has it."""
        topic, key, _ = self.codec.record(event)
        first = self.codec.schemas.versions(self.codec.topics[topic].subject)[0]
        value = BytesIO(first.header)
        value.seek(0, SEEK_END)
        fastavro.schemaless_writer(value, first.schema, event.as_dict())
        self.bus.producer().send(topic, key, value.getvalue())

    def read(self, topic: str) -> list[Any]:
        return [self.codec.event(topic, record.value) for record in self.bus.read_all([topic])]

    def run(self, service: Service, health: Health | None = None) -> dict[str, list[Any]]:
        """Starts a service, lets it handle once all that its group has not handled, and ends it.
        Returns what it sent, by topic. A record that has to wait stays unhandled."""
        before = dict(self.bus.ends(self.codec.topics.names()))
        log = log_for(service.name)
        # Time stands still, so that what waits is not tried again.
        engine = Engine(
            service,
            self.bus,
            self.codec,
            log,
            health or Health(service.name),
            monotonic=lambda: 0.0,
        )
        engine.begin()
        done = self.bus.committed(service.name)
        for record in self.bus.read_all(service.topics()):
            if record.offset >= done.get(record.position, 0):
                engine.add(record)
        engine.order.reached = dict(self.bus.ends(service.topics()))
        engine.advance()
        self.bus.groups[service.name].update(engine.settle())
        return self.since(before)

    def since(self, ends: Mapping[Any, int]) -> dict[str, list[Any]]:
        """What was sent after these ends, by topic."""
        found: dict[str, list[Any]] = {}
        for record in self.bus.read_all(self.codec.topics.names()):
            if record.offset >= ends.get(record.position, 0):
                event = self.codec.event(record.topic, record.value)
                found.setdefault(record.topic, []).append(event)
        return found
